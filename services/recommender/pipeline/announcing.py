"""Tells followers of every change made through this process before the change is acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from services.recommender.domain.change import Stored
from services.recommender.domain.product import Product
from services.recommender.pipeline.following import Follower
from services.recommender.pipeline.mirror import Mirror
from services.recommender.ports import CatalogStore, CurrentProduct, StockOutcome, UpsertOutcome
from services.recommender.ranking_ports import ProductScores, ScoreStore
from services.runtime.turns import pieces


class AnnouncingCatalog:
    """A :class:`~services.recommender.ports.CatalogStore` around another one.

    The change log says the same a few milliseconds later; but when the store goes down in just these
    milliseconds, pages are made from memory, and the memory must know already.
    """

    def __init__(self, store: CatalogStore, follower: Follower) -> None:
        self._store = store
        self._follower = follower

    async def get(self, product_id: str) -> Product | None:
        return await self._store.get(product_id)

    async def page(self, after: str, limit: int) -> list[Product]:
        return await self._store.page(after, limit)

    async def available(self, ids: Sequence[str], now: datetime) -> list[Product]:
        return await self._store.available(ids, now)

    async def current(self, ids: Sequence[str], known: Sequence[int], now: datetime) -> list[CurrentProduct]:
        return await self._store.current(ids, known, now)

    async def upsert(self, products: Sequence[Product], now: datetime, counted: datetime) -> UpsertOutcome:
        outcome = await self._store.upsert(products, now, counted)
        async for piece in pieces(products):
            for product in piece:
                self._follower.changed(product, outcome.stored.get(product.id))
        return outcome

    async def change(
        self, product_id: str, decide: Callable[[Product | None], tuple[Product, bool]], now: datetime
    ) -> tuple[Product, int]:
        product, change_seq = await self._store.change(product_id, decide, now)
        self._follower.changed(product, Stored(change_seq, product.available_quantity))
        return product, change_seq

    async def delete(self, product_id: str) -> bool:
        deleted = await self._store.delete(product_id)
        self._follower.deleted(product_id)
        return deleted

    async def delete_others(self, named: Collection[str], created_until: datetime) -> int:
        # Which ones were deleted is in the change log.
        return await self._store.delete_others(named, created_until)

    async def set_inventory(
        self, product_id: str, quantity: int, counted: datetime, now: datetime
    ) -> StockOutcome | None:
        outcome = await self._store.set_inventory(product_id, quantity, counted, now)
        if outcome is not None:
            self._follower.counted(product_id, outcome.available_quantity)
        return outcome


class AnnouncingScores:
    """A :class:`~services.recommender.ranking_ports.ScoreStore` around another one. Each process copies the scores, so
    each of them has them in memory, and the store is told only what differs from that."""

    def __init__(self, store: ScoreStore, mirror: Mirror) -> None:
        self._store = store
        self._mirror = mirror

    async def product_ids(self, after: str, limit: int) -> Sequence[str]:
        return await self._store.product_ids(after, limit)

    async def write(self, scores: ProductScores) -> int:
        news = self._mirror.unlike(scores)
        if not news.ids:
            return 0
        changed = await self._store.write(news)
        self._mirror.scored(news)
        return changed

    async def forget_deleted(self) -> None:
        await self._store.forget_deleted()
