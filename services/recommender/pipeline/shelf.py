"""What may be shown at this very moment, said by the store of record; details that it told before are kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from services.recommender.domain.product import Product
from services.recommender.pipeline.following import Follower
from services.recommender.ports import CatalogStore, Clock
from services.runtime.coalescing import Together

# About 2 kB each: what is shown often.
_KEPT = 20_000
# Products of pages that are ready at the same moment are one question; more would keep the first of them waiting.
_TOGETHER = 300


class Shelf(Follower):
    """Asks about each page: what is kept are details of a product's version, never whether it may be shown."""

    def __init__(self, store: CatalogStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._together: Together[str, Product] = Together(self._ask, _TOGETHER)
        # By id: the change that made it what it is, and what it is.
        self._kept: OrderedDict[str, tuple[int, Product]] = OrderedDict()

    async def available(self, ids: Sequence[str]) -> dict[str, Product]:
        """Those of ``ids`` that may be recommended now, by id. Raises UNAVAILABLE; sees every acknowledged write."""
        found = await self._together.run(ids)
        return {id_: found[id_] for id_ in ids if id_ in found}

    def restarted(self) -> None:
        """The versions of another catalogue may have numbers that are known of others."""
        self._kept.clear()

    async def _ask(self, ids: Sequence[str]) -> dict[str, Product]:
        kept = {id_: entry for id_ in ids if (entry := self._kept.get(id_)) is not None}
        known = [kept[id_][0] if id_ in kept else 0 for id_ in ids]
        products: dict[str, Product] = {}
        for id_, change_seq, told in await self._store.current(ids, known, self._clock()):
            if told is not None:
                self._kept[id_] = (change_seq, told)
            elif id_ in self._kept:
                self._kept.move_to_end(id_)
            products[id_] = kept[id_][1] if told is None else told
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return products
