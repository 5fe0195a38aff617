"""The copies of product features that rank products without a user."""

from __future__ import annotations

import math
from collections.abc import Sequence

from services.recommender.ranking_ports import Floats, ProductScores
from services.recommender.stores.postgres import Database

_PAGE = "SELECT id FROM products WHERE id > $1 ORDER BY id LIMIT $2"

# A missing value leaves what is stored, so the row to write is made of both; equal rows are not written again.
_UPSERT = """
INSERT INTO product_scores AS s (product_id, top_category, popularity, trend, rating)
SELECT p.id, p.top_category, coalesce(new.popularity, stored.popularity, 0), coalesce(new.trend, stored.trend, 0),
    coalesce(new.rating, stored.rating)
FROM unnest($1::text[], $2::float8[], $3::float8[], $4::float8[]) AS new (id, popularity, trend, rating)
JOIN products p ON p.id = new.id
LEFT JOIN product_scores stored ON stored.product_id = new.id
WHERE new.popularity IS NOT NULL OR new.trend IS NOT NULL OR new.rating IS NOT NULL
ON CONFLICT (product_id) DO UPDATE SET
    top_category = excluded.top_category, popularity = excluded.popularity, trend = excluded.trend,
    rating = excluded.rating, update_time = now()
WHERE (s.top_category, s.popularity, s.trend, s.rating) IS DISTINCT FROM
    (excluded.top_category, excluded.popularity, excluded.trend, excluded.rating)"""

_FORGET = "DELETE FROM product_scores s WHERE NOT EXISTS (SELECT FROM products p WHERE p.id = s.product_id)"


class PostgresScores:
    """The :class:`~services.recommender.ranking_ports.ScoreStore` of a running service."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def product_ids(self, after: str, limit: int) -> Sequence[str]:
        async with self._database.connection() as connection:
            return [row["id"] for row in await connection.fetch(_PAGE, after, limit)]

    async def write(self, scores: ProductScores) -> int:
        columns = (_nullable(scores.popularity), _nullable(scores.trend), _nullable(scores.rating))
        async with self._database.connection() as connection:
            status: str = await connection.execute(_UPSERT, list(scores.ids), *columns)
        return int(status.rpartition(" ")[2])

    async def forget_deleted(self) -> None:
        async with self._database.connection() as connection:
            await connection.execute(_FORGET)


def _nullable(values: Floats) -> list[float | None]:
    return [None if math.isnan(value) else value for value in values.tolist()]
