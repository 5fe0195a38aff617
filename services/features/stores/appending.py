"""The statements of an append, in their order, and the rows that they take; and the one statement for a few events."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from services.features.domain.events import PURCHASE_COMPLETE, Event, Line
from services.features.stores.partitions import calendar, day_of

# In the order of their ids: senders of the same events, in whatever order, wait for each other one way and never in a
# circle. Subjects come later, in the order of theirs. Sequence numbers are drawn here for all that is new.
INSERT_IDS = """
INSERT INTO event_ids (day, event_id)
SELECT date '1970-01-01' + day, event_id
FROM unnest($1::text[], $2::int[], $3::text[], $4::bigint[]) AS sent (event_id, day, subject_id, time_us)
WHERE NOT EXISTS (
  SELECT FROM erasure_salt s JOIN erased_subjects d ON d.digest = sha256(s.salt || convert_to(sent.subject_id, 'UTF8'))
  WHERE timestamptz 'epoch' + sent.time_us * interval '1 microsecond' <= d.until
     OR EXISTS (SELECT FROM erased_events x WHERE x.digest = sha256(s.salt || convert_to(sent.event_id, 'UTF8')))
)
ORDER BY event_id COLLATE "C"
ON CONFLICT (event_id) DO NOTHING
RETURNING event_id, nextval('events_seq_seq')
"""

# Of events that were not inserted: those that are not there either belong to somebody who was erased.
NOT_THERE = """
SELECT event_id FROM unnest($1::text[]) AS event_id
WHERE NOT EXISTS (SELECT FROM event_ids e WHERE e.event_id = event_id.event_id)
"""

EVENT_COLUMNS = (
    "seq", "event_time", "revenue", "rating", "event_type", "position", "event_id", "user_id", "visitor_id",
    "subject_id", "session_id", "attribution_token", "device", "attributes",
)  # fmt: skip
_FEW_COLUMNS = (
    "event_id", "event_time", "subject_id", "user_id", "visitor_id", "event_type", "revenue", "rating", "position",
    "session_id", "attribution_token", "device", "attributes",
)  # fmt: skip
LINE_COLUMNS = (
    "seq", "event_time", "price", "rating", "revenue", "event_type", "quantity", "line", "guest", "subject_id",
    "product_id",
)  # fmt: skip

# Who has events already is written, and so locked, only when an event lies outside of the days known; what the
# transaction wrote is noted for those who follow the log. Returns the products that the catalogue does not know.
FINISH = """
WITH ingest AS (
  INSERT INTO ingests (first_event_time, last_event_time) VALUES ($1, $2) RETURNING ingest_xid::text::bigint
), widened AS (
  INSERT INTO subjects AS s (subject_id, first_day, last_day)
  SELECT n.subject_id, n.first_day, n.last_day
  FROM unnest($3::text[], $4::date[], $5::date[]) AS n (subject_id, first_day, last_day)
  WHERE NOT EXISTS (
    SELECT FROM subjects o
    WHERE o.subject_id = n.subject_id AND o.first_day <= n.first_day AND o.last_day >= n.last_day
  )
  ORDER BY n.subject_id COLLATE "C"
  ON CONFLICT (subject_id) DO UPDATE
    SET first_day = least(s.first_day, excluded.first_day), last_day = greatest(s.last_day, excluded.last_day)
)
SELECT ingest_xid AS transaction,
       ARRAY(
         SELECT product_id FROM unnest($6::text[]) AS product_id
         WHERE NOT EXISTS (SELECT FROM product_signals p WHERE p.product_id = product_id.product_id)
       ) AS unknown_products
