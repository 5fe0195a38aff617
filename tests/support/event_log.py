"""The event log on a real database, without the service."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from services.features.app import MIGRATIONS
from services.features.domain.events import Event, Line
from services.features.stores import postgres
from services.features.stores.event_log import PostgresEventLog
from services.features.stores.postgres import Database
from services.runtime.migrations import migrate

DAY_US = 86_400_000_000
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Process:
    """What a process of the service has of the log: connections and a memory of its own."""

    database: Database
    log: PostgresEventLog

    async def column(self, statement: str, *arguments: Any) -> list[Any]:
        """The first column of all rows."""
        return [row[0] for row in await self.database.fetch(statement, *arguments)]

    async def partitions(self) -> set[str]:
        """The names of the partitions that the log has."""
        return set(
            await self.column(
                "SELECT inhrelid::regclass::text FROM pg_inherits"
                " WHERE inhparent IN ('events'::regclass, 'event_lines'::regclass) AND NOT inhdetachpending"
            )
        )


@asynccontextmanager
async def process(dsn: str) -> AsyncIterator[Process]:
    """One process; the first one migrates the database."""
    await asyncio.to_thread(migrate, dsn, MIGRATIONS)
    async with postgres.connect(dsn, 6, 30.0) as database:
        yield Process(database, PostgresEventLog(database))


def stored(
    time_us: int, user: str = "u", *products: str, event_id: str = "", kind: str = "detail-page-view", **more: Any
) -> Event:
    """An event as it goes into the log, with an id of its own unless one is given."""
    values: dict[str, Any] = {
        "event_id": event_id or f"stored-{next(_numbers)}", "event_type": kind, "user_id": user, "visitor_id": "",
        "session_id": "", "event_time_us": time_us,
        "lines": tuple(Line(product, 1, 1.0) for product in products or ("p",)),
        "revenue": None, "rating": None, "position": None, "attribution_token": "", "device": "", "attributes": {},
    }  # fmt: skip
    return Event(**(values | more))
