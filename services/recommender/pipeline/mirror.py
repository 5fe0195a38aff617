"""Keeps the assortment in memory as the store of record has it: reads all of it once, then what is announced.

A change made through this process is known from its acknowledgement on: until the product is read again, ``ask`` says
that the store has to be asked. Changes by others follow within milliseconds. What a page shows is checked at its end
anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from services.recommender.domain.assortment import Assortment, ProductRow
from services.recommender.domain.change import ProductChange
from services.recommender.domain.signals import Card
from services.recommender.ranking_ports import AssortmentStore, ProductScores
from services.runtime.errors import ServiceError
from services.runtime.logs import get_logger

log = get_logger(__name__)

# A few milliseconds of the event loop each.
_PAGE = 500
# Everything again so often: what changed without a word, such as a store that was set back.
_PASS_SECONDS = 600.0
# Of each page that is read again, so many times its own time is left to others.
_REST = 10
_RETRY_SECONDS = 0.5
# A product's text is embedded within this after it was stored, mostly.
_EMBEDDED_SECONDS = 0.05
# What begins by the clock is found so late at most.
_TICK_SECONDS = 1.0

# Told of each product that a search by text may find now and could not before, with its vector.
News = Callable[[str, npt.NDArray[np.float16]], None]


class Mirror:
    """The assortment, and what is known of how current it is."""

    def __init__(self, store: AssortmentStore, assortment: Assortment, clock: Callable[[], float] = time.time) -> None:
        self.assortment = assortment
        # Whether a product that is not here does not exist.
        self.complete = False
        self._store = store
        self._clock = clock
        self._news: list[News] = []
        # To be read, because of a change; in the order of announcements.
        self._queue: dict[str, None] = {}
        # Of the queue, what is being read at this moment.
        self._reading: frozenset[str] = frozenset()
        # Changed through this process and not read since: what is here of them is older than what was acknowledged.
        self._outdated: set[str] = set()
        # Available since they were read with a vector.
        self._returned: set[str] = set()
        # Those that were looked at longest ago first.
        self._unembedded: dict[str, None] = {}
        self._following = asyncio.Event()
        self._woken = asyncio.Event()
        self._passed = False
        # Whether there was no room for a product since the pass under way began.
        self._overflowed = False
        # Of the pass under way, the last id that was read; None when none is.
        self._after: str | None = None
        self._next_pass = 0.0
        self._ticked = clock()
        # Until the next tick: short where a text may be about to be embedded.
        self._patience = _TICK_SECONDS
        self._next_tick = 0.0

    def tell(self, news: News) -> None:
        """``news`` hears of what searches by text can newly find, from now on."""
        self._news.append(news)

    @property
    def settled(self) -> bool:
        """Whether everything was read once, and every change made through this process again: from then on ``tell``
        leaves nothing out that was acknowledged here."""
        return self._passed and not self._outdated

    def ask(self, product_id: str) -> bool:
        """Whether only the store can tell of a product what it is now."""
        if product_id in self._outdated:
            return True
        if product_id in self.assortment.places:
            return False
        return not self.complete or product_id in self._queue or product_id in self._reading

    def unsure(self, ids: Sequence[str]) -> list[str]:
        """Those to :meth:`ask` about."""
        if self.complete and not self._outdated and not self._queue and not self._reading:
            return []
        return [id_ for id_ in ids if self.ask(id_)]

    def card(self, product_id: str) -> Card | None:
        """That of a product, as old as it may be."""
        return self.assortment.card(product_id)

    def changed(self, product_id: str) -> None:
        """A product, just committed through this process."""
        self._outdated.add(product_id)
        self._announce(product_id)

    def deleted(self, product_id: str) -> None:
        """A product that just left the catalogue."""
        self.assortment.drop(product_id)
        # In case it is being read at this moment.
        self._announce(product_id)

    def counted(self, product_id: str, quantity: int) -> None:
        """A product's stock, just committed."""
        if self.assortment.count(product_id, quantity):
            self._returned.add(product_id)
            self._announce(product_id)

    def followed(self, change: ProductChange) -> None:
        """A change from the log, by whichever process."""
        if change.deleted:
            self.deleted(change.product_id)
        else:
            self.counted(change.product_id, change.available_quantity)
            self._announce(change.product_id)

    def unlike(self, scores: ProductScores) -> ProductScores:
        """Those that differ from what is known here to be stored, or of which nothing is."""
        differs = self.assortment.unlike(scores.ids, scores.popularity, scores.trend, scores.rating)
        ids = [scores.ids[number] for number in np.flatnonzero(differs).tolist()]
        return ProductScores(ids, scores.popularity[differs], scores.trend[differs], scores.rating[differs])

    def scored(self, scores: ProductScores) -> None:
        """Copied scores, just stored; a NaN leaves what is there."""
        self.assortment.score(scores.ids, scores.popularity, scores.trend, scores.rating)

    def begin(self) -> None:
        """From now on every change is told: what is read from here on stays true. Called again, nothing of what was
        read before is: the catalogue is another one."""
        if self._following.is_set():
            self.assortment = self.assortment.emptied()
            self.complete = self._passed = False
            self._after, self._next_pass = None, 0.0
            self._woken.set()
        self._following.set()

    async def follow(self) -> None:
        """Reads for ever."""
        await self._following.wait()
        while True:
            try:
                await self._step()
            except ServiceError:
                await asyncio.sleep(_RETRY_SECONDS)

    async def _step(self) -> None:
        """What was announced first, then the next page of the pass, then nothing until there is something."""
        started = time.monotonic()
        if started >= self._next_tick:
            self._tick(started)
        if self._queue:
            await self._read_announced()
            # Half of the time for the requests.
            await asyncio.sleep(time.monotonic() - started)
        elif self._after is not None or started >= self._next_pass:
            await self._read_page(started)
            # The same at first; nearly all of it where everything is read again.
            await self._rest((time.monotonic() - started) * (_REST if self._passed else 1))
        else:
            await self._rest(self._next_tick - started)

    async def _rest(self, seconds: float) -> None:
        """That long, or until something is announced."""
        self._woken.clear()
        if not self._queue:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._woken.wait()

    async def _read_announced(self) -> None:
        wanted = list(self._queue)[:_PAGE]
        for product_id in wanted:
            del self._queue[product_id]
        self._reading = frozenset(wanted)
        assortment = self.assortment
        try:
            rows = await self._store.rows(wanted)
        except BaseException:
            self._queue.update(dict.fromkeys(wanted))
            raise
        finally:
            self._reading = frozenset()
        if assortment is not self.assortment:
            self._queue.update(dict.fromkeys(wanted))
            return
        self._take(rows)
        found = {row.id for row in rows}
        for product_id in wanted:
            if product_id not in found and product_id not in self._queue:
                self.assortment.drop(product_id)
                self._outdated.discard(product_id)
                self._returned.discard(product_id)
                self._unembedded.pop(product_id, None)

    async def _read_page(self, started: float) -> None:
        if self._after is None:
            self._overflowed = False
        assortment = self.assortment
        rows = await self._store.rows_after(self._after or "", _PAGE)
        if assortment is not self.assortment:
            return
        if rows:
            self._after = rows[-1].id
            self._take(rows)
            return
        self._after, self._next_pass = None, started + _PASS_SECONDS
        self._passed = True
        self.complete = not self._overflowed
        log.debug("assortment_read", products=len(self.assortment))

    def _take(self, rows: Sequence[ProductRow]) -> None:
        """Puts rows in, but for those of which more was announced while they were read: they are read again."""
        current = [row for row in rows if row.id not in self._queue]
        news = self._put(current)
        for row in current:
            if row.vector is None:
                # To be embedded: what is outdated stays it until then, for searches cannot find it here.
                self._unembedded.pop(row.id, None)
                self._unembedded[row.id] = None
                continue
            self._outdated.discard(row.id)
            self._unembedded.pop(row.id, None)
            if row.id in self._returned:
                self._returned.discard(row.id)
                news.setdefault(row.id, row)
        for row in news.values() if self._passed else ():
            if row.vector is not None:
                for tell in self._news:
                    tell(row.id, row.vector)

    def _put(self, rows: Sequence[ProductRow]) -> dict[str, ProductRow]:
        """Puts rows in; returns those with a new text, and notes what is available again."""
        now, ids = self._clock(), [row.id for row in rows]
        before = self.assortment.available(self.assortment.find(ids), now)
        new_texts = {row.id: row for row in self.assortment.put(rows)}
        places = self.assortment.find(ids)
        back = self.assortment.available(places, now) & ~before
        self._returned.update(ids[number] for number in np.flatnonzero(back).tolist())
        if (places < 0).any():
            self._overflowed, self.complete = True, False
        return new_texts

    def _tick(self, started: float) -> None:
        """What the clock did, and what was not embedded when it was read."""
        now = self._clock()
        began = self.assortment.begun(self._ticked, now)
        self._ticked = now
        self._returned.update(began)
        self._queue.update(dict.fromkeys((*began, *itertools.islice(self._unembedded, _PAGE))))
        self._patience = min(2 * self._patience, _TICK_SECONDS)
        self._next_tick = started + self._patience

    def _announce(self, product_id: str) -> None:
        self._queue[product_id] = None
        self._patience = _EMBEDDED_SECONDS
        self._next_tick = min(self._next_tick, time.monotonic() + self._patience)
        self._woken.set()
