"""Our copy of the catalogue's signals in PostgreSQL, and the price ranks within its categories."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from services.features.signal_ports import Moved, Signal, SignalPage
from services.features.stores.postgres import Database

# A rank belongs to a category: it goes with it, and comes back with the next ranking.
_UPSERT = """
INSERT INTO product_signals AS p (product_id, top_category, price, available_quantity, low_stock_threshold,
                                  rating_average, rating_count, brand, generation)
SELECT product_id, top_category, price, available_quantity, low_stock_threshold, rating_average, rating_count, brand, $9
FROM unnest($1::text[], $2::text[], $3::float8[], $4::int[], $5::int[], $6::float8[], $7::int[], $8::text[])
  AS s (product_id, top_category, price, available_quantity, low_stock_threshold, rating_average, rating_count, brand)
ON CONFLICT (product_id) DO UPDATE SET
  top_category = excluded.top_category,
  price = excluded.price,
  available_quantity = excluded.available_quantity,
  low_stock_threshold = excluded.low_stock_threshold,
  rating_average = excluded.rating_average,
  rating_count = excluded.rating_count,
  brand = excluded.brand,
  generation = excluded.generation,
  price_rank = CASE WHEN p.top_category IS DISTINCT FROM excluded.top_category OR excluded.price IS NULL
                    THEN NULL ELSE p.price_rank END
"""

_COLUMNS = (
    "product_id, top_category, price, available_quantity, low_stock_threshold, rating_average, rating_count, brand"
)
# Notes of changes that are to be announced: of products themselves, and of what users' values depend on.
_CHANGED, _MOVED = "unannounced_products", "moved_products"
_NOTE = """
INSERT INTO {table} (product_id)
SELECT DISTINCT unnest($1::text[])
ON CONFLICT (product_id) DO UPDATE SET change = DEFAULT
"""
# A row that is locked is changing: it stays.
_DONE = """
WITH done AS (
  SELECT n.product_id
  FROM {table} n
  JOIN unnest($1::text[], $2::bigint[]) AS d (product_id, change) USING (product_id, change)
  FOR UPDATE OF n SKIP LOCKED
)
DELETE FROM {table} n USING done WHERE n.product_id = done.product_id
"""

_RANK = """
WITH ranked AS (
  SELECT
    product_id,
    2 * (rank() OVER prices - 1) + count(*) OVER equals AS price_rank,
    count(*) OVER category AS priced_products
  FROM product_signals
  WHERE top_category = ANY ($1) AND price IS NOT NULL
  WINDOW
    category AS (PARTITION BY top_category),
    prices AS (PARTITION BY top_category ORDER BY price),
    equals AS (PARTITION BY top_category, price)
)
UPDATE product_signals p
SET price_rank = r.price_rank, priced_products = r.priced_products
FROM ranked r
WHERE p.product_id = r.product_id
  AND (p.price_rank IS DISTINCT FROM r.price_rank OR p.priced_products IS DISTINCT FROM r.priced_products)
