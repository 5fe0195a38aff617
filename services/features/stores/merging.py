"""Merges of guests into users in PostgreSQL: whose the events are is written first, then they move in pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from services.features.ports import EVENT_LOG, LoggedEvent, StoreDownError
from services.features.stores.appending import instant
from services.features.stores.erasure import SHARE_WITH_ERASURES
from services.features.stores.merged import KEEP_OUT, bucket, marks
from services.features.stores.postgres import Database, LockTimeoutError
from services.features.subject_ports import MovedPage

# New events of the guest queue behind one who waits for the lock: a merge gives up before their senders do.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '2s'"

# The same user again: up to now. Another one: from the last merge on. What senders dated ahead has happened too.
_BEGIN = """
WITH newest AS (
  SELECT until, user_id FROM merged_visitors WHERE visitor_id = $1 ORDER BY until DESC LIMIT 1
), instant AS (
  SELECT greatest(
    $3::timestamptz, clock_timestamp(),
    (SELECT max(event_time) FROM events WHERE subject_id = '~' || $1 AND event_time > $3::timestamptz),
    (SELECT CASE user_id WHEN $2 THEN until ELSE until + interval '1 microsecond' END FROM newest)
  ) AS now
), extended AS (
  UPDATE merged_visitors m SET until = now, pending = true
  FROM newest n, instant WHERE m.visitor_id = $1 AND m.until = n.until AND n.user_id = $2
  RETURNING m.until
), added AS (
  INSERT INTO merged_visitors (visitor_id, user_id, until)
  SELECT $1, $2, now FROM instant WHERE NOT EXISTS (SELECT FROM extended)
)
SELECT now FROM instant
"""

# What the user's erasure covers is covered for the guest too. Written while no event of the guest is.
_BURY_COVERED = """
INSERT INTO erased_subjects (digest, until)
SELECT sha256(salt || convert_to('~' || $1, 'UTF8')), least(d.until, $3::timestamptz)
FROM erasure_salt JOIN erased_subjects d ON d.digest = sha256(salt || convert_to($2, 'UTF8'))
ON CONFLICT (digest) DO UPDATE SET until = greatest(erased_subjects.until, excluded.until)
"""

_COVERED = """
SELECT d.until FROM erasure_salt s JOIN erased_subjects d ON d.digest = sha256(s.salt || convert_to('~' || $1, 'UTF8'))
"""

# Locked, so that two merges of one guest take turns; the oldest first, for what is before it is not the next one's.
_PENDING = """
SELECT user_id, until FROM merged_visitors WHERE visitor_id = $1 AND pending ORDER BY until LIMIT 1 FOR UPDATE
"""

_ANY_PENDING = "SELECT FROM merged_visitors WHERE visitor_id = $1 AND pending LIMIT 1"

_DAYS = """
SELECT first_day::timestamp AT TIME ZONE 'UTC' AS first, (last_day + 1)::timestamp AT TIME ZONE 'UTC' AS next
FROM subjects WHERE subject_id = '~' || $1
"""

# Events of one page: with their lines, some 10,000 rows of a busy guest.
_PAGE = 500

# From the oldest on, up to the time of the page's last one (and all that share it): times that the planner knows, so
# that the move looks at no other day.
_FIND_PAGE = """
SELECT min(event_time) AS first, max(event_time) AS last
FROM (
  SELECT event_time FROM events
  WHERE subject_id = '~' || $1 AND event_time >= $2::timestamptz AND event_time < $3::timestamptz
    AND event_time > $4::timestamptz AND event_time <= $5::timestamptz
  ORDER BY event_time
  LIMIT $6
) AS page
"""

# As if they were written now: whoever follows the log finds them in this transaction.
_MOVE_EVENTS = """
UPDATE events SET subject_id = $2, user_id = $2, ingest_xid = pg_current_xact_id()
WHERE subject_id = '~' || $1 AND event_time BETWEEN $3::timestamptz AND $4::timestamptz
RETURNING seq, event_type::text, ceil(date_part('epoch', event_time) * 1000)::bigint AS event_time_ms
"""

_MOVE_LINES = """
UPDATE event_lines SET subject_id = $2, guest = false
WHERE subject_id = '~' || $1 AND event_type = ANY (enum_range(NULL::event_type))
  AND event_time BETWEEN $3::timestamptz AND $4::timestamptz
RETURNING seq, product_id, event_type::text, ceil(date_part('epoch', event_time) * 1000)::bigint AS event_time_ms
"""

_WIDEN = """
INSERT INTO subjects AS s (subject_id, first_day, last_day)
VALUES ($1, ($2::timestamptz AT TIME ZONE 'UTC')::date, ($3::timestamptz AT TIME ZONE 'UTC')::date)
ON CONFLICT (subject_id) DO UPDATE
  SET first_day = least(s.first_day, excluded.first_day), last_day = greatest(s.last_day, excluded.last_day)
