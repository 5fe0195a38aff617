"""Products in PostgreSQL. The order of changes, deletions remembered and followers woken are the triggers' work."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from functools import partial
from typing import Any

import msgspec

from services.recommender.domain.change import Stored
from services.recommender.domain.product import Product
from services.recommender.domain.text import text_digest
from services.recommender.ports import CurrentProduct, StockOutcome, UpsertOutcome
from services.recommender.stores.postgres import Connection, Database
from services.runtime.turns import mapped

# Columns and attributes have the same names.
_FIELDS = [field.name for field in fields(Product)]

PRODUCT_COLUMNS = ", ".join(f"p.{name}" for name in _FIELDS)

_TYPES = {
    "id": "text",
    "title": "text",
    "description": "text",
    "categories": "text[]",
    "top_category": "text",
    "brand": "text",
    "price": "double precision",
    "currency_code": "text",
    "low_stock_threshold": "integer",
    "rating_average": "double precision",
    "rating_count": "integer",
    "tags": "text[]",
    "attributes": "jsonb",
    "available_time": "timestamptz",
    "expire_time": "timestamptz",
    "text_digest": "bytea",
}
_CONTENT = [name for name in _TYPES if name != "id"]

# One JSON document instead of one array per column: arrays of arrays (categories, tags) must be rectangular.
# Stock and content are compared apart: an older count loses while the content beside it is taken. An equal
# product is left to _CONFIRM, so its change_seq stands still. xmax is 0 on a row that was not there before.
_UPSERT = f"""
INSERT INTO products AS p ({", ".join(_TYPES)},
    available_quantity, inventory_set_time, create_time, update_time, change_seq)
SELECT {", ".join(f"s.{name}" for name in _TYPES)},
    s.available_quantity, s.inventory_set_time, $2::timestamptz, $2::timestamptz, 0
FROM jsonb_to_recordset($1::jsonb) AS s(
    {", ".join(f"{name} {kind}" for name, kind in _TYPES.items())},
    available_quantity integer, inventory_set_time timestamptz)
ORDER BY s.id
ON CONFLICT (id) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in _CONTENT)},
    available_quantity = CASE WHEN excluded.inventory_set_time >= p.inventory_set_time
        THEN excluded.available_quantity ELSE p.available_quantity END,
    inventory_set_time = greatest(excluded.inventory_set_time, p.inventory_set_time),
    update_time = excluded.update_time
WHERE ({", ".join(f"p.{name}" for name in _CONTENT)})
        IS DISTINCT FROM ({", ".join(f"excluded.{name}" for name in _CONTENT)})
    OR (p.available_quantity <> excluded.available_quantity
        AND excluded.inventory_set_time >= p.inventory_set_time)
