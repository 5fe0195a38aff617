"""Neighbours by text that were found once, beside the products."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from services.recommender.domain.neighbourhoods import Nearest
from services.recommender.stores.postgres import Database
from services.recommender.stores.retrieval import halves, statement
from services.recommender.text_ports import AvailableNearest, Findable, StoredNearest

_NEAREST = """
SELECT n.product_id, n.change_seq, n.near, n.cosines, n.whole, extract(epoch FROM n.find_time)::float8,
    halfvec_send(e.text_embedding)
FROM text_neighbours n
JOIN product_embeddings e ON e.product_id = n.product_id
WHERE n.product_id = ANY($1::text[])
"""

_AVAILABLE = statement("stored_neighbours")

# One text for the ids of each: the driver has no arrays of arrays of different lengths.
_KEEP = """
INSERT INTO text_neighbours AS n (product_id, change_seq, near, cosines, whole, find_time)
SELECT made.product_id, $2, string_to_array(made.near, E'\\n'), made.cosines, made.whole, to_timestamp(made.found_at)
FROM unnest($1::text[], $3::text[], $4::bytea[], $5::boolean[], $6::float8[])
    AS made (product_id, near, cosines, whole, found_at)
ORDER BY made.product_id
ON CONFLICT (product_id) DO UPDATE SET
    change_seq = excluded.change_seq, near = excluded.near, cosines = excluded.cosines, whole = excluded.whole,
    find_time = excluded.find_time
WHERE n.change_seq <= excluded.change_seq
"""

_FOUND_LATELY = """
SELECT p.id, p.found_seq, halfvec_send(e.text_embedding)
FROM (SELECT * FROM products WHERE found_seq > 0 ORDER BY found_seq DESC LIMIT $1) p
LEFT JOIN text_embeddings e ON e.text_digest = p.text_digest
ORDER BY p.found_seq
"""

_FORGET = "DELETE FROM text_neighbours n WHERE NOT EXISTS (SELECT FROM products p WHERE p.id = n.product_id)"

_FLOATS = "<f4"


class PostgresNeighbours:
    """The :class:`~services.recommender.text_ports.NearestStore` of a running service."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def nearest(self, ids: Sequence[str]) -> list[StoredNearest]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(_NEAREST, list(ids))
        return [
            StoredNearest(
                id_, seq, Nearest(near, np.frombuffer(cosines, _FLOATS).tolist(), whole, found_at), halves(vector)
            )
            for id_, seq, near, cosines, whole, found_at, vector in rows
        ]

    async def available(self, ids: Sequence[str], limit: int) -> list[AvailableNearest]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(_AVAILABLE, list(ids), limit)
        return [AvailableNearest(id_, whole, near or (), cosines or ()) for id_, whole, near, cosines in rows]

    async def keep(self, found: Sequence[tuple[str, Nearest]], change_seq: int) -> None:
        async with self._database.connection() as connection:
            await connection.execute(
                _KEEP,
                [id_ for id_, _ in found],
                change_seq,
                ["\n".join(nearest.ids) for _, nearest in found],
                [np.array(nearest.cosines, _FLOATS).tobytes() for _, nearest in found],
                [nearest.whole for _, nearest in found],
                [nearest.found_at for _, nearest in found],
            )

    async def found_lately(self, limit: int) -> list[Findable]:
        async with self._database.connection() as connection:
            rows = await connection.fetch(_FOUND_LATELY, limit)
        return [Findable(id_, seq, None if vector is None else halves(vector)) for id_, seq, vector in rows]

    async def forget_deleted(self) -> None:
        async with self._database.connection() as connection:
            await connection.execute(_FORGET)
