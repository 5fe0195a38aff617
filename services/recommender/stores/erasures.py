"""Erasure in PostgreSQL: nothing is stored of shoppers, so a tombstone for what processes remember is all of it."""

from __future__ import annotations

from services.recommender.domain.shoppers import Shopper
from services.recommender.ranking_ports import LatelyErased
from services.recommender.stores.postgres import Database

_BURY = """
INSERT INTO erased_shoppers (digest, erase_time)
SELECT sha256(salt || convert_to($1, 'UTF8')), clock_timestamp() FROM erasure_salt
ON CONFLICT (digest) DO UPDATE SET erase_time = clock_timestamp()
"""

_LATELY = """
SELECT salt, ARRAY(SELECT digest FROM erased_shoppers WHERE erase_time > now() - $1::float8 * interval '1 second')
FROM erasure_salt
"""


class PostgresErasures:
    """The :class:`~services.recommender.ranking_ports.ErasureStore` of a running service."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def erase(self, shopper: Shopper) -> None:
        async with self._database.connection() as connection:
            await connection.execute(_BURY, shopper.subject)

    async def lately(self, seconds: float) -> LatelyErased:
        async with self._database.connection() as connection:
            salt, digests = await connection.fetchrow(_LATELY, seconds)
            return LatelyErased(salt, frozenset(digests))