"""

_NOTE = """
WITH noted AS (
  UPDATE merged_visitors SET ingest_xid = pg_current_xact_id(), pending = $3 WHERE visitor_id = $1 AND until = $2
)
INSERT INTO ingests (first_event_time, last_event_time) VALUES ($4, $5) RETURNING ingest_xid::text::bigint
"""

# While no event of the guest is written: what there is of the guest is to be seen.
_FORGET = """
DELETE FROM subjects
WHERE subject_id = '~' || $1 AND NOT EXISTS (
  SELECT FROM events
  WHERE subject_id = '~' || $1 AND event_time >= $2::timestamptz AND event_time < $3::timestamptz
)
"""

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class PostgresMerges:
    """Implements MergeLog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, visitor_id: str, user_id: str, now_us: int) -> bool:
        """See MergeLog."""
        async with self._alone(visitor_id) as connection:
            until = await connection.fetchval(_BEGIN, visitor_id, user_id, instant(now_us))
            await connection.execute(_BURY_COVERED, visitor_id, user_id, until)
            return await connection.fetchval(_COVERED, visitor_id) is not None

    async def move(self, visitor_id: str) -> MovedPage | None:
        """See MergeLog. That it is done is written last: as long as anything is left, a repeated call knows of it."""
        while True:
            async with self._database.transaction() as connection:
                # Under it tombstones stand still: what is moved here was not erased, or is still to be looked for.
                await connection.execute(SHARE_WITH_ERASURES)
                merge = await connection.fetchrow(_PENDING, visitor_id)
                page = None if merge is None else await self._move(connection, visitor_id, *merge)
            if page is not None:
                return page
            if merge is not None:
                return await self._finish(visitor_id, *merge)
            if not await self._database.fetch(_ANY_PENDING, visitor_id):
                return None

    async def _move(self, connection: Any, visitor_id: str, user_id: str, until: datetime) -> MovedPage | None:
        """Some of what is left of one merge; None: nothing is."""
        covered = await connection.fetchval(_COVERED, visitor_id) or _LONG_AGO
        days = await connection.fetchrow(_DAYS, visitor_id)
        page = await connection.fetchrow(_FIND_PAGE, visitor_id, *days, covered, until, _PAGE) if days else None
        found = page if page and page["first"] else None
        if found:
            first, last = found
            events = await connection.fetch(_MOVE_EVENTS, visitor_id, user_id, first, last)
            await connection.execute(_WIDEN, user_id, first, last)
        else:
            # Lines outlive the events of their day, until their month is dropped.
            first, last, events = covered + _MICROSECOND, until, []
        lines = await connection.fetch(_MOVE_LINES, visitor_id, user_id, first, last)
        # Found and not moved: their day has just left the log; others may follow it.
        if not found and not lines:
            return None
        transaction = await connection.fetchval(_NOTE, visitor_id, until, True, first, last)
        return MovedPage(
            len(events), len(lines), [*_moved(user_id, events, lines), *marks(visitor_id, user_id)], transaction, False
        )

    async def _finish(self, visitor_id: str, user_id: str, until: datetime) -> MovedPage:
        async with self._alone(visitor_id) as connection:
            days = await connection.fetchrow(_DAYS, visitor_id)
            if days:
                await connection.execute(_FORGET, visitor_id, *days)
            transaction = await connection.fetchval(_NOTE, visitor_id, until, False, until, until)
        return MovedPage(0, 0, marks(visitor_id, user_id), transaction, True)

    @asynccontextmanager
    async def _alone(self, visitor_id: str) -> AsyncIterator[Any]:
        """A transaction during which no event of the guest is written, and nobody is erased."""
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK_TIMEOUT)
            try:
                await connection.execute(SHARE_WITH_ERASURES)
                await connection.execute(KEEP_OUT, bucket(visitor_id))
            except LockTimeoutError as error:
                raise StoreDownError(EVENT_LOG, "a commit takes too long") from error
            yield connection


def _moved(user_id: str, events: Sequence[Any], lines: Sequence[Any]) -> list[LoggedEvent]:
    """The events under the user whose they are now, each with its products."""
    products: dict[int, list[str]] = {}
    whole = {row["seq"]: row for row in lines} | {row["seq"]: row for row in events}
    for line in lines:
        products.setdefault(line["seq"], []).append(line["product_id"])
    return [
        LoggedEvent(row["event_type"], user_id, row["event_time_ms"], products.get(seq, ()))
        for seq, row in whole.items()
    ]
