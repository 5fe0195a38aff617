"""The log read by the day, through a cursor of the server: however long a day is, a page of it is here at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from services.features.ports import EVENT_LOG, StoreDownError
from services.features.stores.postgres import Database

_KEPT = """
SELECT to_date(right(c.relname, 8), 'YYYYMMDD') AS day
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'events'::regclass AND NOT i.inhdetachpending
ORDER BY 1
"""

# Lines of an event have its subject, type and time: the index finds them by these.
_DAY = """
SELECT e.event_id, e.event_type::text, e.event_time, e.ingest_time, e.seq, e.subject_id, e.user_id, e.visitor_id,
       e.session_id, e.revenue, e.rating, e.position, e.attribution_token, e.device, e.attributes,
       l.product_ids, l.quantities, l.prices
FROM events e
CROSS JOIN LATERAL (
  SELECT array_agg(product_id ORDER BY line) AS product_ids, array_agg(quantity ORDER BY line) AS quantities,
         array_agg(price ORDER BY line) AS prices
  FROM event_lines l
  WHERE l.subject_id = e.subject_id AND l.event_type = e.event_type AND l.event_time = e.event_time AND l.seq = e.seq
    AND l.event_time >= $1::timestamptz AND l.event_time < $2::timestamptz
) AS l
WHERE e.event_time >= $1::timestamptz AND e.event_time < $2::timestamptz
ORDER BY e.event_time, e.seq
"""

# Events, and a row group of a file: a few megabytes of rows, or 200 when each event has 500 products.
_PAGE = 5_000
# Seconds until a page comes: a first one waits for the sort of its day.
_TIMEOUT = 600.0


class PostgresDays:
    """Implements DayReader."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def kept(self, first: date, after: date) -> Sequence[date]:
        """See DayReader."""
        days = [row["day"] for row in await self._database.fetch(_KEPT)]
        return [day for day in days if first <= day < after]

    async def read(self, day: date) -> AsyncIterator[Sequence[Any]]:
        """See DayReader. One statement, so one moment: an event is in it with all its lines or not at all."""
        start = datetime.combine(day, time(), UTC)
        async with self._database.patient() as connection:
            cursor = await connection.cursor(_DAY, start, start + timedelta(days=1), timeout=_TIMEOUT)
            # It holds the day now. One that was dropped before is no empty day: it must not replace a whole copy.
            if day not in [row["day"] for row in await connection.fetch(_KEPT)]:
                raise StoreDownError(EVENT_LOG, f"{day} was dropped meanwhile")
            while page := await cursor.fetch(_PAGE, timeout=_TIMEOUT):
                yield page
