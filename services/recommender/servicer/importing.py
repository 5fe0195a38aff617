"""One ImportProducts call: lines checked, gathered into batches, stored, embedded beside the next batch, counted."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import datetime

from prometheus_client import Counter
from windowshop.recommender.v1 import catalog_pb2

from services.recommender.domain.product import Problem, Product
from services.recommender.indexing import TextIndexer
from services.recommender.ports import CatalogStore, Clock
from services.recommender.servicer.products import read_product
from services.runtime.identifiers import is_id
from services.runtime.turns import pieces

IMPORTED = Counter(
    "windowshop_products_imported_total",
    "Lines of product imports by outcome; rejected above 0 means a feed sends products that are not stored.",
    ["outcome"],
)

# Enough to spread the cost of a commit, little enough to hold the catalogue's lock for some 50 ms only.
BATCH = 1_000
MAX_SAMPLES = 100
# Batches whose embeddings are being made while the next ones are stored; bounds the memory of an import.
EMBEDDING_AHEAD = 2


class ImportSession:
    """Takes the lines of one stream in their order; ``finish`` when it ended as its sender meant it to."""

    def __init__(self, store: CatalogStore, indexer: TextIndexer, clock: Clock) -> None:
        self._store = store
        self._indexer = indexer
        self._clock = clock
        # Stock in a feed is as old as the feed: a SetInventory during the import is newer and wins.
        self._started: datetime = clock()
        self._summary = catalog_pb2.ImportProductsResponse()
        self._lines = 0
        self._accepted = 0
        self._named: set[str] = set()
        self._batch: dict[str, Product] = {}
        self._embedding: deque[asyncio.Task[None]] = deque()

    async def add(self, messages: Sequence[catalog_pb2.Product]) -> None:
        """Takes the next lines; stores a batch when one is full."""
        async for piece in pieces(messages):
            for message in piece:
                self._take(message)
                if len(self._batch) >= BATCH:
                    await self._flush()

    async def finish(self, full: bool) -> catalog_pb2.ImportProductsResponse:
        """Stores the rest, with ``full`` deletes what no line named, and sums up.

        A stream without one good line deletes nothing: it is a broken feed, not an empty shop.
        """
        await self._flush()
        if full and self._accepted:
            self._summary.deleted = await self._store.delete_others(self._named, self._started)
        await asyncio.gather(*self._embedding)
        for outcome in ("created", "updated", "unchanged", "rejected", "deleted"):
            IMPORTED.labels(outcome).inc(getattr(self._summary, outcome))
        return self._summary

    async def close(self) -> None:
        """Gives up what is still being embedded; those products are embedded later."""
        for task in self._embedding:
            task.cancel()
        await asyncio.gather(*self._embedding, return_exceptions=True)

    @property
    def lines(self) -> int:
        """How many lines were taken, good and bad."""
        return self._lines

    def _take(self, message: catalog_pb2.Product) -> None:
        product, problems = read_product(message)
        if problems:
            # It stays named when its id can be read: a typing error must not make FULL delete a product.
            if is_id(message.id):
                self._named.add(message.id)
            self._reject(message.id, problems)
        else:
            self._accept(product)
        self._lines += 1

    def _accept(self, product: Product) -> None:
        self._accepted += 1
        self._named.add(product.id)
        if product.id in self._batch:
            # The last line of an id wins; the earlier one counts as written and updated right away.
            self._summary.updated += 1
        self._batch[product.id] = product

    def _reject(self, product_id: str, problems: Sequence[Problem]) -> None:
        self._summary.rejected += 1
        if len(self._summary.error_samples) < MAX_SAMPLES:
            first = problems[0]
            self._summary.error_samples.add(
                index=self._lines,
                id=product_id[:128],
                reason=first.reason,
                field=first.field,
                message=first.message,
            )

    async def _flush(self) -> None:
        if not self._batch:
            return
        batch, self._batch = self._batch, {}
        outcome = await self._store.upsert(list(batch.values()), self._clock(), self._started)
        self._summary.created += outcome.created
        self._summary.updated += outcome.updated
        self._summary.unchanged += outcome.unchanged
        if len(self._embedding) >= EMBEDDING_AHEAD:
            await self._embedding.popleft()
        self._embedding.append(asyncio.create_task(self._indexer.index(list(batch)), name="embed import"))
