"""Whose a guest's events are, for whoever writes to the log or erases from it."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from services.features.domain.events import EVENT_TYPES, Event, guest
from services.features.ports import LoggedEvent

# A commit with events of guests holds their locks, shared, from before it asks whose they are to its end; a merge is
# written while nobody else holds that of its guest. So every commit either is there to be moved, or saw the merge.
# A few locks for all guests: a commit of thousands of them takes no more, and one of a single guest hardly ever waits.
# Whoever needs the lock of erasures too takes it before. Ascending, so that no two commits wait for each other.
_LOCKS = 716_180_253
_BUCKETS = 64
_SHARE = f"SELECT pg_advisory_xact_lock_shared({_LOCKS}, bucket) FROM unnest($1::int[]) AS bucket"  # noqa: S608 - a constant
KEEP_OUT = f"SELECT pg_advisory_xact_lock({_LOCKS}, $1::int)"

# With the tombstone of the guest itself: what that covers belongs to nobody.
_MERGES_OF = """
SELECT visitor_id, user_id, (extract(epoch FROM until) * 1000000)::bigint AS until_us,
       (
         SELECT (extract(epoch FROM d.until) * 1000000)::bigint
         FROM erasure_salt s
         JOIN erased_subjects d ON d.digest = sha256(s.salt || convert_to('~' || visitor_id, 'UTF8'))
       ) AS erased_us
FROM merged_visitors
WHERE visitor_id = ANY ($1::text[])
ORDER BY visitor_id, until
"""

MERGED_IN = "SELECT visitor_id, user_id FROM merged_visitors WHERE ingest_xid = $1::bigint::text::xid8"

# Guests whose events are a user's go with the user, what has not been moved yet and what comes late too.
BURY_GUESTS = """
WITH merged AS (
  SELECT '~' || visitor_id AS subject_id, max(until) AS until
  FROM merged_visitors
  WHERE user_id = $1
  GROUP BY visitor_id
), buried AS (
  INSERT INTO erased_subjects (digest, until)
  SELECT sha256(salt || convert_to(subject_id, 'UTF8')), until FROM merged, erasure_salt
  ON CONFLICT (digest) DO UPDATE SET until = greatest(erased_subjects.until, excluded.until)
)
SELECT subject_id FROM merged
"""

# Those of an erased person, as user or as guest: the guest's tombstone says the same of what comes late. Newer ones are
# of a new life; those that were dated ahead are of the old one.
FORGET_MERGES = """
DELETE FROM merged_visitors m
WHERE (m.user_id = $1 OR m.visitor_id = substr($1, 2) AND left($1, 1) = '~')
  AND (m.until > clock_timestamp() OR m.until <= (
    SELECT d.until
    FROM erasure_salt s JOIN erased_subjects d ON d.digest = sha256(s.salt || convert_to('~' || m.visitor_id, 'UTF8'))
  ))
"""


def bucket(visitor_id: str) -> int:
    """Which lock is a guest's."""
    return zlib.crc32(visitor_id.encode()) % _BUCKETS


def locks_of(events: Iterable[Event]) -> list[int]:
    """The locks of the guests among those whose events these are, in their order."""
    return sorted({bucket(event.visitor_id) for event in events if not event.user_id})


async def with_users(connection: Any, events: Sequence[Event]) -> tuple[Sequence[Event], Mapping[str, str]]:
    """The events as the log keeps them: those of guests who signed in after them are the users'; by id, of whom."""
    guests = {event.visitor_id for event in events if not event.user_id}
    if not guests:
        return events, {}
    await connection.execute(_SHARE, locks_of(events))
    merges: dict[str, list[Any]] = {}
    for row in await connection.fetch(_MERGES_OF, list(guests)):
        merges.setdefault(row["visitor_id"], []).append(row)
    if not merges:
        return events, {}
    users = {
        event.event_id: user_id
        for event in events
        if not event.user_id and (user_id := _user_of(event.event_time_us or 0, merges.get(event.visitor_id, ())))
    }
    return [event._replace(user_id=users.get(event.event_id, event.user_id)) for event in events], users


def marks(visitor_id: str, user_id: str) -> list[LoggedEvent]:
    """Both sides of a merge, as if each had done everything: all that events change has changed."""
    return [LoggedEvent(kind, subject, 0, ()) for subject in (user_id, guest(visitor_id)) for kind in EVENT_TYPES]


def _user_of(time_us: int, merges: Sequence[Any]) -> str | None:
    for merge in merges:
        if time_us <= merge["until_us"]:
            erased_us = merge["erased_us"]
            return None if erased_us is not None and time_us <= erased_us else merge["user_id"]
    return None
