"""Erasure from the event log in PostgreSQL: a tombstone first, then the rows in pages."""

from __future__ import annotations

from services.features.ports import EVENT_LOG, RemovedPage, StoreDownError
from services.features.stores.postgres import Database, LockTimeoutError

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
       greatest(timestamptz 'epoch' + $2::bigint * interval '1 microsecond', clock_timestamp(),
                (SELECT max(event_time) FROM events WHERE subject_id = $1))
FROM erasure_salt
ON CONFLICT (digest) DO UPDATE SET until = greatest(erased_subjects.until, excluded.until)
"""

# Locked, so that two erasures of one person take turns.
_UNTIL = """
SELECT until FROM erased_subjects, erasure_salt WHERE digest = sha256(salt || convert_to($1, 'UTF8'))
FOR UPDATE OF erased_subjects
"""

# Of one page; a person's rows are few, a crawler's are not, and a call that gives up has done a part.
_PAGE = 10_000

_REMOVE_LINES = """
WITH gone AS (
  DELETE FROM event_lines
  WHERE ctid = ANY (ARRAY(SELECT ctid FROM event_lines WHERE subject_id = $1 AND event_time <= $2 LIMIT $3))
    AND subject_id = $1
  RETURNING product_id
)
SELECT product_id, count(*)::int AS lines FROM gone GROUP BY product_id
"""

_REMOVE_EVENTS = """
WITH gone AS (
  DELETE FROM events
  WHERE event_id = ANY (ARRAY(SELECT event_id FROM events WHERE subject_id = $1 AND event_time <= $2 LIMIT $3))
  RETURNING event_id, event_time
), remembered AS (
  INSERT INTO erased_events (digest)
  SELECT sha256(salt || convert_to(event_id, 'UTF8')) FROM gone, erasure_salt
  ON CONFLICT DO NOTHING
)
SELECT ceil(date_part('epoch', event_time) * 1000)::bigint AS event_time_ms FROM gone
"""


class PostgresErasure:
    """Implements ErasureLog."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def bury(self, subject_id: str, now_us: int) -> None:
        """See ErasureLog."""
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK_TIMEOUT)
            try:
                await connection.execute(_TAKE_LOCK)
            except LockTimeoutError as error:
                raise StoreDownError(EVENT_LOG, "a commit takes too long") from error
            await connection.execute(_BURY, subject_id, now_us)

    async def remove(self, subject_id: str) -> RemovedPage | None:
        """See ErasureLog. Lines go first: as long as an event is left, a repeated call knows of the rest."""
        async with self._database.transaction() as connection:
            until = await connection.fetchval(_UNTIL, subject_id)
            rows = await connection.fetch(_REMOVE_LINES, subject_id, until, _PAGE)
            if rows:
                return RemovedPage(0, sum(row["lines"] for row in rows), [row["product_id"] for row in rows], [])
            times = await connection.fetch(_REMOVE_EVENTS, subject_id, until, _PAGE)
        return RemovedPage(len(times), 0, [], [row["event_time_ms"] for row in times]) if times else None
