"""Keeps every product's text embedding up to date: right after a write, and again later for what a bad moment left."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from prometheus_client import Counter

from services.recommender.domain.product import Product
from services.recommender.domain.text import embedding_text, text_digest
from services.recommender.ports import Embedder, EmbeddingStore, TextEmbedding
from services.runtime.errors import ServiceError
from services.runtime.logs import get_logger

log = get_logger(__name__)

EMBEDDED = Counter(
    "windowshop_texts_embedded_total",
    "Product texts embedded; rising without changes in the catalogue means the same work is done again.",
)

# What a write could not finish (a crash, a database restart) is found by a look at all products this often.
REPAIR_SECONDS = 60.0
BATCH = 1_000


class TextIndexer:
    """Embeds the texts of products whose stored embedding is not of their present text."""

    def __init__(self, store: EmbeddingStore, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder

    async def index(self, ids: Sequence[str]) -> None:
        """Brings these products up to date. Never fails: the product is stored, and ``run`` comes back to it."""
        try:
            await self._embed(await self._store.outdated(ids))
        except ServiceError as error:
            log.warning("embedding postponed", products=len(ids), reason=error.reason)

    async def run(self) -> None:
        """Looks for what is left behind, at start and once a minute, for as long as the process lives."""
        while True:
            try:
                while left := await self._store.any_outdated(BATCH):
                    await self._embed(left)
            except ServiceError as error:
                log.warning("embedding postponed", reason=error.reason)
            await asyncio.sleep(REPAIR_SECONDS)

    async def _embed(self, products: Sequence[Product]) -> None:
        if not products:
            return
        vectors = await self._embedder.embed([embedding_text(product) for product in products])
        await self._store.put(
            [TextEmbedding(p.id, text_digest(p), vector) for p, vector in zip(products, vectors, strict=True)]
        )
        EMBEDDED.inc(len(products))
