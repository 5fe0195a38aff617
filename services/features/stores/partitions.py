"""The partitions of the log: made before rows come, each day's and each month's once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from services.features.stores.postgres import Database

DAY_US = 86_400_000_000
_EPOCH = date(1970, 1, 1)
# Days in one transaction: its locks must leave room for others, and others that wait for it must not wait long.
_AT_ONCE = 30
# Seconds for that many; each takes some 10 ms.
_TIMEOUT = 30.0


class Partitions:
    """Makes partitions, and remembers which are there. Days are numbered from 1970-01-01 UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: set[int] = set()

    async def ensure(self, days: Iterable[int]) -> None:
        """The log takes events of these days from now on. Raises StoreDownError."""
        missing = sorted(set(days) - self._known)
        for start in range(0, len(missing), _AT_ONCE):
            some = missing[start : start + _AT_ONCE]
            async with self._database.patient() as connection:
                await connection.execute(
                    "SELECT ensure_log_partitions($1)", [calendar(day) for day in some], timeout=_TIMEOUT
                )
            self._known.update(some)

    def forget(self, days: Iterable[int]) -> None:
        """Looks again before these days' next events: a partition was dropped meanwhile."""
        self._known.difference_update(days)


def day_of(time_us: int) -> int:
    """The number of a day, from microseconds since 1970 UTC."""
    return time_us // DAY_US


def calendar(day: int) -> date:
    """The day of a number."""
    return _EPOCH + timedelta(days=day)
