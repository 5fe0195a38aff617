"""Erasure in PostgreSQL: a tombstone first, then the vectors of every model version."""

from __future__ import annotations

from services.recommender.domain.shoppers import Shopper
from services.recommender.ranking_ports import LatelyErased
from services.recommender.stores.postgres import Database

_BURY = """
INSERT INTO erased_shoppers (digest, erase_time)
SELECT sha256(salt || convert_to($1, 'UTF8')), clock_timestamp() FROM erasure_salt
ON CONFLICT (digest) DO UPDATE SET erase_time = clock_timestamp()
"""

# By way of the models: each partition's key begins with the model.
_REMOVE_VECTORS = """
WITH gone AS (
  DELETE FROM user_factors f USING models m WHERE f.model_id = m.id AND f.user_id = $1 RETURNING 1
)
SELECT count(*)::int FROM gone
"""

_LATELY = """
SELECT salt, ARRAY(SELECT digest FROM erased_shoppers WHERE erase_time > now() - $1::float8 * interval '1 second')
FROM erasure_salt
"""


class PostgresErasures:
    """The :class:`~services.recommender.ranking_ports.ErasureStore` of a running service."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def erase(self, shopper: Shopper) -> int:
        # Committed before the vectors are looked for: a model that appears after the look finds the tombstone when
        # it is completed.
        async with self._database.connection() as connection:
            await connection.execute(_BURY, shopper.subject)
            if shopper.guest:  # models know users only
                return 0
            removed: int = await connection.fetchval(_REMOVE_VECTORS, shopper.id)
            return removed

    async def lately(self, seconds: float) -> LatelyErased:
        async with self._database.connection() as connection:
            salt, digests = await connection.fetchrow(_LATELY, seconds)
            return LatelyErased(salt, frozenset(digests))
