"""The event log in PostgreSQL: batches for writers, transactions for the log tail."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from services.features.domain.events import Event
from services.features.ports import Appended, LoggedEvent
from services.features.stores.erasure import SHARE_WITH_ERASURES
from services.features.stores.postgres import Database, DeadlockError

# Numbered in the order sent, stored in the order of their ids: senders of the same events, in whatever order, wait for
# each other one way and never in a circle.
_INSERT_EVENTS = """
INSERT INTO events (seq, event_id, event_type, user_id, visitor_id, subject_id, session_id, event_time, revenue, rating,
                    position, attribution_token, device, attributes)
OVERRIDING SYSTEM VALUE
SELECT seq, event_id, event_type::event_type, nullif(user_id, ''), nullif(visitor_id, ''),
       subject_id,
       nullif(session_id, ''), timestamptz 'epoch' + time_us * interval '1 microsecond', revenue, rating,
       position, nullif(attribution_token, ''), nullif(device, ''), attributes::jsonb
FROM (
  SELECT nextval('events_seq_seq') AS seq, e.*
  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::float8[], $8::float8[],
              $9::int[], $10::text[], $11::text[], $12::text[], $13::text[])
    WITH ORDINALITY AS e (event_id, event_type, user_id, visitor_id, session_id, time_us, revenue, rating,
                          position, attribution_token, device, attributes, subject_id, place)
  ORDER BY place
) AS sent
WHERE NOT EXISTS (
  SELECT FROM erasure_salt s JOIN erased_subjects d ON d.digest = sha256(s.salt || convert_to(sent.subject_id, 'UTF8'))
  WHERE timestamptz 'epoch' + sent.time_us * interval '1 microsecond' <= d.until
     OR EXISTS (SELECT FROM erased_events x WHERE x.digest = sha256(s.salt || convert_to(sent.event_id, 'UTF8')))
)
ORDER BY event_id COLLATE "C", place
ON CONFLICT (event_id) DO NOTHING
RETURNING event_id, seq, ingest_xid::text::bigint AS transaction
"""

# Of events that were not inserted: those that are not there either belong to somebody who was erased.
_NOT_THERE = """
SELECT event_id FROM unnest($1::text[]) AS event_id
WHERE NOT EXISTS (SELECT FROM events e WHERE e.event_id = event_id.event_id)
"""

_INSERT_LINES = """
WITH inserted AS (
  INSERT INTO event_lines (seq, line, event_type, subject_id, guest, product_id, quantity, price, rating, event_time)
  SELECT seq, line, event_type::event_type, subject_id, guest, product_id, quantity, price, rating,
         timestamptz 'epoch' + time_us * interval '1 microsecond'
  FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::bool[], $6::text[], $7::int[], $8::float8[],
              $9::float8[], $10::bigint[])
    AS l (seq, line, event_type, subject_id, guest, product_id, quantity, price, rating, time_us)
)
SELECT product_id
FROM unnest($11::text[]) AS product_id
WHERE NOT EXISTS (SELECT FROM product_signals p WHERE p.product_id = product_id.product_id)
"""

_TRANSACTIONS = """
SELECT DISTINCT ingest_xid, ingest_xid::text::bigint AS transaction
FROM events
WHERE ingest_xid >= $1::bigint::text::xid8 AND ingest_xid < $2::bigint::text::xid8
ORDER BY ingest_xid
LIMIT $3
"""

# A minute: clients send in small batches and try again; what is older comes from a load or an outbox.
_HAS_HISTORY = """
SELECT EXISTS (
  SELECT FROM events
  WHERE ingest_xid >= $1::bigint::text::xid8 AND ingest_xid < $2::bigint::text::xid8
    AND event_time < ingest_time - interval '1 minute'
)
"""

_EVENTS_OF = """
WITH written AS (
  SELECT seq, event_type, subject_id, event_time FROM events WHERE ingest_xid = $1::bigint::text::xid8
)
SELECT w.event_type::text, w.subject_id, ceil(date_part('epoch', w.event_time) * 1000)::bigint AS event_time_ms,
       ARRAY(
         SELECT l.product_id FROM event_lines l
         WHERE l.subject_id = w.subject_id AND l.event_type = w.event_type AND l.event_time = w.event_time
           AND l.seq = w.seq
       ) AS product_ids
