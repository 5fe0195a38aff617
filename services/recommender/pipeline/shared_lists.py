"""Lists that are the same for everyone, asked of the store once in a while instead of once per request.

Those that pages ask for are read again before they are too old: no page waits for one that another had a moment ago.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, replace
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
# Where nothing is known to have changed, it is not read again until then.
_LONGEST_SECONDS = 15.0
# Read ahead, so that pages of different sizes share an entry.
_LENGTH = 60

# Of a list, to a length.
Read: TypeAlias = Callable[[int], Coroutine[Any, Any, list[Hit]]]


@dataclass(frozen=True, slots=True)
class _List:
    """Hits to a length, good ``until`` then."""

    hits: list[Hit]
    length: int
    until: float
    read_at: float
    signs: Hashable | None
    read: Read


class SharedLists:
    """The :class:`~services.recommender.ranking_ports.KeptLists` in front of a store's."""

    def __init__(
        self,
        lists: Lists,
        signs: Callable[[], Hashable | None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``signs``: equal ones at two times say that nothing changed between them; None: who knows."""
        self._lists = lists
        self._signs = signs
        self._clock = clock
        self._flights: SingleFlight[list[Hit]] = SingleFlight()
        # As many as there are categories; and when each was asked for last.
        self._kept: dict[str, _List] = {}
        self._asked: dict[str, float] = {}

    def kept(self, name: str, limit: int) -> list[Hit] | None:
        now = self._asked[name] = self._clock()
        kept = self._kept.get(name)
        if kept is None or kept.length < max(limit, _LENGTH) or now >= kept.until:
            return None
        return kept.hits[:limit]

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
        now, signs = self._clock(), self._signs()
        for name, kept in list(self._kept.items()):
            if now >= self._asked[name] + _WANTED_SECONDS or now < kept.until - _SECONDS + _AGEING_SECONDS:
                continue
            if signs is not None and signs == kept.signs and now < kept.read_at + _LONGEST_SECONDS:
                self._kept[name] = replace(kept, until=now + _SECONDS)
            else:
                await self._read(name, kept.length, kept.read)

    async def _get(self, name: str, limit: int, read: Read) -> list[Hit]:
        kept = self.kept(name, limit)
        return (await self._read(name, max(limit, _LENGTH), read))[:limit] if kept is None else kept

    async def _read(self, name: str, length: int, read: Read) -> list[Hit]:
        began, signs = self._clock(), self._signs()
        hits = await self._flights.run((name, length), lambda: read(length))
        until = began + (_SECONDS if hits else _EMPTY_SECONDS)
        self._kept[name] = _List(hits, length, until, began, signs, read)
        return hits
