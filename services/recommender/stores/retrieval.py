"""Searches over the catalogue's vectors and scores. Availability is part of every search, not of what follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.recommender.domain.candidates import Hit
from services.recommender.domain.signals import Anchor, Card
from services.recommender.ranking_ports import FactRow
from services.recommender.stores.postgres import Database

# "p" is products in every statement below.
_AVAILABLE = "is_available(p.available_quantity, p.available_time, p.expire_time, now())"

# The index scan goes on (hnsw.iterative_scan) until enough available neighbours are found.
_SEMANTIC = f"""
SELECT n.id, wanted.weight * n.cosine AS score, wanted.id AS anchor
FROM unnest($1::text[], $2::float8[]) AS wanted (id, weight)
JOIN product_embeddings a ON a.product_id = wanted.id
CROSS JOIN LATERAL (
    SELECT e.product_id AS id, 1 - (e.text_embedding <=> a.text_embedding) AS cosine
    FROM product_embeddings e JOIN products p ON p.id = e.product_id
    WHERE e.product_id <> ALL ($1) AND {_AVAILABLE}
    ORDER BY e.text_embedding <=> a.text_embedding
    LIMIT $3
) n"""

# The index knows inner products, which favour what everybody buys; the cosine, which does not, picks the nearest
# among four times as many.
_CO_CHOSEN = f"""
SELECT n.id, wanted.weight * n.cosine AS score, wanted.id AS anchor
FROM unnest($2::text[], $3::float8[]) AS wanted (id, weight)
JOIN product_factors a ON a.model_id = $1 AND a.product_id = wanted.id
CROSS JOIN LATERAL (
    SELECT near.id, near.cosine FROM (
        SELECT f.product_id AS id, 1 - (f.embedding <=> a.embedding) AS cosine
        FROM product_factors f JOIN products p ON p.id = f.product_id
        WHERE f.model_id = $1 AND f.product_id <> ALL ($2) AND {_AVAILABLE}
        ORDER BY f.embedding <#> a.embedding
        LIMIT 4 * $4::int
    ) near
    ORDER BY near.cosine DESC, near.id LIMIT $4
) n"""

_COLLABORATIVE = f"""
WITH me AS MATERIALIZED (SELECT embedding FROM user_factors WHERE model_id = $1 AND user_id = $2)
SELECT f.product_id AS id, -(f.embedding <#> (SELECT embedding FROM me)) AS score, NULL AS anchor
FROM product_factors f JOIN products p ON p.id = f.product_id
WHERE f.model_id = $1 AND EXISTS (SELECT FROM me) AND {_AVAILABLE}
ORDER BY f.embedding <#> (SELECT embedding FROM me)
LIMIT $3"""

_OF_THESE = f"""
SELECT p.id, -wanted.place::float8 AS score, NULL AS anchor
FROM unnest($1::text[]) WITH ORDINALITY AS wanted (id, place) JOIN products p ON p.id = wanted.id
WHERE {_AVAILABLE}
ORDER BY wanted.place
LIMIT $2"""

_BY_SCORE = f"""
SELECT p.id, s.{{column}} AS score, NULL AS anchor
FROM product_scores s JOIN products p ON p.id = s.product_id
WHERE s.{{column}} > 0 AND {_AVAILABLE}
ORDER BY s.{{column}} DESC, s.product_id
LIMIT $1"""
_POPULAR = _BY_SCORE.format(column="popularity")
_TRENDING = _BY_SCORE.format(column="trend")

_POPULAR_IN = f"""
SELECT best.id, best.score, NULL AS anchor
FROM unnest($1::text[]) AS wanted (category)
CROSS JOIN LATERAL (
    SELECT p.id, s.popularity AS score
    FROM products p JOIN product_scores s ON s.product_id = p.id
    WHERE p.top_category = wanted.category AND p.available_quantity > 0 AND {_AVAILABLE}
    ORDER BY s.popularity DESC, p.id
    LIMIT $2
) best"""

# What came with the catalogue's first load is no arrival, however young the shop.
_NEW_ARRIVALS = f"""
SELECT p.id, extract(epoch FROM p.create_time)::float8 AS score, NULL AS anchor
FROM products p
WHERE p.available_quantity > 0 AND {_AVAILABLE} AND p.create_time > now() - interval '30 days'
    AND p.create_time > (SELECT min(create_time) FROM products WHERE available_quantity > 0) + interval '1 hour'
ORDER BY p.create_time DESC, p.id
LIMIT $1"""

_ANYTHING = f"""
(SELECT p.id, 1 + s.popularity AS score, NULL AS anchor
 FROM product_scores s JOIN products p ON p.id = s.product_id
 WHERE s.popularity > 0 AND s.product_id <> ALL ($2) AND {_AVAILABLE}
 ORDER BY s.popularity DESC, s.product_id LIMIT $1)
UNION ALL
(SELECT p.id, 0, NULL FROM products p
 WHERE p.available_quantity > 0 AND p.id <> ALL ($2) AND {_AVAILABLE}
 ORDER BY p.create_time DESC LIMIT $1 + (SELECT count(*) FROM unnest($2)))"""

_FACTS = f"""
WITH anchors AS MATERIALIZED (
    SELECT wanted.weight, e.text_embedding
    FROM unnest($2::text[], $3::float8[]) AS wanted (id, weight)
    JOIN product_embeddings e ON e.product_id = wanted.id
), me AS MATERIALIZED (SELECT embedding FROM user_factors WHERE model_id = $4 AND user_id = $5)
SELECT p.id, p.title, p.top_category, p.brand, p.price,
    p.available_quantity <= p.low_stock_threshold AS low_stock, s.popularity, s.rating,
    (SELECT max(anchors.weight * (1 - (e.text_embedding <=> anchors.text_embedding))) FROM anchors) AS similarity,
    -(f.embedding <#> (SELECT embedding FROM me)) AS collaborative
FROM products p
LEFT JOIN product_embeddings e ON e.product_id = p.id
LEFT JOIN product_scores s ON s.product_id = p.id
LEFT JOIN product_factors f ON f.model_id = $4 AND f.product_id = p.id
WHERE p.id = ANY ($1) AND {_AVAILABLE}"""

_CARDS = "SELECT p.id, p.title, p.top_category, p.brand, p.price FROM products p WHERE p.id = ANY ($1)"

# 21 quantiles: a percentile is right within a fortieth, which is less than the scorer can tell apart.
_PRICE_BANDS = """
SELECT top_category,
    percentile_cont(ARRAY(SELECT place / 20.0 FROM generate_series(0, 20) place)::float8[])
        WITHIN GROUP (ORDER BY price) AS quantiles
FROM products WHERE price IS NOT NULL AND top_category <> ''
GROUP BY top_category"""

_SHOWCASE = f"""
SELECT id FROM (
    SELECT p.id, s.popularity,
        row_number() OVER (ORDER BY s.popularity DESC NULLS LAST, p.id) AS place,
        row_number() OVER (PARTITION BY p.top_category ORDER BY s.popularity DESC NULLS LAST, p.id) AS place_in
    FROM products p LEFT JOIN product_scores s ON s.product_id = p.id
    WHERE {_AVAILABLE}
) ranked
WHERE place <= $1 OR place_in <= $2
ORDER BY popularity DESC NULLS LAST, id"""


class PostgresRetrieval:
    """The :class:`~services.recommender.ranking_ports.Retrieval` of a running service."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def semantic(self, anchors: Sequence[Anchor], limit: int) -> list[Hit]:
        ids, weights = _columns(anchors)
        return await self._hits(_SEMANTIC, ids, weights, limit)

    async def co_chosen(self, model_id: str, anchors: Sequence[Anchor], limit: int) -> list[Hit]:
        ids, weights = _columns(anchors)
        return await self._hits(_CO_CHOSEN, model_id, ids, weights, limit)

    async def collaborative(self, model_id: str, user_id: str, limit: int) -> list[Hit]:
        return await self._hits(_COLLABORATIVE, model_id, user_id, limit)

    async def of_these(self, ids: Sequence[str], limit: int) -> list[Hit]:
        return await self._hits(_OF_THESE, list(ids), limit)

    async def popular(self, limit: int) -> list[Hit]:
        return await self._hits(_POPULAR, limit)

    async def popular_in(self, categories: Sequence[str], limit: int) -> list[Hit]:
        return await self._hits(_POPULAR_IN, list(categories), limit)

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

    async def facts(
        self, ids: Sequence[str], anchors: Sequence[Anchor], model_id: str, user_id: str
    ) -> list[FactRow]:
        near, weights = _columns(anchors)
        rows = await self._fetch(_FACTS, list(ids), near, weights, model_id, user_id)
        return [
            FactRow(
                _card(row),
                row["low_stock"],
                row["popularity"],
                row["rating"],
                row["similarity"],
                row["collaborative"],
            )
            for row in rows
        ]

    async def cards(self, ids: Sequence[str]) -> list[Card]:
        return [_card(row) for row in await self._fetch(_CARDS, list(ids))]

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


def _columns(anchors: Sequence[Anchor]) -> tuple[list[str], list[float]]:
    return [anchor.id for anchor in anchors], [anchor.weight for anchor in anchors]


def _card(row: Any) -> Card:
    return Card(row["id"], row["title"], row["top_category"], row["brand"], row["price"])
