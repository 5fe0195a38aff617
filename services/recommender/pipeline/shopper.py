"""The shopper's signals: from the feature service, else the last known, else none."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial

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
        self._last: OrderedDict[tuple[str, str], UserSignals] = OrderedDict()

    async def signals(self, user_id: str, visitor_id: str, degraded: Degraded) -> UserSignals:
        """The user's signals, without a user the visitor's; nobody and a stranger have empty ones. Never raises."""
        if user_id:
            shopper, call = ("user", user_id), partial(self._features.user, user_id, self._timeout)
        elif visitor_id:
            shopper, call = ("guest", visitor_id), partial(self._features.guest, visitor_id, self._timeout)
        else:
            return UserSignals()
        try:
            reading = await self._breaker.call(self._timeout, call)
        except Exception as error:
            log.debug("features_failed", error=type(error).__name__)
            degraded.add("features")
            return self._last.get(shopper, UserSignals())
        if not reading.complete:
            degraded.add("features")
        self._last[shopper] = reading.signals
        self._last.move_to_end(shopper)
        if len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)
        return reading.signals
