"""Lists that are the same for everyone, asked of the store once in a while instead of once per request.

Those that pages ask for are read again before they are too old: no page waits for one that another had a moment ago.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeAlias

from services.recommender.domain.candidates import Hit
from services.recommender.ranking_ports import Lists
from services.runtime.coalescing import SingleFlight
from services.runtime.errors import ServiceError

# Orders change with the copied scores, every 30 s; stock is checked on every request, whatever a list says.
# So this only delays what comes into stock.
_SECONDS = 2.0
# A shop that has nothing to list yet may have in a moment.
_EMPTY_SECONDS = 0.2
# Asked for within that, a list is read again when it is so old: time enough for the answer.
_WANTED_SECONDS = 10.0
_AGEING_SECONDS = 1.4
_LOOK_SECONDS = 0.2
# Read ahead, so that pages of different sizes share an entry.
_LENGTH = 60

# Of a list, to a length.
Read: TypeAlias = Callable[[int], Coroutine[Any, Any, list[Hit]]]


class SharedLists:
    """The :class:`~services.recommender.ranking_ports.KeptLists` in front of a store's."""

    def __init__(self, lists: Lists, clock: Callable[[], float] = time.monotonic) -> None:
        self._lists = lists
        self._clock = clock
        self._flights: SingleFlight[list[Hit]] = SingleFlight()
        # By list: until when, for which limit, and what; how it is read, and when it was asked for last. As many as
        # there are categories.
        self._kept: dict[str, tuple[float, int, list[Hit]]] = {}
        self._reads: dict[str, Read] = {}
        self._asked: dict[str, float] = {}

    def kept(self, name: str, limit: int) -> list[Hit] | None:
        now = self._asked[name] = self._clock()
        until, kept_length, hits = self._kept.get(name, (0.0, 0, []))
        if kept_length < max(limit, _LENGTH) or now >= until:
            return None
        return hits[:limit]

    async def popular(self, limit: int) -> list[Hit]:
        return await self._get("popular", limit, self._lists.popular)

    async def popular_in(self, category: str, limit: int) -> list[Hit]:
        return await self._get(f"popular_in:{category}", limit, partial(self._lists.popular_in, category))

    async def trending(self, limit: int) -> list[Hit]:
        return await self._get("trending", limit, self._lists.trending)

    async def new_arrivals(self, limit: int) -> list[Hit]:
        return await self._get("new_arrivals", limit, self._lists.new_arrivals)

    async def follow(self) -> None:
        """Reads again what pages ask for, for ever."""
        while True:
            with contextlib.suppress(ServiceError):
                await self.refresh()
            await asyncio.sleep(_LOOK_SECONDS)

    async def refresh(self) -> None:
        """Reads those again that were asked for lately and will soon be too old. Raises UNAVAILABLE."""
        now = self._clock()
        for name, (until, length, _) in list(self._kept.items()):
            if now < self._asked[name] + _WANTED_SECONDS and now >= until - _SECONDS + _AGEING_SECONDS:
                await self._read(name, length)

    async def _get(self, name: str, limit: int, read: Read) -> list[Hit]:
        kept = self.kept(name, limit)
        if kept is not None:
            return kept
        self._reads[name] = read
        return (await self._read(name, max(limit, _LENGTH)))[:limit]

    async def _read(self, name: str, length: int) -> list[Hit]:
        began = self._clock()
        hits = await self._flights.run((name, length), lambda: self._reads[name](length))
        self._kept[name] = (began + (_SECONDS if hits else _EMPTY_SECONDS), length, hits)
        return hits
