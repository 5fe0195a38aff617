"""What is left when the store is down: the popular products, kept in memory, minus what is known to be sold out."""

from __future__ import annotations

from collections.abc import Container, Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from services.recommender.domain.change import Stored
from services.recommender.domain.product import Product
from services.recommender.pipeline.following import Follower
from services.recommender.pipeline.metrics import SHOWCASE
from services.recommender.pipeline.polling import Poller
from services.recommender.ports import CatalogStore, Clock
from services.recommender.ranking_ports import Retrieval

# A page of 100 for everyone, and most of a page for every taste.
_OVERALL = 120
_PER_CATEGORY = 12
# Stock changes are told at once (see `counted`); what may lag is which products are popular.
_REFRESH_SECONDS = 15.0
_LEAST_SECONDS = 0.5
# Also where nothing is known to have changed.
_LONGEST_SECONDS = 600.0
# Small enough to be no stall of the event loop.
_CHUNK = 100


class Signs(Protocol):
    """What tells whether the store can have anything new, see :class:`~.mirror.Mirror`."""

    def signs(self) -> tuple[Hashable, Hashable] | None:
        """Of products with their scores, and of prices: equal to those of before, nothing changed. None: who knows."""
        ...


class Showcase(Follower):
    """Popular products with their details, refreshed in the background; also the price bands of the scorer."""

    def __init__(self, retrieval: Retrieval, shelf: CatalogStore, signs: Signs, clock: Clock) -> None:
        self._retrieval = retrieval
        self._signs = signs
        self._shelf = shelf
        self._clock = clock
        self._products: dict[str, Product] = {}
        # Since the last refresh began.
        self._sold_out: set[str] = set()
        # A shop that is just being filled does not wait for the next look.
        self._poller = Poller("the showcase", self._look, _REFRESH_SECONDS, _LEAST_SECONDS)
        self._wanted = False
        self.bands: Mapping[str, Sequence[float]] = {}
        # What the last refresh was of, and when.
        self._read: tuple[Hashable, Hashable] | None = None
        self._read_at: datetime | None = None

    def counted(self, product_id: str, quantity: int) -> None:
        """Without stock it is not shown from memory any more."""
        if quantity == 0:
            self._products.pop(product_id, None)
            self._sold_out.add(product_id)
        else:
            self._sold_out.discard(product_id)
            if len(self._products) < _OVERALL:
                self._wanted = True
                self._poller.ask()

    def deleted(self, product_id: str) -> None:
        self.counted(product_id, 0)

    def changed(self, product: Product, stored: Stored | None = None) -> None:
        """Brings nothing back: what came into stock is in the change log."""
        kept = self._products.get(product.id)
        if not _usable(product, self._clock()):
            self.counted(product.id, 0)
        elif kept is not None:
            self._products[product.id] = replace(
                product,
                create_time=product.create_time or kept.create_time,
                update_time=product.update_time or kept.update_time,
            )

    def choose(self, categories: Sequence[str], excluded: Container[str], count: int) -> list[Product]:
        """Up to ``count`` products: those of ``categories`` first, in at most half of the places, then the others."""
        now = self._clock()
        usable = [p for p in self._products.values() if p.id not in excluded and _usable(p, now)]
        fitting = [product for product in usable if product.top_category in categories][: (count + 1) // 2]
        chosen = {product.id for product in fitting}
        return (fitting + [product for product in usable if product.id not in chosen])[:count]

    def among(self, ids: Sequence[str]) -> list[Product]:
        """Those of ``ids`` that are kept and may be shown, in that order."""
        now = self._clock()
        kept = (self._products.get(product_id) for product_id in ids)
        return [product for product in kept if product is not None and _usable(product, now)]

    async def refresh(self) -> None:
        """Reads the store anew. Raises UNAVAILABLE when it is away; what is kept stays then."""
        signs, before = self._signs.signs(), self._read
        self._read = None
        self._sold_out.clear()
        self._wanted = False
        ids = await self._retrieval.showcase_ids(_OVERALL, _PER_CATEGORY)
        products: dict[str, Product] = {}
        for start in range(0, len(ids), _CHUNK):
            found = await self._shelf.available(ids[start : start + _CHUNK], self._clock())
            products.update((product.id, product) for product in found)
        # What was sold out while this was read: that is newer.
        self._products = {id_: product for id_, product in products.items() if id_ not in self._sold_out}
        SHOWCASE.set(len(self._products))
        if not self.bands or signs is None or before is None or signs[1] != before[1]:
            self.bands = await self._retrieval.price_bands()
        self._read, self._read_at = signs, self._clock()

    async def follow(self) -> None:
        """Refreshes for ever, where there may be something new."""
        await self._poller.follow()

    async def _look(self) -> None:
        if self.outdated():
            await self.refresh()

    def outdated(self) -> bool:
        """Whether the store may have something new."""
        if self._wanted or self._read is None or self._read != self._signs.signs() or self._read_at is None:
            return True
        return self._clock() >= self._read_at + timedelta(seconds=_LONGEST_SECONDS)


def _usable(product: Product, now: datetime) -> bool:
    """Whether it may be shown at this moment, as the store's ``is_available`` says of a row."""
    return (
        product.available_quantity > 0
        and (product.available_time is None or product.available_time <= now)
        and (product.expire_time is None or product.expire_time > now)
    )