RETURNING xmax = 0, id, change_seq, available_quantity
"""  # noqa: S608 - built from the constants above

# Equal products counted anew: the count is newer, and what is older than it must lose from now on. In the transaction
# of the upsert, whose lock keeps others out: a row that is still older here is one that the upsert found equal.
_CONFIRM = "UPDATE products SET inventory_set_time = $2 WHERE id = ANY($1::text[]) AND inventory_set_time < $2"

_AVAILABLE = f"""
SELECT {PRODUCT_COLUMNS}
FROM unnest($1::text[]) WITH ORDINALITY AS wanted(id, place)
JOIN products p ON p.id = wanted.id
WHERE is_available(p.available_quantity, p.available_time, p.expire_time, $2)
ORDER BY wanted.place
"""  # noqa: S608 - built from the constants above

# The same for whoever knows most of the details already: they are asked for apart, mostly not at all.
_CURRENT = """
SELECT p.id, p.change_seq
FROM unnest($1::text[]) AS wanted(id) JOIN products p ON p.id = wanted.id
WHERE is_available(p.available_quantity, p.available_time, p.expire_time, $2)
"""
_DETAILS = f"""
SELECT {PRODUCT_COLUMNS}, p.change_seq
FROM products p
WHERE p.id = ANY($1::text[]) AND is_available(p.available_quantity, p.available_time, p.expire_time, $2)
"""  # noqa: S608 - built from the constants above

# So many deletions hold the catalogue's lock for well under a second.
_DELETE_BATCH = 1_000


class PostgresCatalog:
    """The :class:`~services.recommender.ports.CatalogStore`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, product_id: str) -> Product | None:
        """The product, available or not."""
        query = f"SELECT {PRODUCT_COLUMNS} FROM products p WHERE p.id = $1"  # noqa: S608 - constants
        async with self._database.connection() as connection:
            row = await connection.fetchrow(query, product_id)
        return product_of(row) if row else None

    async def page(self, after: str, limit: int) -> list[Product]:
        """Up to ``limit`` products with ids above ``after``, ascending."""
        query = f"SELECT {PRODUCT_COLUMNS} FROM products p WHERE p.id > $1 ORDER BY p.id LIMIT $2"  # noqa: S608
        async with self._database.connection() as connection:
            rows = await connection.fetch(query, after, limit)
        return await mapped(product_of, rows)

    async def available(self, ids: Sequence[str], now: datetime) -> list[Product]:
        """Those of ``ids`` that may be recommended at ``now``, in that order. Sees every acknowledged write."""
        async with self._database.connection() as connection:
            return [product_of(row) for row in await connection.fetch(_AVAILABLE, ids, now)]

    async def current(self, ids: Sequence[str], known: Sequence[int], now: datetime) -> list[CurrentProduct]:
        """As ``available``, in no order, without the details of those whose ``change_seq`` is the one ``known``."""
        versions = dict(zip(ids, known, strict=True))
        async with self._database.connection() as connection:
            rows = await connection.fetch(_CURRENT, ids, now)
            current = [CurrentProduct(id_, seq, None) for id_, seq in rows if versions[id_] == seq]
            others = [id_ for id_, seq in rows if versions[id_] != seq]
            # What became unavailable between the two is left out.
            told = await connection.fetch(_DETAILS, others, now) if others else ()
        return current + [CurrentProduct(row["id"], row["change_seq"], product_of(row)) for row in told]

    async def upsert(self, products: Sequence[Product], now: datetime, counted: datetime) -> UpsertOutcome:
        """Stores products with distinct ids, in one transaction; of equal ones only the time of the count is new."""
        rows = await mapped(partial(_row, counted=counted), products)  # before anybody waits for the catalogue's lock
        async with self._database.transaction() as connection:
            written = await _write(connection, rows, counted, now)
        created = sum(new for new, *_ in written)
        stored = {product.id: Stored(0, product.available_quantity) for product in products}
        stored |= {id_: Stored(change_seq, quantity) for _, id_, change_seq, quantity in written}
        return UpsertOutcome(created, len(written) - created, len(products) - len(written), stored)

    async def change(
        self, product_id: str, decide: Callable[[Product | None], tuple[Product, bool]], now: datetime
    ) -> tuple[Product, int]:
        """Stores what ``decide`` makes of the stored product, with no other write in between; returns it, and the
        ``change_seq`` that it has now."""
        query = f"SELECT {PRODUCT_COLUMNS}, p.inventory_set_time, p.change_seq FROM products p WHERE p.id = $1"  # noqa: S608
        async with self._database.transaction() as connection:
            await connection.execute("SELECT lock_catalogue()")
            row = await connection.fetchrow(query, product_id)
            product, counted = decide(product_of(row) if row else None)
            last_count = row["inventory_set_time"] if row else now
            counted_at = max(now, last_count) if counted else last_count
            await _write(connection, [_row(product, counted_at)], counted_at, now)
            row = await connection.fetchrow(query, product_id)
            return product_of(row), row["change_seq"]

    async def delete(self, product_id: str) -> bool:
        """Whether it was there."""
        async with self._database.connection() as connection:
            return bool(await connection.fetch("DELETE FROM products WHERE id = $1 RETURNING 1", product_id))

    async def delete_others(self, named: Collection[str], created_until: datetime) -> int:
        """Deletes what is not ``named`` and was there at ``created_until``, in batches; returns how many."""
        async with self._database.connection() as connection:
            others = await connection.fetch(
                "SELECT p.id FROM products p WHERE p.create_time <= $2"
                " AND NOT EXISTS (SELECT FROM unnest($1::text[]) AS n(id) WHERE n.id = p.id)",
                list(named),
                created_until,
            )
            ids = [row["id"] for row in others]
            deleted = 0
            for start in range(0, len(ids), _DELETE_BATCH):
                gone = await connection.fetch(
                    "DELETE FROM products WHERE id = ANY($1::text[]) AND create_time <= $2 RETURNING 1",
                    ids[start : start + _DELETE_BATCH],
                    created_until,
                )
                deleted += len(gone)
        return deleted

    async def set_inventory(
        self, product_id: str, quantity: int, counted: datetime, now: datetime
    ) -> StockOutcome | None:
        """Sets the stock unless a newer count is known; None: there is no such product."""
        async with self._database.connection() as connection:
            applied = await connection.fetchval(
                "UPDATE products SET available_quantity = $2, inventory_set_time = $3, update_time = $4"
                " WHERE id = $1 AND inventory_set_time <= $3 RETURNING available_quantity",
                product_id,
                quantity,
                counted,
                now,
            )
            if applied is not None:
                return StockOutcome(applied, applied=True)
            stored = await connection.fetchval("SELECT available_quantity FROM products WHERE id = $1", product_id)
        return None if stored is None else StockOutcome(stored, applied=False)


async def _write(
    connection: Connection, rows: Sequence[Mapping[str, Any]], counted: datetime, now: datetime
) -> list[Any]:
    """Upserts products counted at ``counted``; what _UPSERT says of each one that was not equal already."""
    document = msgspec.json.encode(rows).decode()
    written: list[Any] = await connection.fetch(_UPSERT, document, now)
    if len(written) < len(rows):
        await connection.execute(_CONFIRM, [row["id"] for row in rows], counted)
    return written


def _row(product: Product, counted: datetime) -> dict[str, Any]:
    row = {name: getattr(product, name) for name in _CONTENT if name != "text_digest"}
    return row | {
        "id": product.id,
        "text_digest": "\\x" + text_digest(product).hex(),
        "available_quantity": product.available_quantity,
        "inventory_set_time": counted,
    }


def product_of(row: Any) -> Product:
    """The product in a row that has :data:`PRODUCT_COLUMNS`."""
    values = {name: row[name] for name in _FIELDS}
    values["categories"] = tuple(values["categories"])
    values["tags"] = tuple(values["tags"])
    values["attributes"] = msgspec.json.decode(values["attributes"])
    return Product(**values)
