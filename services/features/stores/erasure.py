"""Erasure from the event log in PostgreSQL: a tombstone first, then the rows in pages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from services.features.ports import EVENT_LOG, StoreDownError
from services.features.stores.appending import instant
from services.features.stores.merged import BURY_GUESTS, FORGET_MERGES
from services.features.stores.postgres import Database, LockTimeoutError
from services.features.subject_ports import RemovedPage

# Writers hold it shared from before they look for tombstones to their commit; a tombstone is written while nobody
# does. So every commit either is there to be removed, or saw the tombstone.
_LOCK = 7161802535
SHARE_WITH_ERASURES = f"SELECT pg_advisory_xact_lock_shared({_LOCK})"

# New writers queue behind one who waits for the lock: an erasure gives up before they do.
_LOCK_TIMEOUT = "SET LOCAL lock_timeout = '2s'"
_TAKE_LOCK = f"SELECT pg_advisory_xact_lock({_LOCK})"

# Events that senders dated ahead are of the old life too.
_BURY = """
INSERT INTO erased_subjects (digest, until)
SELECT sha256(salt || convert_to($1, 'UTF8')),
       greatest($2::timestamptz, clock_timestamp(),
                (SELECT max(event_time) FROM events WHERE subject_id = $1 AND event_time > $2::timestamptz))
FROM erasure_salt
ON CONFLICT (digest) DO UPDATE SET until = greatest(erased_subjects.until, excluded.until)
"""

# Locked, so that two erasures of one person take turns.
_UNTIL = """
SELECT until FROM erased_subjects, erasure_salt WHERE digest = sha256(salt || convert_to($1, 'UTF8'))
FOR UPDATE OF erased_subjects
"""

_DAYS = "SELECT first_day, last_day FROM subjects WHERE subject_id = $1"

# Of one page; a person's events are few, a crawler's are not, and a call that gives up has done a part.
_PAGE = 2_000

# From the oldest on, up to the time of the page's last one (and all that share it): times that the planner knows, so
# that the removal looks at no other day.
_FIND_PAGE = """
SELECT min(event_time) AS first, max(event_time) AS last
FROM (
  SELECT event_time FROM events
  WHERE subject_id = $1 AND event_time >= $2::date::timestamp AT TIME ZONE 'UTC'
    AND event_time < ($3::date + 1)::timestamp AT TIME ZONE 'UTC' AND event_time <= $4::timestamptz
  ORDER BY event_time
  LIMIT $5
) AS page
"""

_REMOVE_LINES = """
WITH gone AS (
  DELETE FROM event_lines
  WHERE subject_id = $1 AND event_type = ANY (enum_range(NULL::event_type))
    AND event_time BETWEEN $2::timestamptz AND $3::timestamptz
  RETURNING product_id
)
SELECT product_id, count(*)::int AS lines FROM gone GROUP BY product_id
"""

_REMOVE_EVENTS = """
WITH gone AS (
  DELETE FROM events WHERE subject_id = $1 AND event_time BETWEEN $2::timestamptz AND $3::timestamptz
  RETURNING event_id, event_time
), unlocked AS (
  DELETE FROM event_ids WHERE event_id IN (SELECT event_id FROM gone)
), remembered AS (
  INSERT INTO erased_events (digest)
  SELECT sha256(salt || convert_to(event_id, 'UTF8')) FROM gone, erasure_salt
  ON CONFLICT DO NOTHING
)
SELECT ceil(date_part('epoch', event_time) * 1000)::bigint AS event_time_ms FROM gone
"""

# Under the exclusive lock: no commit is under way that found the person known and has events that we do not see yet.
_FORGET = """
DELETE FROM subjects s
WHERE subject_id = $1
  AND NOT EXISTS (SELECT FROM events WHERE subject_id = $1 AND event_time > $2::timestamptz)
"""

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class PostgresErasure:
    """Implements ErasureLog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def bury(self, subject_id: str, now_us: int) -> Sequence[str]:
        """See ErasureLog."""
        async with self._database.transaction() as connection:
            await _keep_writers_out(connection)
            await connection.execute(_BURY, subject_id, instant(now_us))
            return [row["subject_id"] for row in await connection.fetch(BURY_GUESTS, subject_id)]

    async def forget_merges(self, subject_id: str) -> None:
        """See ErasureLog."""
        await self._database.fetch(FORGET_MERGES, subject_id)

    async def remove(self, subject_id: str) -> RemovedPage | None:
        """See ErasureLog. Who the person was goes last: as long as anything is left, a repeated call knows of it."""
        async with self._database.transaction() as connection:
            until = await connection.fetchval(_UNTIL, subject_id)
            days = await connection.fetchrow(_DAYS, subject_id)
            page = await connection.fetchrow(_FIND_PAGE, subject_id, *days, until, _PAGE) if days else None
            found = page if page and page["first"] else None
            if found:
                first, last = found
                times = await connection.fetch(_REMOVE_EVENTS, subject_id, first, last)
            else:
                # Lines outlive the events of their day, until their month is dropped.
                first, last, times = _LONG_AGO, until, []
            lines = await connection.fetch(_REMOVE_LINES, subject_id, first, last)
        # Found and not removed: their day has just left the log; others may follow it.
        if not found and not lines:
            await self._forget(subject_id, until)
            return None
        return RemovedPage(
            len(times),
            sum(row["lines"] for row in lines),
            [row["product_id"] for row in lines],
            [row["event_time_ms"] for row in times],
        )

    async def _forget(self, subject_id: str, until: datetime) -> None:
        # In a transaction that holds no tombstone: whoever buries waits for tombstones under the lock.
        async with self._database.transaction() as connection:
            await _keep_writers_out(connection)
            await connection.execute(_FORGET, subject_id, until)


async def _keep_writers_out(connection: Any) -> None:
    """To the end of the transaction no commit is under way."""
    await connection.execute(_LOCK_TIMEOUT)
    try:
        await connection.execute(_TAKE_LOCK)
    except LockTimeoutError as error:
        raise StoreDownError(EVENT_LOG, "a commit takes too long") from error
