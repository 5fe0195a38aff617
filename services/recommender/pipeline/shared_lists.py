"""Lists that are the same for everyone, asked of the store once in a while instead of once per request."""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

from services.recommender.domain.candidates import Hit
from services.recommender.ranking_ports import Lists
from services.runtime.coalescing import SingleFlight

# Orders change with the copied scores, every 30 s; stock is checked on every request, whatever a list says.
# So this only delays what comes into stock.
_SECONDS = 2.0
# A shop that has nothing to list yet may have in a moment.
_EMPTY_SECONDS = 0.2
# Read ahead, so that pages of different sizes share an entry.
_LENGTH = 60


class SharedLists:
    """The :class:`~services.recommender.ranking_ports.KeptLists` in front of a store's."""

    def __init__(self, lists: Lists, clock: Callable[[], float] = time.monotonic) -> None:
        self._lists = lists
        self._clock = clock
        self._flights: SingleFlight[list[Hit]] = SingleFlight()
        # By list: until when, for which limit, and what. As many as there are categories.
        self._kept: dict[str, tuple[float, int, list[Hit]]] = {}

    def kept(self, name: str, limit: int) -> list[Hit] | None:
        until, kept_length, hits = self._kept.get(name, (0.0, 0, []))
        if kept_length < max(limit, _LENGTH) or self._clock() >= until:
            return None
        return hits[:limit]

    async def popular(self, limit: int) -> list[Hit]:
        return await self._get("popular", limit, self._lists.popular)

    async def popular_in(self, category: str, limit: int) -> list[Hit]:
        return await self._get(f"popular_in:{category}", limit, lambda length: self._lists.popular_in(category, length))

    async def trending(self, limit: int) -> list[Hit]:
        return await self._get("trending", limit, self._lists.trending)

    async def new_arrivals(self, limit: int) -> list[Hit]:
        return await self._get("new_arrivals", limit, self._lists.new_arrivals)

    async def _get(self, name: str, limit: int, read: Callable[[int], Coroutine[Any, Any, list[Hit]]]) -> list[Hit]:
        kept = self.kept(name, limit)
        if kept is not None:
            return kept
        length = max(limit, _LENGTH)
        hits = await self._flights.run((name, length), lambda: read(length))
        self._kept[name] = (self._clock() + (_SECONDS if hits else _EMPTY_SECONDS), length, hits)
        return hits[:limit]
