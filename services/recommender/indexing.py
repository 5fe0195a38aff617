"""Sees to it that every product's text is embedded: right after a write, or later what a bad moment left out."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from prometheus_client import Counter

from services.recommender.domain.change import Cursor
from services.recommender.domain.product import Product
from services.recommender.domain.text import embedding_text, text_digest
from services.recommender.ports import ChangeLog, Embedder, EmbeddingStore, TextEmbedding
from services.runtime.errors import ServiceError
from services.runtime.logs import get_logger
from services.runtime.turns import mapped

log = get_logger(__name__)

EMBEDDED = Counter(
    "windowshop_texts_embedded_total",
    "Product texts embedded; rising without changes in the catalogue means the same work is done again.",
)

# What a write could not finish (a crash, a database restart) is found this often, among what changed since the last
# look.
REPAIR_SECONDS = 60.0
# Embeddings that no product has any more are in nobody's way.
FORGET_SECONDS = 3_600.0
BATCH = 1_000


class TextIndexer:
    """Embeds the texts of products that have no embedding yet."""

    def __init__(self, store: EmbeddingStore, changes: ChangeLog, embedder: Embedder) -> None:
        self._store = store
        self._changes = changes
        self._embedder = embedder
        # Until there, every product's text is embedded.
        self._done: Cursor | None = None
        self._forget_at = 0.0

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
                await self.repair()
            except ServiceError as error:
                log.warning("embedding postponed", reason=error.reason)
            await asyncio.sleep(REPAIR_SECONDS)

    async def repair(self) -> None:
        """Embeds what is left of what changed since the last look. Raises UNAVAILABLE."""
        # First: what is committed from here on is for the next look.
        epoch, head = await self._changes.position()
        done = self._done if self._done is not None and self._done.continues(epoch, head) else Cursor(epoch, 0)
        if done.change_seq == head and self._done is not None:
            return
        if time.monotonic() >= self._forget_at:
            await self._store.forget_unused()
            self._forget_at = time.monotonic() + FORGET_SECONDS
        while left := await self._store.any_missing(BATCH, done.change_seq):
            await self._embed(left)
        self._done = Cursor(epoch, head)

    async def _embed(self, products: Sequence[Product]) -> None:
        texts = dict(await mapped(lambda product: (text_digest(product), embedding_text(product)), products))
        if not texts:
            return
        vectors = await self._embedder.embed(list(texts.values()))
        await self._store.put([TextEmbedding(*made) for made in zip(texts, vectors, strict=True)])
        EMBEDDED.inc(len(texts))
