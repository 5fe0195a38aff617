"""A catalogue of few rows, and a mirror that follows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import numpy as np

from services.recommender.domain.assortment import Assortment
from services.recommender.domain.product import Product
from services.recommender.domain.product_row import ProductRow
from services.recommender.pipeline.mirror import Mirror
from services.runtime.errors import unavailable


def row(id_: str, text: bytes = b"text", embedded: bool = True, **other: object) -> ProductRow:
    vector = np.full(256, 1 / 16, dtype=np.float16) if embedded else None
    made = ProductRow(id_, f"Title {id_}", "Audio", "Ada", 9.5, 7, 5, None, None, 50.0, 2.0, None, text, vector)
    return made._replace(**other)  # type: ignore[arg-type]  # each value has its field's type


def product(id_: str) -> Product:
    """Of which the mirror reads the row."""
    return Product(id_, id_)


class Catalogue:
    """Rows by id; something can happen while they are read."""

    def __init__(self, *rows: ProductRow) -> None:
        self.rows_by_id = {row.id: row for row in rows}
        self.meanwhile: Callable[[], None] = lambda: None
        self.down = False
        self.compared = 0

    async def rows(self, ids: Sequence[str]) -> list[ProductRow]:
        return self._answer([self.rows_by_id[id_] for id_ in ids if id_ in self.rows_by_id])

    async def rows_after(self, after: str, limit: int) -> list[ProductRow]:
        return self._answer([self.rows_by_id[id_] for id_ in sorted(self.rows_by_id) if id_ > after][:2])

    async def versions_after(self, after: str, limit: int) -> tuple[list[str], list[int]]:
        rows = self._answer([self.rows_by_id[id_] for id_ in sorted(self.rows_by_id) if id_ > after][:2])
        self.compared += len(rows)
        return [row.id for row in rows], [row.change_seq for row in rows]

    def _answer(self, found: list[ProductRow]) -> list[ProductRow]:
        if self.down:
            raise unavailable("DOWN", "it is down")
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return found


@asynccontextmanager
async def mirrored(catalogue: Catalogue, capacity: int = 9, texts: int = 9) -> AsyncIterator[Mirror]:
    """A mirror that follows."""
    mirror = Mirror(catalogue, Assortment(capacity, texts))
    assert mirror.ask("a")
    following = asyncio.create_task(mirror.follow())
    mirror.restarted()
    try:
        yield mirror
    finally:
        following.cancel()
        await asyncio.wait({following})
