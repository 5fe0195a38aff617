"""The embeddings of the products' texts, apart from the products: a change of stock never touches their index."""

from __future__ import annotations

from collections.abc import Sequence

from pgvector import HalfVector

from services.recommender.domain.product import Product
from services.recommender.ports import TextEmbedding
from services.recommender.stores.catalog import PRODUCT_COLUMNS, product_of
from services.recommender.stores.postgres import Database
from services.runtime.turns import mapped

_MISSING = f"""
SELECT {PRODUCT_COLUMNS} FROM products p
WHERE NOT EXISTS (SELECT FROM text_embeddings e WHERE e.text_digest = p.text_digest)
"""  # noqa: S608 - built from a constant

# In one order, so that two imports of the same texts wait for each other instead of locking each other up.
_PUT = """
INSERT INTO text_embeddings (text_digest, text_embedding)
SELECT made.text_digest, made.text_embedding
FROM unnest($1::bytea[], $2::halfvec[]) AS made(text_digest, text_embedding)
ORDER BY made.text_digest
ON CONFLICT (text_digest) DO NOTHING
"""

_FORGET = """
DELETE FROM text_embeddings e WHERE NOT EXISTS (SELECT FROM products p WHERE p.text_digest = e.text_digest)
"""

# 1,000 inserts into the HNSW graph take half a second alone, and a machine is not always ours alone.
_LONG_SECONDS = 60.0


class PostgresEmbeddings:
    """The :class:`~services.recommender.ports.EmbeddingStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def missing(self, ids: Sequence[str]) -> list[Product]:
        """Those of ``ids`` whose present text has no embedding."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_MISSING + " AND p.id = ANY($1::text[])", ids)
        return await mapped(product_of, rows)

    async def any_missing(self, limit: int, after: int = 0) -> list[Product]:
        """Up to ``limit`` products, whichever, that changed after ``after`` and whose present text has no embedding."""
        async with self._database.connection() as connection:
            rows = await connection.fetch(_MISSING + " AND p.change_seq > $2 LIMIT $1", limit, after)
        return await mapped(product_of, rows)

    async def put(self, embeddings: Sequence[TextEmbedding]) -> None:
        """Stores embeddings; one that is there already stays."""
        vectors = await mapped(lambda made: HalfVector(made.vector), embeddings)
        async with self._database.connection() as connection:
            await connection.execute(
                _PUT,
                [made.text_digest for made in embeddings],
                vectors,
                timeout=_LONG_SECONDS,
            )

    async def forget_unused(self) -> None:
        """Removes the embeddings of texts that no product has any more."""
        async with self._database.connection() as connection:
            await connection.execute(_FORGET, timeout=_LONG_SECONDS)