RETURNING p.product_id
"""

# Any number, the same in every process.
_FOLLOWER_LOCK = 7_161_802_532
# A catalogue of 100,000 products in one category is ranked in about a second.
_RANK_TIMEOUT = 60.0


class PostgresSignals:
    """Implements SignalStore."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # The generation before which nothing is left: a sweep looks at every product.
        self._swept = -1

    async def cursor(self) -> str:
        """See SignalStore."""
        rows = await self._database.fetch("SELECT cursor FROM product_signals_cursor")
        cursor: str = rows[0]["cursor"]
        return cursor

    async def apply(self, page: SignalPage) -> Moved:
        """See SignalStore. A restart opens a new generation; when it has caught up, what it did not name is deleted."""
        async with self._database.transaction() as connection:
            generation: int = await connection.fetchval(
                "UPDATE product_signals_cursor SET cursor = $1, generation = generation + $2::int RETURNING generation",
                page.cursor,
                int(page.restart),
            )
            moved = await self._store(connection, _newest(page.signals), generation)
            sweep = page.caught_up and generation != self._swept
            if sweep:
                gone = await connection.fetch(
                    f"DELETE FROM product_signals WHERE generation < $1 RETURNING {_COLUMNS}",  # noqa: S608 - a constant
                    generation,
                )
                _note(moved, [(_signal(row), None) for row in gone])
                await connection.execute(_NOTE.format(table=_CHANGED), [row["product_id"] for row in gone])
            if moved.products:
                await connection.execute(_NOTE.format(table=_MOVED), list(moved.products))
        if sweep:
            self._swept = generation
        return moved

    def sole(self) -> AbstractAsyncContextManager[bool]:
        """See SignalStore. A follower that is killed leaves no lock behind."""
        return self._database.sole(_FOLLOWER_LOCK)

    async def _store(self, connection: Any, signals: Sequence[Signal], generation: int) -> Moved:
        moved = Moved(set(), set())
        if not signals:
            return moved
        rows = await connection.fetch(
            f"SELECT {_COLUMNS} FROM product_signals WHERE product_id = ANY ($1) FOR UPDATE",  # noqa: S608 - a constant
            [s.product_id for s in signals],
        )
        before = {row["product_id"]: _signal(row) for row in rows}
        pairs = [(before.get(s.product_id), None if s.deleted else s) for s in signals]
        changed = [s.product_id for s, (old, new) in zip(signals, pairs, strict=True) if old != new]
        _note(moved, pairs)
        present = [s for s in signals if not s.deleted]
        if present:
            await connection.execute(_UPSERT, *_columns(present), generation)
        gone = [s.product_id for s in signals if s.deleted]
        if gone:
            await connection.execute("DELETE FROM product_signals WHERE product_id = ANY ($1)", gone)
        if changed:
            await connection.execute(_NOTE.format(table=_CHANGED), changed)
        return moved

    async def rank_prices(self, categories: Sequence[str]) -> list[str]:
        """See SignalStore."""
        async with self._database.patient() as connection, connection.transaction():
            rows = await connection.fetch(_RANK, list(categories), timeout=_RANK_TIMEOUT)
            changed = [row["product_id"] for row in rows]
            if changed:
                await connection.execute(_NOTE.format(table=_MOVED), changed)
        return changed

    async def categories(self) -> list[str]:
        """See SignalStore."""
        rows = await self._database.fetch(
            "SELECT DISTINCT top_category FROM product_signals WHERE top_category IS NOT NULL"
        )
        return [row["top_category"] for row in rows]

    async def unannounced(self, after: int, limit: int) -> dict[str, int]:
        """See SignalStore."""
        rows = await self._database.fetch(
            f"SELECT product_id, change FROM {_CHANGED} WHERE change > $1 ORDER BY change LIMIT $2",  # noqa: S608 - a constant
            after,
            limit,
        )
        return {row["product_id"]: row["change"] for row in rows}

    async def announced(self, changes: Mapping[str, int]) -> None:
        """See SignalStore."""
        await self._database.fetch(_DONE.format(table=_CHANGED), list(changes), list(changes.values()))

    async def moved(self, limit: int) -> dict[str, int]:
        """See SignalStore."""
        rows = await self._database.fetch(
            f"SELECT product_id, change FROM {_MOVED} ORDER BY change LIMIT $1",  # noqa: S608 - a constant
            limit,
        )
        return {row["product_id"]: row["change"] for row in rows}

    async def marked(self, changes: Mapping[str, int]) -> None:
        """See SignalStore."""
        await self._database.fetch(_DONE.format(table=_MOVED), list(changes), list(changes.values()))


def _newest(signals: Sequence[Signal]) -> list[Signal]:
    """The last signal of each product: one statement cannot change a row twice."""
    return list({signal.product_id: signal for signal in signals}.values())


def _signal(row: Any) -> Signal:
    return Signal(deleted=False, **dict(row))


def _note(moved: Moved, pairs: Iterable[tuple[Signal | None, Signal | None]]) -> None:
    """Adds what changes from the first to the second of each pair mean; None: not in the catalogue."""
    for old, new in pairs:
        either = old or new
        was, is_now = _place(old), _place(new)
        if either is None:
            continue
        if (old and old.brand) != (new and new.brand):
            moved.products.add(either.product_id)
        if was == is_now:
            continue
        # One without a price is in no ranking, which would tell that its own rank is gone.
        if was[0] != is_now[0] or is_now[1] is None:
            moved.products.add(either.product_id)
        moved.categories.update(category for category, price in (was, is_now) if category and price is not None)


def _place(signal: Signal | None) -> tuple[str | None, float | None]:
    return (signal.top_category, signal.price) if signal else (None, None)


def _columns(signals: Sequence[Signal]) -> list[list[Any]]:
    return [
        [s.product_id for s in signals],
        [s.top_category for s in signals],
        [s.price for s in signals],
        [s.available_quantity for s in signals],
        [s.low_stock_threshold for s in signals],
        [s.rating_average for s in signals],
        [s.rating_count for s in signals],
        [s.brand for s in signals],
    ]
