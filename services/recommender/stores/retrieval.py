"""Searches over the catalogue's vectors and scores. Availability is part of every search, not of what follows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from services.recommender.domain.candidates import Hit
from services.recommender.domain.product_row import ProductRow
from services.recommender.domain.signals import Anchor, Card
from services.recommender.ranking_ports import FactRow, Neighbourhood
from services.recommender.stores.postgres import Database

_SQL = Path(__file__).parents[1] / "sql"


def statement(name: str) -> str:
    """One of the service's, by its file."""
    return (_SQL / f"{name}.sql").read_text()


_SEMANTIC = statement("semantic")
_NEIGHBOURS = statement("neighbours")
_COLLABORATIVE = statement("collaborative")
_POPULAR = statement("popular")
_TRENDING = statement("trending")
_POPULAR_IN = statement("popular_in")
_NEW_ARRIVALS = statement("new_arrivals")
_ANYTHING = statement("anything")
_FACTS = statement("facts")
_CARDS = statement("cards")
_ASSORTMENT = statement("assortment") + "WHERE p.id = ANY($1)"
_ASSORTMENT_AFTER = statement("assortment") + "WHERE p.id > $1 ORDER BY p.id LIMIT $2"
_VERSIONS_AFTER = statement("versions_after")
_PRICE_BANDS = statement("price_bands")
_SHOWCASE = statement("showcase")


# How the server sends half precision vectors: four bytes of header, then the elements, the larger byte first.
_VECTOR_HEADER = 4
_SENT_AS = ">f2"


class PostgresRetrieval:
    """The ``Retrieval``, ``Lists`` and ``AssortmentStore`` of a running service; see
    :mod:`services.recommender.ranking_ports`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def semantic(self, anchors: Sequence[Anchor], limit: int) -> list[Hit]:
        ids, weights = _columns(anchors)
        return await self._hits(_SEMANTIC, ids, weights, limit)

    async def neighbours(self, ids: Sequence[str], limit: int) -> list[Neighbourhood]:
        rows = await self._fetch(_NEIGHBOURS, list(ids), limit)
        return [Neighbourhood(id_, halves(vector), near or (), cosines or ()) for id_, vector, near, cosines in rows]

    async def collaborative(self, model_id: str, vector: npt.NDArray[np.float32], limit: int) -> list[Hit]:
        return await self._hits(_COLLABORATIVE, model_id, vector, limit)

    async def popular(self, limit: int) -> list[Hit]:
        return await self._hits(_POPULAR, limit)

    async def popular_in(self, category: str, limit: int) -> list[Hit]:
        return await self._hits(_POPULAR_IN, category, limit)

    async def trending(self, limit: int) -> list[Hit]:
        return await self._hits(_TRENDING, limit)

    async def new_arrivals(self, limit: int) -> list[Hit]:
        return await self._hits(_NEW_ARRIVALS, limit)

    async def anything(self, limit: int, excluded: Sequence[str]) -> list[Hit]:
        hits = await self._hits(_ANYTHING, limit, list(excluded))
        first: dict[str, Hit] = {}
        for hit in hits:
            first.setdefault(hit.id, hit)
        return list(first.values())[:limit]

    async def facts(self, ids: Sequence[str], anchors: Sequence[Anchor], vectors: bool = False) -> list[FactRow]:
        near, weights = _columns(anchors)
        return [_fact(row) for row in await self._fetch(_FACTS, list(ids), near, weights, vectors)]

    async def rows(self, ids: Sequence[str]) -> list[ProductRow]:
        return [_row(row) for row in await self._fetch(_ASSORTMENT, list(ids))]

    async def rows_after(self, after: str, limit: int) -> list[ProductRow]:
        return [_row(row) for row in await self._fetch(_ASSORTMENT_AFTER, after, limit)]

    async def versions_after(self, after: str, limit: int) -> tuple[list[str], list[int]]:
        rows = await self._fetch(_VERSIONS_AFTER, after, limit)
        return [id_ for id_, _ in rows], [version for _, version in rows]

    async def cards(self, ids: Sequence[str]) -> list[Card]:
        return [Card(*row) for row in await self._fetch(_CARDS, list(ids))]

    async def price_bands(self) -> dict[str, Sequence[float]]:
        return {row["top_category"]: row["quantiles"] for row in await self._fetch(_PRICE_BANDS)}

    async def showcase_ids(self, overall: int, per_category: int) -> list[str]:
        return [row["id"] for row in await self._fetch(_SHOWCASE, overall, per_category)]

    async def _hits(self, statement: str, *arguments: object) -> list[Hit]:
        return [Hit(id_, score, anchor) for id_, score, anchor in await self._fetch(statement, *arguments)]

    async def _fetch(self, statement: str, *arguments: object) -> list[Any]:
        async with self._database.connection() as connection:
            rows: list[Any] = await connection.fetch(statement, *arguments)
            return rows


def _fact(row: Any) -> FactRow:
    # By position, as in facts.sql: a hundred rows a request.
    low_stock, popularity, rating, similarity, vector = row[5:]
    return FactRow(Card(*row[:5]), low_stock, popularity, rating, similarity, _vector(vector))


def _row(row: Any) -> ProductRow:
    *values, vector, change_seq = row
    return ProductRow._make((*values, None if vector is None else halves(vector), change_seq))


def _vector(sent: bytes | None) -> npt.NDArray[np.float32] | None:
    return None if sent is None else halves(sent).astype(np.float32)


def halves(sent: bytes) -> npt.NDArray[np.float16]:
    """What ``halfvec_send`` gave."""
    return np.frombuffer(sent, _SENT_AS, offset=_VECTOR_HEADER).astype(np.float16)


def _columns(anchors: Sequence[Anchor]) -> tuple[list[str], list[float]]:
    return [anchor.id for anchor in anchors], [anchor.weight for anchor in anchors]
