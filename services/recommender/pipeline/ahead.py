"""Finds neighbours by text before a page asks for them, those of popular products first, and stores what was found.

Paced: reading and searching are PostgreSQL's work, and pages win. After a start, what was stored is there within
seconds; while pages are asked for, within minutes, and a page reads what it lacks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np

from services.recommender.domain.assortment import Floats, Places
from services.recommender.domain.neighbourhoods import Neighbourhoods
from services.recommender.domain.product_row import ProductRow
from services.recommender.pipeline.neighbours import NEWS, REMEMBERED, TextNeighbours
from services.recommender.ranking_ports import AssortmentStore
from services.recommender.text_ports import NearestStore
from services.runtime.errors import ServiceError

# Read or written at once, and searched for: some milliseconds each.
_PAGE = 100
_SEARCHES = 8
# Looked at once: a few milliseconds of the event loop, and more than is done until the next look.
_LOOKED_AT = 5_000
# Rows of products, some milliseconds of the event loop too.
_ROWS = 500
_NEWS_AT_ONCE = 250
# Of what each step took, so many times is left to others; where nobody asked for pages lately, it hurts nobody. Reading
# spares a page's own reading, but that takes hardly more.
_REST, _REST_ALONE = 20, 1
_REST_READING, _REST_READING_ALONE = 10, 1
_ALONE_SECONDS = 5.0
# When there is nothing to do, or it cannot be done yet; and what is done now and then.
_IDLE_SECONDS = 1.0
_UNREAD_SECONDS = 0.2
_LOOK_SECONDS = 5.0
_PASS_SECONDS = 60.0
_FORGET_SECONDS = 3_600.0
# So many at most, for what pages ask for besides.
_MOST = REMEMBERED * 3 // 4
# What is stored may be so many news behind: half of what can be made up for at the next start.
_BEHIND = NEWS // 2
# After that, found anew: what nobody told of, such as a better graph.
_WEEK = 7 * 86_400.0

_NONE: Places = np.zeros(0, dtype=np.int64)


class NeighboursAhead:
    """Runs beside :class:`~.neighbours.TextNeighbours`, in the background."""

    def __init__(
        self,
        texts: TextNeighbours,
        store: NearestStore,
        rows: AssortmentStore,
        told: Callable[[], int | None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``told``: the change until which everything that can be found was told, see :class:`~.mirror.Mirror`."""
        self._texts = texts
        self._store = store
        self._rows = rows
        self._told = told
        self._clock = clock
        # What is below is of this one: places of products to be looked for, the most popular first; products to be
        # searched for; products whose neighbours are to be stored.
        self._kept: Neighbourhoods | None = None
        self._popular = _NONE
        self._unknown: list[str] = []
        self._unlike: list[str] = []
        self._look_at = self._pass_at = self._forget_at = 0.0

    async def follow(self) -> None:
        """For ever."""
        while True:
            started = time.monotonic()
            try:
                rest = await self.step()
            except ServiceError:
                rest = None
            if rest is None:
                await asyncio.sleep(_UNREAD_SECONDS if self._kept is None else _IDLE_SECONDS)
            else:
                await asyncio.sleep((time.monotonic() - started) * rest)

    async def step(self) -> int | None:
        """Does one piece of what there is to do; how many times as long to rest, None where there is nothing. Raises
        UNAVAILABLE."""
        kept, told = self._texts.kept, self._told()
        if kept is None or (kept is not self._kept and told is None):
            return None
        if kept is not self._kept:
            await self._begin(kept)
            return self._rest(_REST_READING, _REST_READING_ALONE)
        if told is not None:
            kept.news.mark(told)
        if time.monotonic() >= self._look_at:
            await self._look(kept)
        if self._unlike and told is not None:
            await self._keep(kept, told)
        elif self._unknown:
            ids, self._unknown = self._unknown[:_SEARCHES], self._unknown[_SEARCHES:]
            await self._texts.search(kept, ids)
            return self._rest(_REST, _REST_ALONE)
        elif len(self._popular):
            await self._read(kept)
        else:
            return None
        return self._rest(_REST_READING, _REST_READING_ALONE)

    def _rest(self, beside: int, alone: int) -> int:
        return alone if time.monotonic() > self._texts.asked_at + _ALONE_SECONDS else beside

    async def _begin(self, kept: Neighbourhoods) -> None:
        """Tells what happened before anybody told: what is stored lacks it."""
        found = await self._store.found_lately(NEWS)
        # By the clock, which numbers nothing.
        now = self._clock()
        begun, since = kept.assortment.begun_last(now - _WEEK, now, _BEHIND)
        rows: list[ProductRow] = []
        for start in range(0, len(begun), _ROWS):
            rows += await self._rows.rows(begun[start : start + _ROWS])
        if kept is not self._texts.kept:
            return
        if since > now - _WEEK:  # more began than is told here
            kept.stored_since = since
        known = [(one.id, one.found_seq, one.vector) for one in found if one.vector is not None]
        kept.news.before(known, whole=len(found) < NEWS)
        for number, row in enumerate(rows):
            if number % _NEWS_AT_ONCE == 0:
                await asyncio.sleep(0)
            if row.vector is not None:
                kept.heard(row.id, row.vector)
        self._kept, self._popular, self._unknown, self._unlike = kept, _NONE, [], []
        self._look_at = self._pass_at = 0.0

    async def _look(self, kept: Neighbourhoods) -> None:
        """What there is to do, and begins another pass over the popular products if it is time."""
        now = time.monotonic()
        self._look_at = now + _LOOK_SECONDS
        self._unlike, old = kept.outdated(_BEHIND, self._clock() - _WEEK, _LOOKED_AT)
        if now >= self._pass_at and not len(self._popular) and not self._unknown:
            self._popular = await asyncio.to_thread(
                _by_popularity, kept.assortment.popularity[: kept.assortment.reach].copy()
            )
            self._unknown = old
            self._pass_at = now + _PASS_SECONDS
        if now >= self._forget_at:
            # Where it fails, the next one is as good.
            self._forget_at = now + _FORGET_SECONDS
            await self._store.forget_deleted()

    async def _read(self, kept: Neighbourhoods) -> None:
        """The next of the popular products, as far as there is room: from the store; what is not there is searched."""
        places, self._popular = self._popular[:_PAGE], self._popular[_PAGE:]
        ids = [id_ for id_ in kept.assortment.names(places) if id_ and id_ not in kept]
        if len(kept) + len(ids) > _MOST:
            self._popular = _NONE
        elif ids:
            read = await self._texts.read(kept, ids)
            self._unknown = [id_ for id_ in ids if id_ not in read]

    async def _keep(self, kept: Neighbourhoods, told: int) -> None:
        ids, self._unlike = self._unlike[:_PAGE], self._unlike[_PAGE:]
        version, found = kept.news.version, kept.current(ids)
        await self._store.keep(found, told)
        kept.stored([id_ for id_, _ in found], version)


def _by_popularity(popularity: Floats) -> Places:
    """Places of products, the most popular first; those that nobody knows anything about are in their order."""
    order: Places = np.argsort(-np.nan_to_num(popularity), kind="stable")[:_MOST]
    return order
