"""The event log in PostgreSQL: batches for writers, transactions for the log tail."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

from services.features.domain.events import Event
from services.features.ports import EVENT_LOG, Appended, LoggedEvent, StoreDownError
from services.features.stores import appending
from services.features.stores.appending import instant
from services.features.stores.erasure import SHARE_WITH_ERASURES
from services.features.stores.merged import MERGED_IN, locks_of, marks, with_users
from services.features.stores.partitions import Partitions
from services.features.stores.postgres import Database, DeadlockError, PartitionMissingError

_TRANSACTIONS = """
SELECT ingest_xid::text::bigint AS transaction
FROM ingests
WHERE ingest_xid >= $1::bigint::text::xid8 AND ingest_xid < $2::bigint::text::xid8
ORDER BY ingest_xid
LIMIT $3
"""

_TIMES_OF = "SELECT first_event_time, last_event_time FROM ingests WHERE ingest_xid = $1::bigint::text::xid8"

# Between times that the planner knows, so that it looks at no other day.
_EVENTS_OF = """
SELECT e.event_type::text, e.subject_id, ceil(date_part('epoch', e.event_time) * 1000)::bigint AS event_time_ms,
       ARRAY(
         SELECT l.product_id FROM event_lines l
         WHERE l.subject_id = e.subject_id AND l.event_type = e.event_type AND l.event_time = e.event_time
           AND l.seq = e.seq AND l.event_time BETWEEN $2::timestamptz AND $3::timestamptz
       ) AS product_ids
FROM events e
WHERE e.ingest_xid = $1::bigint::text::xid8 AND e.event_time BETWEEN $2::timestamptz AND $3::timestamptz
"""

# Nothing is accepted that is further in the future than five minutes; clocks differ.
_FUTURE = """
SELECT e.event_type::text, e.subject_id, ceil(date_part('epoch', e.event_time) * 1000)::bigint AS event_time_ms,
       ARRAY(
         SELECT l.product_id FROM event_lines l
         WHERE l.subject_id = e.subject_id AND l.event_type = e.event_type AND l.event_time = e.event_time
           AND l.seq = e.seq AND l.event_time > $1::timestamptz
       ) AS product_ids
FROM ingests i JOIN events e USING (ingest_xid)
WHERE i.ingest_time > $1::timestamptz - interval '10 minutes' AND i.last_event_time > $1::timestamptz
  AND e.event_time > $1::timestamptz
"""

# Against whatever else takes rows of the log in another order (senders never do: see INSERT_IDS), and against
# partitions that are dropped between two looks.
_ATTEMPTS = 5
_NONE: frozenset[str] = frozenset()


class PostgresEventLog:
    """Implements EventLog and LogReader."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._partitions = Partitions(database)

    async def prepare(self, events: Sequence[Event]) -> None:
        """See EventLog."""
        await self._partitions.ensure(appending.days(events))

    async def append(self, events: Sequence[Event]) -> Appended:
        """See EventLog."""
        days = appending.days(events)
        for attempt in range(_ATTEMPTS):
            await self._partitions.ensure(days)
            try:
                return await self._append_a_few(events) or await self._append(events)
            except DeadlockError:
                if attempt == _ATTEMPTS - 1:
                    raise
            except PartitionMissingError as error:
                if attempt == _ATTEMPTS - 1:
                    raise StoreDownError(EVENT_LOG, "a day is being dropped") from error
                self._partitions.forget(days)
        raise AssertionError("the last attempt returns or raises")

    async def horizon(self) -> int:
        """See LogReader."""
        rows = await self._database.fetch("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        horizon: int = rows[0][0]
        return horizon

    async def transactions(self, first: int, horizon: int, limit: int) -> list[int]:
        """See LogReader."""
        rows = await self._database.fetch_planned(_TRANSACTIONS, first, horizon, limit)
        return [row["transaction"] for row in rows]

    async def events_of(self, transaction: int) -> list[LoggedEvent]:
        """See LogReader."""
        times = await self._database.fetch(_TIMES_OF, transaction)
        if not times:
            return []
        events = [LoggedEvent(*row) for row in await self._database.fetch(_EVENTS_OF, transaction, *times[0])]
        for merge in await self._database.fetch(MERGED_IN, transaction):
            events += marks(*merge)
        return events

    async def future_events(self, now_ms: int) -> list[LoggedEvent]:
        """See LogReader."""
        return [LoggedEvent(*row) for row in await self._database.fetch(_FUTURE, instant(now_ms * 1_000))]

    async def _append_a_few(self, events: Sequence[Event]) -> Appended | None:
        """All that `_append` does, in one exchange; None: they are too many, or a case for it."""
        distinct = len({event.event_id for event in events}) == len(events)
        if not distinct or sum(event.weight for event in events) > appending.FEW:
            return None
        columns = appending.few_columns(events, locks_of(events))
        for fresh, erased, transaction, unknown in await self._database.fetch(appending.APPEND_A_FEW, *columns):
            new = set(fresh)
            is_new = [event.event_id in new for event in events]
            return Appended(is_new, frozenset(unknown or ()), transaction, frozenset(erased))
        return None

    async def _append(self, events: Sequence[Event]) -> Appended:
        async with self._database.transaction() as connection:
            await connection.execute(SHARE_WITH_ERASURES)
            events, merged = await with_users(connection, events)
            inserted = await connection.fetch(appending.INSERT_IDS, *appending.id_columns(events))
            new = {row[0] for row in inserted}
            left = list({event.event_id for event in events} - new)
            erased = frozenset(row[0] for row in await connection.fetch(appending.NOT_THERE, left)) if left else _NONE
            is_new = [_taken(new, event.event_id) for event in events]
            if not inserted:
                return Appended(is_new, _NONE, None, erased, merged)
            # Numbers rise in the order sent, whatever the order of the ids.
            numbers = sorted(row[1] for row in inserted)
            transaction, unknown = await self._store(
                connection, list(zip(numbers, compress(events, is_new), strict=True))
            )
        return Appended(is_new, unknown, transaction, erased, merged)

    @staticmethod
    async def _store(connection: Any, new: Sequence[tuple[int, Event]]) -> tuple[int, frozenset[str]]:
        """The transaction's number, and the products that the catalogue does not know."""
        stored = appending.rows(new)
        for table, columns, records in (
            ("events", appending.EVENT_COLUMNS, stored.events),
            ("event_lines", appending.LINE_COLUMNS, stored.lines),
        ):
            if records:
                await connection.copy_records_to_table(table, records=records, columns=columns)
        (ended,) = await connection.fetch(appending.FINISH, *stored.finish)
        return ended["transaction"], frozenset(ended["unknown_products"])


def _taken(new: set[str], event_id: str) -> bool:
    """Of two equal ids in the batch the first was stored: it takes the place, the second finds none."""
    if event_id not in new:
        return False
    new.remove(event_id)
    return True
