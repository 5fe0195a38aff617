"""The floor of a recommendation: one search among the shop's own vectors and one read of what was found, raw.

No service, no rules, no ranker: a prepared statement over one connection of PostgreSQL, an MGET over one of Redis.
"""

from dataclasses import dataclass
from time import perf_counter
from typing import Any

import asyncpg
import numpy as np
from pgvector.asyncpg import register_vector
from redis import Redis

from bench.results import percentile
from bench.synthetic import product_id

FOUND = 100
_SEARCH = """
SELECT p.id FROM text_embeddings e JOIN products p ON p.text_digest = e.text_digest
WHERE p.available_quantity > 0
ORDER BY e.text_embedding <=> $1
LIMIT 100
"""
_VECTORS = "SELECT text_embedding FROM product_embeddings WHERE product_id = ANY ($1::text[])"
_SETTINGS = {"jit": "off", "hnsw.ef_search": "100", "hnsw.iterative_scan": "relaxed_order"}
_WARM_UP = 50


@dataclass(frozen=True, slots=True)
class Floor:
    """Milliseconds, median."""

    search_ms: float
    read_ms: float

    @property
    def sum_ms(self) -> float:
        return self.search_ms + self.read_ms


async def measure(dsn: str, redis_url: str, products: int, rounds: int) -> Floor:
    """`rounds` searches around random products, each followed by the read of what it found."""
    dice = np.random.default_rng(5)
    chosen = [product_id(number) for number in dice.integers(0, products, rounds + _WARM_UP).tolist()]
    searches, reads = [], []
    connection = await asyncpg.connect(dsn, server_settings=_SETTINGS)
    try:
        await register_vector(connection)
        vectors = [row[0] for row in await connection.fetch(_VECTORS, chosen)]
        statement = await connection.prepare(_SEARCH)
        with Redis.from_url(redis_url) as redis:
            keys = _keys(redis)
            for vector in vectors:
                begin = perf_counter()
                rows = await statement.fetch(vector)
                searched = perf_counter()
                wanted = [keys[row[0]] for row in rows if row[0] in keys]
                reading = perf_counter()
                redis.mget(wanted)
                done = perf_counter()
                searches.append((searched - begin) * 1_000)
                reads.append((done - reading) * 1_000)
    finally:
        await connection.close()
    return Floor(percentile(searches[_WARM_UP:], 50), percentile(reads[_WARM_UP:], 50))


def _keys(redis: Any) -> dict[str, bytes]:
    """The keys of the products' records, by product."""
    return {key.rpartition(b":")[2].decode(): key for key in redis.scan_iter("ws:1:{Product*", count=10_000)}