FROM ingest
"""

# All of this for a few events of distinct ids, see the migration: no row when one of the guests is a user by now.
APPEND_A_FEW = f"SELECT * FROM append_a_few({', '.join(f'${place}' for place in range(1, 21))})"  # noqa: S608 - constants
# Rows, of events and lines, from which on copies are cheaper.
FEW = 100

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Rows(NamedTuple):
    """What COPY takes, and the parameters of `FINISH`."""

    events: Sequence[tuple[Any, ...]]
    lines: Sequence[tuple[Any, ...]]
    finish: Sequence[Any]


def instant(microseconds: int) -> datetime:
    """Microseconds since 1970 as PostgreSQL's driver takes them."""
    return _EPOCH + timedelta(microseconds=microseconds)


def id_columns(events: Sequence[Event]) -> list[list[Any]]:
    """The parameters of `INSERT_IDS`; of equal ids the first one's."""
    first = {event.event_id: event for event in reversed(events)}.values()
    times = [_time_us(event) for event in first]
    return [
        [event.event_id for event in first],
        [day_of(time_us) for time_us in times],
        [event.subject_id for event in first],
        times,
    ]


def days(events: Iterable[Event]) -> set[int]:
    """The days that events lie in."""
    return {day_of(_time_us(event)) for event in events}


def few_columns(events: Sequence[Event], guest_locks: Sequence[int]) -> list[Sequence[Any]]:
    """The parameters of `APPEND_A_FEW`."""
    rows = [_event_row(0, instant(_time_us(event)), event.subject_id, event) for event in events]
    of = dict(zip(EVENT_COLUMNS, zip(*rows, strict=True), strict=True))
    lines = [(place, number, line) for place, event in enumerate(events, 1) for number, line in enumerate(event.lines)]
    return [
        [event.visitor_id for event in events if not event.user_id],
        guest_locks,
        *(of[name] for name in _FEW_COLUMNS),
        [place for place, _, _ in lines],
        [number for _, number, _ in lines],
        [line.product_id for _, _, line in lines],
        [line.quantity for _, _, line in lines],
        [line.price for _, _, line in lines],
    ]


def rows(stored: Sequence[tuple[int, Event]]) -> Rows:
    """Of new events with their sequence numbers, ascending: as appended to an index, pages are filled one by one."""
    events, lines = [], []
    subjects: dict[str, tuple[int, int]] = {}
    for seq, event in stored:
        time_us = _time_us(event)
        time, day, subject = instant(time_us), day_of(time_us), event.subject_id
        events.append(_event_row(seq, time, subject, event))
        lines += [_line_row(seq, time, subject, event, place, line) for place, line in enumerate(event.lines)]
        first, last = subjects.get(subject, (day, day))
        subjects[subject] = min(first, day), max(last, day)
    times = [row[1] for row in events]
    products = list({row[-1] for row in lines})
    return Rows(events, lines, [min(times), max(times), *_subject_columns(subjects), products])


def _time_us(event: Event) -> int:
    if event.event_time_us is None:
        raise ValueError("an event without a time was not accepted")
    return event.event_time_us


def _event_row(seq: int, time: datetime, subject: str, event: Event) -> tuple[Any, ...]:
    return (
        seq,
        time,
        event.revenue,
        event.rating,
        event.event_type,
        event.position,
        event.event_id,
        event.user_id or None,
        event.visitor_id or None,
        subject,
        event.session_id or None,
        event.attribution_token or None,
        event.device or None,
        json.dumps(dict(event.attributes)) if event.attributes else None,
    )


def _line_row(seq: int, time: datetime, subject: str, event: Event, place: int, line: Line) -> tuple[Any, ...]:
    return (
        seq,
        time,
        line.price,
        event.rating,
        event.revenue if place == 0 and event.event_type == PURCHASE_COMPLETE else None,
        event.event_type,
        line.quantity,
        place,
        not event.user_id,
        subject,
        line.product_id,
    )


def _subject_columns(subjects: Mapping[str, tuple[int, int]]) -> tuple[list[str], list[date], list[date]]:
    return (
        list(subjects),
        [calendar(first) for first, _ in subjects.values()],
        [calendar(last) for _, last in subjects.values()],
    )
