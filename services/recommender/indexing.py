"""Sees to it that every product's text is embedded: right after a write, or later what a bad moment left out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from prometheus_client import Counter

from services.recommender.domain.product import Product
from services.recommender.domain.text import embedding_text, text_digest
from services.recommender.ports import Embedder, EmbeddingStore, TextEmbedding
from services.runtime.errors import ServiceError
from services.runtime.logs import get_logger
from services.runtime.turns import mapped

log = get_logger(__name__)

EMBEDDED = Counter(
    "windowshop_texts_embedded_total",
    "Product texts embedded; rising without changes in the catalogue means the same work is done again.",
)

# What a write could not finish (a crash, a database restart) is found by a look at all products this often.
REPAIR_SECONDS = 60.0
BATCH = 1_000


class TextIndexer:
    """Embeds the texts of products that have no embedding yet."""

    def __init__(self, store: EmbeddingStore, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder

    async def index(self, ids: Sequence[str]) -> None:
        """Embeds the texts of these products. An absent store is no failure: ``run`` comes back to what is left."""
        try:
            await self._embed(await self._store.missing(ids))
        except ServiceError as error:
            log.warning("embedding postponed", products=len(ids), reason=error.reason)

    async def run(self) -> None:
        """Cleans up and embeds what is left, at start and once a minute, for as long as the process lives."""
        while True:
            try:
                await self._store.forget_unused()
                while left := await self._store.any_missing(BATCH):
                    await self._embed(left)
            except ServiceError as error:
                log.warning("embedding postponed", reason=error.reason)
            await asyncio.sleep(REPAIR_SECONDS)

    async def _embed(self, products: Sequence[Product]) -> None:
        texts = dict(await mapped(lambda product: (text_digest(product), embedding_text(product)), products))
        if not texts:
            return
        vectors = await self._embedder.embed(list(texts.values()))
        await self._store.put([TextEmbedding(*made) for made in zip(texts, vectors, strict=True)])
        EMBEDDED.inc(len(texts))