FROM written w
"""

# Nothing is accepted that is further in the future than five minutes; clocks differ.
_FUTURE = """
SELECT e.event_type::text, e.subject_id, ceil(date_part('epoch', e.event_time) * 1000)::bigint AS event_time_ms,
       ARRAY(
         SELECT l.product_id FROM event_lines l
         WHERE l.subject_id = e.subject_id AND l.event_type = e.event_type AND l.event_time = e.event_time
           AND l.seq = e.seq
       ) AS product_ids
FROM events e
WHERE e.ingest_time > $1::timestamptz - interval '10 minutes' AND e.event_time > $1::timestamptz
"""

# Against whatever else takes rows of the log in another order; senders never do (see _INSERT_EVENTS).
_DEADLOCK_ATTEMPTS = 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class PostgresEventLog:
    """Implements EventLog and LogReader."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, events: Sequence[Event]) -> Appended:
        """See EventLog."""
        for attempt in range(_DEADLOCK_ATTEMPTS):
            try:
                return await self._append(events)
            except DeadlockError:
                if attempt == _DEADLOCK_ATTEMPTS - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def horizon(self) -> int:
        """See LogReader."""
        rows = await self._database.fetch("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
        horizon: int = rows[0][0]
        return horizon

    async def transactions(self, first: int, horizon: int, limit: int) -> list[int]:
        """See LogReader."""
        rows = await self._database.fetch(_TRANSACTIONS, first, horizon, limit)
        return [row["transaction"] for row in rows]

    async def events_of(self, transaction: int) -> list[LoggedEvent]:
        """See LogReader."""
        return [LoggedEvent(*row) for row in await self._database.fetch(_EVENTS_OF, transaction)]

    async def future_events(self, now_ms: int) -> list[LoggedEvent]:
        """See LogReader."""
        return [LoggedEvent(*row) for row in await self._database.fetch(_FUTURE, _instant(now_ms * 1_000))]

    async def has_history(self, first: int, horizon: int) -> bool:
        """See LogReader."""
        history: bool = (await self._database.fetch(_HAS_HISTORY, first, horizon))[0][0]
        return history

    async def _append(self, events: Sequence[Event]) -> Appended:
        async with self._database.transaction() as connection:
            await connection.execute(SHARE_WITH_ERASURES)
            rows = await connection.fetch(_INSERT_EVENTS, *_event_columns(events))
            places = {row["event_id"]: row["seq"] for row in rows}
            left = list({event.event_id for event in events} - places.keys())
            erased = frozenset(row[0] for row in await connection.fetch(_NOT_THERE, left)) if left else frozenset()
            # Of two equal ids in the batch the first was stored: it takes the place, the second finds none.
            taken = [places.pop(event.event_id, None) for event in events]
            lines = [
                (seq, number, event, line)
                for event, seq in zip(events, taken, strict=True)
                if seq is not None
                for number, line in enumerate(event.lines)
            ]
            unknown = await self._append_lines(connection, lines) if lines else frozenset()
        transaction = rows[0]["transaction"] if rows else None
        return Appended([seq is not None for seq in taken], unknown, transaction, erased)

    @staticmethod
    async def _append_lines(connection: Any, lines: Sequence[tuple[int, int, Event, Any]]) -> frozenset[str]:
        """The products of the lines that the catalogue does not know."""
        return frozenset(row["product_id"] for row in await connection.fetch(_INSERT_LINES, *_line_columns(lines)))


def _instant(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


def _event_columns(events: Sequence[Event]) -> list[list[Any]]:
    columns = zip(*events, strict=True)
    ids, types, users, visitors, sessions, times, _, revenues, ratings, positions, tokens, devices, attributes = columns
    texts = [json.dumps(dict(entry)) if entry else None for entry in attributes]
    subjects = [event.subject_id for event in events]
    kept = (
        ids,
        types,
        users,
        visitors,
        sessions,
        times,
        revenues,
        ratings,
        positions,
        tokens,
        devices,
        texts,
        subjects,
    )
    return [list(column) for column in kept]


def _line_columns(lines: Sequence[tuple[int, int, Event, Any]]) -> list[list[Any]]:
    return [
        [seq for seq, _, _, _ in lines],
        [number for _, number, _, _ in lines],
        [event.event_type for _, _, event, _ in lines],
        [event.subject_id for _, _, event, _ in lines],
        [not event.user_id for _, _, event, _ in lines],
        [line.product_id for _, _, _, line in lines],
        [line.quantity for _, _, _, line in lines],
        [line.price for _, _, _, line in lines],
        [event.rating for _, _, event, _ in lines],
        [event.event_time_us for _, _, event, _ in lines],
        list({line.product_id for _, _, _, line in lines}),
    ]
