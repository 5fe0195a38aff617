"""Keeps what is derived from the catalogue and a model version together in step with both."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from services.recommender.domain.learned import Learned
from services.recommender.pipeline.mirror import Mirror

# What becomes available or expires by the clock makes no change.
_SECONDS = 60.0
# While the catalogue is being read.
_UNREAD_SECONDS = 1.0


class Aligned:
    """Aligns each part with a version before it serves, and now and then again."""

    def __init__(self, mirror: Mirror, parts: Sequence[Callable[[Learned], Awaitable[None]]]) -> None:
        self._mirror = mirror
        self._parts = parts
        self._newest: Learned | None = None

    async def begin(self, learned: Learned) -> None:
        """A version that is about to serve."""
        self._newest = learned
        for align in self._parts:
            await align(learned)

    async def follow(self) -> None:
        """Aligns again, for ever."""
        while True:
            read = self._mirror.read
            if self._newest is not None:
                await self.begin(self._newest)
            await asyncio.sleep(_SECONDS if read else _UNREAD_SECONDS)
