"""Retention in PostgreSQL: a partition leaves the log, what is known by it goes in pages, then it is dropped."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from services.features.ports import EVENT_LOG, StoreDownError
from services.features.retention_ports import Removed
from services.features.stores.appending import instant
from services.features.stores.partitions import Partitions, day_of
from services.features.stores.postgres import Database, DeadlockError, LockTimeoutError

_KEEPER_LOCK = 7161802537

# Those of a drop that did not come to its end too: named like partitions, and nobody's (parent is null) or on the way
# out (leaving). The days of a month go before its lines: no event is ever there without its products.
_PARTITIONS = """
SELECT c.relname AS name, i.inhparent::regclass::text AS parent, coalesce(i.inhdetachpending, false) AS leaving
FROM pg_class c LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
WHERE c.relkind = 'r' AND c.relnamespace = current_schema()::regnamespace
  AND c.relname ~ '^(events_[0-9]{8}|event_lines_[0-9]{6})$'
ORDER BY starts_with(c.relname, 'event_lines'), c.relname
"""

# A partition leaves when those who read it now have ended; who waits behind us for longer than this had better not.
_LOCK_TIMEOUT = "5s"
# Seconds, of a statement that works through a page or waits for others.
_PATIENCE = 60.0

_BLOCKS = "SELECT pg_relation_size($1::text::regclass) / current_setting('block_size')::int"
# Blocks of 8 kB: some 5,000 events, a few tens of milliseconds.
_BLOCKS_OF_PAGE = 128
_REMOVE_IDS = """
WITH page AS (
  SELECT event_id FROM {partition}
  WHERE ctid >= format('(%s,0)', $1::bigint)::tid AND ctid < format('(%s,0)', $2::bigint)::tid
), gone AS (
  DELETE FROM event_ids i USING page WHERE i.event_id = page.event_id
)
SELECT count(*) FROM page
"""

# One that a writer holds is being widened: it stays.
_SUBJECTS_OF_PAGE = 5_000
_REMOVE_SUBJECTS = """
WITH page AS (
  SELECT subject_id FROM subjects
  WHERE subject_id > $1 AND last_day < $2
  ORDER BY subject_id
  LIMIT $3
  FOR UPDATE SKIP LOCKED
), gone AS (
  DELETE FROM subjects s USING page WHERE s.subject_id = page.subject_id
)
SELECT subject_id FROM page
"""

# Nothing that they say something of is taken any more.
_REMOVE_MERGES = "DELETE FROM merged_visitors WHERE until < $1::date AND NOT pending"

_TRIM_PAGE = 10_000
_TRIM = """
WITH page AS (
  SELECT ingest_xid FROM ingests WHERE ingest_time < $1 ORDER BY ingest_time LIMIT $2
)
DELETE FROM ingests i USING page WHERE i.ingest_xid = page.ingest_xid
"""


class _Partition(NamedTuple):
    name: str
    # Null: it was detached and not dropped.
    parent: str | None
    leaving: bool

    @property
    def of_events(self) -> bool:
        return self.name.startswith("events_")

    @property
    def end(self) -> datetime:
        """The first instant after it."""
        digits = self.name.rpartition("_")[2]
        if self.of_events:
            return datetime.strptime(digits + "+0000", "%Y%m%d%z") + timedelta(days=1)
        month = datetime.strptime(digits + "+0000", "%Y%m%z")
        return (month + timedelta(days=31)).replace(day=1)


class PostgresLogKeeper:
    """Implements LogKeeper."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._partitions = Partitions(database)

    def sole(self) -> AbstractAsyncContextManager[bool]:
        """See LogKeeper. A worker that is killed leaves no lock behind."""
        return self._database.sole(_KEEPER_LOCK)

    async def make(self, first_us: int, last_us: int) -> None:
        """See LogKeeper."""
        await self._partitions.ensure(range(day_of(first_us), day_of(last_us) + 1))

    async def drop(self, before_us: int) -> Removed:
        """See LogKeeper."""
        before = instant(before_us)
        partitions = events = 0
        for row in await self._database.fetch(_PARTITIONS):
            partition = _Partition(*row)
            if partition.end > before:
                continue
            try:
                events += await self._drop(partition)
            except DeadlockError as error:
                raise StoreDownError(EVENT_LOG, f"{partition.name} is in use") from error
            partitions += 1
        return Removed(partitions, events)

    async def forget(self, before_us: int) -> AsyncIterator[Sequence[str]]:
        """See LogKeeper. Whoever writes for one of them widens it before us, or makes it anew after us."""
        # Days are dropped whole: one that has begun before the instant is still there.
        oldest = instant(before_us).date()
        after, full = "", True
        while full:
            rows = await self._database.fetch(_REMOVE_SUBJECTS, after, oldest, _SUBJECTS_OF_PAGE)
            if rows:
                yield [row["subject_id"] for row in rows]
                after = max(row["subject_id"] for row in rows)
            full = len(rows) == _SUBJECTS_OF_PAGE
        await self._database.fetch(_REMOVE_MERGES, oldest)

    async def trim(self, before_us: int) -> None:
        """See LogKeeper."""
        while await self._removes(_TRIM, instant(before_us), _TRIM_PAGE) == _TRIM_PAGE:
            pass

    async def _drop(self, partition: _Partition) -> int:
        """The number of its events."""
        if partition.parent is not None:
            await self._detach(partition, partition.parent)
        events = await self._remove_ids(partition.name) if partition.of_events else 0
        await self._database.fetch(f"DROP TABLE {partition.name}")
        return events

    async def _detach(self, partition: _Partition, parent: str) -> None:
        """Beside readers and writers: without CONCURRENTLY it would wait for each of them with all others behind it."""
        how = "FINALIZE" if partition.leaving else "CONCURRENTLY"
        async with self._database.session() as connection:
            await connection.execute(f"SET lock_timeout = '{_LOCK_TIMEOUT}'; SET statement_timeout = 0")
            try:
                await connection.execute(
                    f"ALTER TABLE {parent} DETACH PARTITION {partition.name} {how}", timeout=_PATIENCE
                )
            except LockTimeoutError as error:
                raise StoreDownError(EVENT_LOG, f"{partition.name} is being read") from error

    async def _remove_ids(self, name: str) -> int:
        """Of the events of a detached partition."""
        blocks = (await self._database.fetch(_BLOCKS, name))[0][0]
        removed = 0
        for block in range(0, blocks, _BLOCKS_OF_PAGE):
            rows = await self._database.fetch(_REMOVE_IDS.format(partition=name), block, block + _BLOCKS_OF_PAGE)
            removed += rows[0][0]
        return removed

    async def _removes(self, statement: str, *arguments: Any) -> int:
        async with self._database.connection() as connection:
            status: str = await connection.execute(statement, *arguments)
            return int(status.rpartition(" ")[2])
