"""What the export needs of the world."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from datetime import date
from typing import Any, Protocol

# One event: the columns of ``COLUMNS``, products as three lists of one length.
Row = tuple[Any, ...]
COLUMNS = (
    "event_id", "event_type", "event_time", "ingest_time", "seq", "subject_id", "user_id", "visitor_id", "session_id",
    "revenue", "rating", "position", "attribution_token", "device", "attributes", "product_ids", "quantities", "prices",
)  # fmt: skip


class DayReader(Protocol):
    """The log by the day. Raises StoreDownError."""

    async def kept(self, first: date, after: date) -> Sequence[date]:
        """The days that the log has, from ``first`` on and before ``after``, ascending."""

    def read(self, day: date) -> AsyncIterator[Sequence[Row]]:
        """A day's events by time, in pages, as they are at one moment."""


class DayFiles(Protocol):
    """Where days are written to. Raises OSError."""

    def has(self, day: date) -> bool:
        """Whether the day was written completely."""

    def write(self, day: date) -> AbstractContextManager[Callable[[Sequence[Row]], Awaitable[None]]]:
        """A function for pages of rows; the day is there at the end of the block, and not when the block raises."""
