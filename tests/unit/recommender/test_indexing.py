"""Texts that a write left without an embedding are found, and the others not looked at again and again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from services.recommender.domain.product import Product
from services.recommender.domain.text import text_digest
from services.recommender.indexing import TextIndexer
from services.recommender.ports import TextEmbedding
from services.runtime.errors import ServiceError, unavailable


class Store:
    """Products by the number of their last change, embeddings, and what was asked."""

    def __init__(self) -> None:
        self.epoch = "first"
        self.products: dict[int, Product] = {}
        self.embedded: set[bytes] = set()
        self.asked: list[object] = []
        self.down = False

    def change(self, number: int, title: str) -> None:
        self.products[number] = Product(f"p{number}", title)

    async def position(self) -> tuple[str, int]:
        return self.epoch, max(self.products, default=0)

    async def any_missing(self, limit: int, after: int = 0) -> list[Product]:
        self.asked.append(after)
        if self.down:
            raise unavailable("DOWN", "it is down")
        left = [product for number, product in self.products.items() if number > after]
        return [product for product in left if text_digest(product) not in self.embedded][:limit]

    async def put(self, embeddings: Sequence[TextEmbedding]) -> None:
        self.embedded.update(embedding.text_digest for embedding in embeddings)

    async def forget_unused(self) -> None:
        self.asked.append("forget")

    async def embed(self, texts: Sequence[str]) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
        return np.zeros((len(texts), 256), dtype=np.float32)

    def left(self) -> list[str]:
        return [product.id for product in self.products.values() if text_digest(product) not in self.embedded]


async def test_only_what_changed_since_the_last_look_is_looked_at() -> None:
    store = Store()
    indexer = TextIndexer(store, store, store)  # type: ignore[arg-type]  # the methods that matter
    store.change(1, "one")
    store.change(2, "two")
    await indexer.repair()
    assert (store.left(), store.asked) == ([], ["forget", 0, 0])
    store.asked.clear()
    await indexer.repair()
    assert store.asked == []
    store.change(3, "three")
    await indexer.repair()
    assert (store.left(), store.asked) == ([], [2, 2])


async def test_a_look_that_failed_is_not_done_and_another_catalogue_is_looked_through() -> None:
    store = Store()
    indexer = TextIndexer(store, store, store)  # type: ignore[arg-type]  # the methods that matter
    store.change(5, "one")
    await indexer.repair()
    store.change(6, "two")
    store.down = True
    with pytest.raises(ServiceError):
        await indexer.repair()
    store.down = False
    await indexer.repair()
    assert store.left() == []
    # A restored backup goes on under the same name, with what was not embedded then.
    store.products, store.embedded = {4: Product("p4", "old")}, set()
    await indexer.repair()
    assert store.left() == []
    store.epoch, store.products = "second", {9: Product("p9", "another")}
    await indexer.repair()
    assert store.left() == []
