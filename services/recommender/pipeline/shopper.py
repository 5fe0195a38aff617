"""The shopper's signals: from the feature service, else the last known, else none."""

from __future__ import annotations

from collections import OrderedDict

from services.recommender.domain.signals import UserSignals
from services.recommender.pipeline.context import Degraded
from services.recommender.pipeline.deadline import Breaker
from services.recommender.ranking_ports import FeatureReader
from services.runtime.logs import get_logger

log = get_logger(__name__)

# About 10 KB each: 100 MB at most, for a bad day's most active users.
_REMEMBERED = 10_000


class Shoppers:
    """Reads signals; remembers them for the moment the feature service is down."""

    def __init__(self, features: FeatureReader, breaker: Breaker, timeout: float) -> None:
        self._features = features
        self._breaker = breaker
        self._timeout = timeout
        self._last: OrderedDict[str, UserSignals] = OrderedDict()

    async def signals(self, user_id: str, degraded: Degraded) -> UserSignals:
        """The user's signals; a guest (no id) and a stranger have empty ones. Never raises."""
        if not user_id:
            return UserSignals()
        try:
            reading = await self._breaker.call(self._timeout, lambda: self._features.user(user_id, self._timeout))
        except Exception as error:
            log.debug("features_failed", error=type(error).__name__)
            degraded.add("features")
            return self._last.get(user_id, UserSignals())
        if not reading.complete:
            degraded.add("features")
        self._last[user_id] = reading.signals
        self._last.move_to_end(user_id)
        if len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)
        return reading.signals
