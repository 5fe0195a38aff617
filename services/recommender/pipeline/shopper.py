"""The shopper's signals: from the feature service, else the last known, else none."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from services.recommender.domain.shoppers import Shopper
from services.recommender.domain.signals import UserSignals
from services.recommender.pipeline.context import Degraded
from services.recommender.pipeline.deadline import Breaker
from services.recommender.ranking_ports import FeatureReader
from services.runtime.logs import get_logger

log = get_logger(__name__)

# For a bad day's most active users. Both bounds come to 100 MB: a shopper takes some kilobytes, a product of a history
# about a hundred bytes.
_REMEMBERED = 10_000
_REMEMBERED_PRODUCTS = 500_000


class Shoppers:
    """Reads signals; remembers them for the moment the feature service is down."""

    def __init__(
        self, features: FeatureReader, breaker: Breaker, timeout: float, erased_lately: Callable[[Shopper], bool]
    ) -> None:
        """``erased_lately`` tells of whom nothing may be remembered."""
        self._features = features
        self._breaker = breaker
        self._timeout = timeout
        self._erased_lately = erased_lately
        self._last: OrderedDict[Shopper, UserSignals] = OrderedDict()
        self._products = 0

    async def signals(self, user_id: str, visitor_id: str, degraded: Degraded) -> UserSignals:
        """The user's signals, without a user the visitor's; nobody and a stranger have empty ones. Never raises."""
        if not user_id and not visitor_id:
            return UserSignals()
        shopper = Shopper(user_id or visitor_id, guest=not user_id)
        read = self._features.guest if shopper.guest else self._features.user
        try:
            reading = await self._breaker.watch(lambda: read(shopper.id, self._timeout))
        except Exception as error:
            log.debug("features_failed", error=type(error).__name__)
            degraded.add("features")
            return UserSignals() if self._erased_lately(shopper) else self._last.get(shopper, UserSignals())
        if not reading.complete:
            degraded.add("features")
        if not self._erased_lately(shopper):
            self._remember(shopper, reading.signals)
        return reading.signals

    def forget(self, erased: Callable[[Shopper], bool]) -> int:
        """Forgets those of whom ``erased`` is true; returns how many. Ten milliseconds at most, and seldom."""
        gone = [shopper for shopper in self._last if erased(shopper)]
        for shopper in gone:
            self._products -= len(self._last.pop(shopper).bought)
        return len(gone)

    def _remember(self, shopper: Shopper, signals: UserSignals) -> None:
        before = self._last.pop(shopper, None)
        self._last[shopper] = signals
        self._products += len(signals.bought) - (len(before.bought) if before else 0)
        while len(self._last) > _REMEMBERED or self._products > _REMEMBERED_PRODUCTS:
            _, oldest = self._last.popitem(last=False)
            self._products -= len(oldest.bought)
