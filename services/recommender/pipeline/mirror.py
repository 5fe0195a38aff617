"""Keeps the assortment in memory as the store of record has it: reads all of it once, then what is announced.

A change made through this process is known from its acknowledgement on. Another price or stock, which most changes are,
is put in at once; of everything else ``ask`` says that the store has to be asked, until the product is read again.
Changes by others follow within milliseconds. What a page shows is checked at its end anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Hashable, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from services.recommender.domain.assortment import Assortment
from services.recommender.domain.change import ProductChange, Stored
from services.recommender.domain.product import Product
from services.recommender.domain.product_row import ProductRow, row_of
from services.recommender.domain.signals import Card
from services.recommender.pipeline.following import Follower
from services.recommender.ranking_ports import AssortmentStore, ProductScores
from services.runtime.errors import ServiceError
from services.runtime.logs import get_logger

log = get_logger(__name__)

# A few milliseconds of the event loop each: rows, and numbers of changes alone.
_PAGE = 500
_VERSIONS = 5_000
# All are looked at again so often: for what changed without a word.
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


class Mirror(Follower):
    """The assortment, and what is known of how current it is."""

    def __init__(self, store: AssortmentStore, assortment: Assortment, clock: Callable[[], float] = time.time) -> None:
        self.assortment = assortment
        # Whether everything was read once; and whether a product that is not here does not exist.
        self.read = False
        self.complete = False
        self._store = store
        self._clock = clock
        self._news: list[News] = []
        # To be read, in the order of their first announcements, each with the number of its last.
        self._due: dict[str, int] = {}
        self._announced = 0
        # All changes until here were announced; and the newest one that a row was read as of.
        self._reached = self._newest = 0
        # Changed through this process and not read since: what is here of them is older than what was acknowledged.
        self._outdated: set[str] = set()
        # Read without a vector; those that were looked at longest ago first.
        self._unembedded: dict[str, None] = {}
        self._following = asyncio.Event()
        self._woken = asyncio.Event()
        self._ticks = _Ticks(clock())
        # Of the pass under way: the last id that was read, None when none is, and whether there was no room for one.
        self._after: str | None = None
        self._overflowed = False
        self._next_pass = 0.0

    def tell(self, news: News) -> None:
        """``news`` hears of what searches by text can newly find, from now on."""
        self._news.append(news)

    @property
    def settled(self) -> bool:
        """Whether everything was read once, and every change made through this process again: from then on ``tell``
        leaves nothing out that was acknowledged here."""
        return self.read and not self._outdated

    @property
    def told(self) -> int | None:
        """The change until which everything that searches by text can find was told, and nothing beyond; None where
        that is not one change at the moment."""
        behind = self._due or self._unembedded or self._newest > self._reached
        return None if behind or not self.settled else self._reached

    def ask(self, product_id: str) -> bool:
        """Whether only the store can tell of a product what it is now."""
        if product_id in self._outdated:
            return True
        if product_id in self.assortment.places:
            return False
        return not self.complete or product_id in self._due

    def unsure(self, ids: Sequence[str]) -> list[str]:
        """Those to :meth:`ask` about."""
        if self.complete and not self._outdated and not self._due:
            return []
        return [id_ for id_ in ids if self.ask(id_)]

    def card(self, product_id: str) -> Card | None:
        """That of a product, as old as it may be."""
        return self.assortment.card(product_id)

    def sign(self) -> Hashable | None:
        """Of products with their scores, whatever they cost: an equal one at two times says that nothing changed
        between them. None: there is more than what is here."""
        signs = self.signs()
        return None if signs is None else signs[0]

    def signs(self) -> tuple[Hashable, Hashable] | None:
        """That, and another one of prices."""
        here = self.assortment
        return ((id(here), here.generation, here.scored), (id(here), here.priced)) if self.complete else None

    def changed(self, product: Product, stored: Stored | None = None) -> None:
        if stored is None or not self.read or not self.assortment.agree(row_of(product, *stored)):
            self._outdated.add(product.id)
            self._announce(product.id)
            return
        self._newest = max(self._newest, stored.change_seq)
        if product.id in self._due:
            # It may be being read, as it was before.
            self._announce(product.id)

    def deleted(self, product_id: str) -> None:
        self.assortment.drop(product_id)
        # In case it is being read at this moment.
        self._announce(product_id)

    def counted(self, product_id: str, quantity: int) -> None:
        if self.assortment.sold_out(product_id) and quantity > 0:
            # Searches by text have to hear of it, with its vector.
            self._outdated.add(product_id)
            self._announce(product_id)
        else:
            self.assortment.count(product_id, quantity)
            if product_id in self._due or not self.read:
                # It may be being read, as it was before.
                self._announce(product_id)

    def followed(self, change: ProductChange) -> None:
        if self.assortment.version(change.product_id) >= change.change_seq:
            return  # read since, or known from whoever wrote it
        if not self.assortment.sold_out(change.product_id):
            self.assortment.count(change.product_id, change.available_quantity)
        self._announce(change.product_id)

    def reached(self, change_seq: int) -> None:
        self._reached = change_seq

    def restarted(self) -> None:
        if self._following.is_set():
            self.assortment = self.assortment.emptied()
            self.complete = self.read = False
            self._after, self._next_pass, self._newest = None, 0.0, 0
            self._woken.set()
        self._following.set()

    def unlike(self, scores: ProductScores) -> ProductScores:
        """Those that differ from what is known here to be stored, or of which nothing is."""
        differs = self.assortment.unlike(scores.ids, scores.popularity, scores.trend, scores.rating)
        ids = [scores.ids[number] for number in np.flatnonzero(differs).tolist()]
        return ProductScores(ids, scores.popularity[differs], scores.trend[differs], scores.rating[differs])

    def scored(self, scores: ProductScores) -> None:
        """Copied scores, just stored; a NaN leaves what is there."""
        self.assortment.score(scores.ids, scores.popularity, scores.trend, scores.rating)

    async def follow(self) -> None:
        """Reads for ever, from ``restarted`` on."""
        await self._following.wait()
        while True:
            try:
                await self._step()
            except ServiceError:
                await asyncio.sleep(_RETRY_SECONDS)

    async def _step(self) -> None:
        """What was announced first, then the next page of the pass, then nothing until there is something."""
        started = time.monotonic()
        if self._ticks.due(started):
            self._tick(started)
        if self._due:
            await self._read_announced()
            # Half of the time for the requests.
            await asyncio.sleep(time.monotonic() - started)
        elif self._after is not None or started >= self._next_pass:
            await self._read_page(started)
            # The same at first; nearly all of it where everything is read again.
            await self._rest((time.monotonic() - started) * (_REST if self.read else 1))
        else:
            await self._rest(self._ticks.at - started)

    async def _rest(self, seconds: float) -> None:
        """That long, or until something is announced."""
        self._woken.clear()
        if not self._due:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._woken.wait()

    async def _read_announced(self) -> None:
        wanted = dict(islice(self._due.items(), _PAGE))
        assortment = self.assortment
        rows = await self._store.rows(list(wanted))
        if assortment is not self.assortment:
            return
        # Those of which more was announced meanwhile are read again.
        current = {id_ for id_, number in wanted.items() if self._due[id_] == number}
        for id_ in current:
            del self._due[id_]
        self._take([row for row in rows if row.id in current])
        for id_ in current.difference(row.id for row in rows):
            self.assortment.drop(id_)
            self._outdated.discard(id_)
            self._unembedded.pop(id_, None)

    async def _read_page(self, started: float) -> None:
        if self._after is None:
            self._overflowed = False
        assortment = self.assortment
        last = await (self._compare_versions(assortment) if self.read else self._read_rows(assortment))
        if assortment is not self.assortment:
            return
        self._after = last
        if last is None:
            self._next_pass = started + _PASS_SECONDS
            self.read = True
            self.complete = not self._overflowed
            log.debug("assortment_read", products=len(self.assortment))

    async def _read_rows(self, assortment: Assortment) -> str | None:
        """The last id of a page of the first pass; None at its end."""
        rows = await self._store.rows_after(self._after or "", _PAGE)
        if assortment is self.assortment:
            self._take([row for row in rows if row.id not in self._due])
        return rows[-1].id if rows else None

    async def _compare_versions(self, assortment: Assortment) -> str | None:
        """The same of another pass: rows that are here as they are there need not be read."""
        ids, versions = await self._store.versions_after(self._after or "", _VERSIONS)
        if assortment is self.assortment:
            full = assortment.full
            for product_id in assortment.differing(ids, versions):
                if full and product_id not in assortment.places:
                    self._overflowed = True
                else:
                    self._due.setdefault(product_id, 0)
        return ids[-1] if ids else None

    def _take(self, rows: Sequence[ProductRow]) -> None:
        """Puts rows in, none of which was announced since they were read; tells what searches find now."""
        for row in self._put(rows):
            if row.vector is not None and self.read:
                for tell in self._news:
                    tell(row.id, row.vector)
        for row in rows:
            self._newest = max(self._newest, row.change_seq)
            self._unembedded.pop(row.id, None)
            if row.vector is None:
                # To be embedded: what is outdated stays it until then, for searches cannot find it here.
                self._unembedded[row.id] = None
            else:
                self._outdated.discard(row.id)

    def _put(self, rows: Sequence[ProductRow]) -> list[ProductRow]:
        """Puts rows in; returns those with a new text, and those that are available and were not."""
        now, ids = self._clock(), [row.id for row in rows]
        before = self.assortment.available(self.assortment.find(ids), now)
        new_texts = {row.id for row in self.assortment.put(rows)}
        places = self.assortment.find(ids)
        back = self.assortment.available(places, now) & ~before
        if (places < 0).any():
            self._overflowed, self.complete = True, False
        return [row for row, returned in zip(rows, back.tolist(), strict=True) if returned or row.id in new_texts]

    def _tick(self, started: float) -> None:
        """What the clock did, and what was not embedded when it was read."""
        for product_id in self.assortment.begun(self._ticks.until, self._clock()):
            # Until its row is read, in a moment: then it is back.
            self.assortment.count(product_id, 0)
            self._announce(product_id)
        for product_id in islice(self._unembedded, _PAGE):
            self._due.setdefault(product_id, 0)
        self._ticks.next(started, self._clock())

    def _announce(self, product_id: str) -> None:
        self._announced += 1
        self._due[product_id] = self._announced
        self._ticks.hurry(time.monotonic())
        self._woken.set()


class _Ticks:
    """When to look at the clock again: soon where a text may be about to be embedded, then less and less often."""

    def __init__(self, until: float) -> None:
        # Of the shop's clock, up to which was looked; of the monotonic one, when to look next.
        self.until = until
        self.at = 0.0
        self._patience = _TICK_SECONDS

    def due(self, now: float) -> bool:
        return now >= self.at

    def next(self, now: float, until: float) -> None:
        self.until = until
        self._patience = min(2 * self._patience, _TICK_SECONDS)
        self.at = now + self._patience

    def hurry(self, now: float) -> None:
        self._patience = _EMBEDDED_SECONDS
        self.at = min(self.at, now + self._patience)
