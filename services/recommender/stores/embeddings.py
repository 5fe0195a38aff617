"""The text embeddings of the products, in a table of their own, so that a change of stock never touches their index."""

from __future__ import annotations

from collections.abc import Sequence

from pgvector import HalfVector

from services.recommender.domain.product import Product
from services.recommender.ports import TextEmbedding
from services.recommender.stores.catalog import PRODUCT_COLUMNS, product_of
from services.recommender.stores.postgres import Database

_OUTDATED = f"""
SELECT {PRODUCT_COLUMNS}
FROM products p LEFT JOIN product_embeddings e ON e.product_id = p.id
WHERE e.text_digest IS DISTINCT FROM p.text_digest
"""  # noqa: S608 - built from a constant

# Only while the product still has that text: an embedding that was overtaken is dropped here, not stored over
# the newer one. The row lock keeps a concurrent deletion from breaking the whole batch; ordered against deadlocks.
_PUT = """
WITH wanted AS (
    SELECT p.id, made.text_digest, made.text_embedding
    FROM unnest($1::text[], $2::bytea[], $3::halfvec[]) AS made(id, text_digest, text_embedding)
    JOIN products p ON p.id = made.id AND p.text_digest = made.text_digest
    ORDER BY p.id
    FOR KEY SHARE OF p
)
INSERT INTO product_embeddings AS e (product_id, text_digest, text_embedding)
SELECT id, text_digest, text_embedding FROM wanted
ON CONFLICT (product_id) DO UPDATE
SET text_digest = excluded.text_digest, text_embedding = excluded.text_embedding
WHERE e.text_digest <> excluded.text_digest
"""

# 1,000 inserts into the HNSW graph take half a second alone, and this machine is not always ours alone.
_PUT_SECONDS = 60.0


class PostgresEmbeddings:
    """The :class:`~services.recommender.ports.EmbeddingStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def outdated(self, ids: Sequence[str]) -> list[Product]:
        """Those of ``ids`` whose embedding is not of their present text."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_OUTDATED + " AND p.id = ANY($1::text[])", ids)
        return [product_of(row) for row in rows]

    async def any_outdated(self, limit: int) -> list[Product]:
        """Up to ``limit`` products, whichever, whose embedding is not of their present text."""
        async with self._database.connection() as connection:
            return [product_of(row) for row in await connection.fetch(_OUTDATED + " LIMIT $1", limit)]

    async def put(self, embeddings: Sequence[TextEmbedding]) -> None:
        """Stores embeddings of texts that are still the products' present ones."""
        async with self._database.connection() as connection:
            await connection.execute(
                _PUT,
                [e.product_id for e in embeddings],
                [e.text_digest for e in embeddings],
                [HalfVector(e.vector) for e in embeddings],
                timeout=_PUT_SECONDS,
            )
