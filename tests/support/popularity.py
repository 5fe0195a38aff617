"""The popularity of products by one statement that reads the whole window: what the service must agree with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

NAME = "product_popularity_score"

_SCORES = """
WITH activity AS (
  SELECT
    product_id,
    sum(
      CASE event_type WHEN 'purchase-complete' THEN 5.0::float8 WHEN 'add-to-cart' THEN 3.0::float8 ELSE 1.0::float8 END
      * power(2.0::float8, -date_part('epoch', $2::timestamptz - event_time) / (7 * 86400.0::float8))
    ) AS x
  FROM event_lines
  WHERE event_type IN ('detail-page-view', 'add-to-cart', 'purchase-complete')
    AND event_time > $2::timestamptz - interval '720 hours'
    AND event_time <= $2::timestamptz
  GROUP BY product_id
)
SELECT
  product_id AS id,
  round_half_even((100 * ln(1 + x) / ln(1 + (SELECT max(x) FROM activity)))::text::numeric, 1, 2)::float8 AS value
FROM activity
WHERE product_id = ANY ($1)
"""


async def scores(database: Any, ids: Sequence[str], at: datetime) -> dict[str, float]:
    """Of those with evidence; ``database`` has asyncpg's ``fetch``."""
    return {row["id"]: row["value"] for row in await database.fetch(_SCORES, list(ids), at)}
