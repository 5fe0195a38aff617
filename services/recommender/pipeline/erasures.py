"""Erased shoppers, in whichever process they were erased: what memories must forget, and not take up again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from services.recommender.domain.shoppers import Shopper
from services.recommender.ranking_ports import ErasureStore, LatelyErased
from services.runtime.logs import get_logger

log = get_logger(__name__)

# Without news for so long, nobody who is remembered may be taken for not erased.
_TRUST_SECONDS = 10.0
# The feature service erases at about the same time: what it answers until then is not to be remembered. Far above the
# patience of whoever calls both.
_LATELY_SECONDS = 120.0

# Forgets the shoppers of whom the given function is true; returns how many.
Forget = Callable[[Callable[[Shopper], bool]], int]


class Erasures:
    """Erases here, and follows what others erase."""

    def __init__(self, store: ErasureStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._lately = LatelyErased(b"", frozenset())
        self._read_at: float | None = None
        self._reading = asyncio.Lock()
        self._memories: list[Forget] = []

    def add_memory(self, forget: Forget) -> None:
        """``forget`` is called at every erasure."""
        self._memories.append(forget)

    def erased_lately(self, shopper: Shopper) -> bool:
        """Whether a shopper must not be remembered: erased in the last minutes, or nobody can say."""
        if self._read_at is None or self._clock() > self._read_at + _TRUST_SECONDS:
            return True
        return bool(self._lately.digests) and shopper.digest(self._lately.salt) in self._lately.digests

    async def erase(self, shopper: Shopper) -> dict[str, int]:
        """What was removed, by kind. Raises UNAVAILABLE; repeating it finishes the work."""
        await self._store.erase(shopper)
        signals = self._forget(lambda other: other == shopper)
        # From here on it is not remembered again.
        await self.refresh()
        log.info("erased", signals=signals)
        return {"signals": signals}

    async def refresh(self) -> None:
        """Reads the store, and forgets whom it names. Raises UNAVAILABLE."""
        async with self._reading:
            started = self._clock()
            unread = 0.0 if self._read_at is None else started - self._read_at
            lately = await self._store.lately(unread + _LATELY_SECONDS)
            fresh = lately.digests - self._lately.digests
            self._lately, self._read_at = lately, started
            if fresh:
                self._forget(lambda shopper: shopper.digest(lately.salt) in fresh)

    def _forget(self, erased: Callable[[Shopper], bool]) -> int:
        return sum(forget(erased) for forget in self._memories)
