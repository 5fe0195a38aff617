"""A log of before the partitions comes through the migration with everything in it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg

from services.features.app import MIGRATIONS
from services.runtime.migrations import migrate
from tests.support.stack import PostgresServer

_EVENTS = """
INSERT INTO events (event_id, event_type, user_id, visitor_id, subject_id, session_id, event_time, revenue, rating,
                    position, attribution_token, device, attributes)
SELECT 'e' || n, CASE n % 5 WHEN 0 THEN 'purchase-complete' WHEN 1 THEN 'rate' ELSE 'detail-page-view' END::event_type,
       CASE WHEN n % 3 > 0 THEN 'u' || n % 7 END, 'v' || n % 11,
       CASE WHEN n % 3 > 0 THEN 'u' || n % 7 ELSE '~v' || n % 11 END,
       's', timestamptz '2024-12-30 23:59:59.999999+00' + n * interval '7 hours 1 microsecond',
       CASE WHEN n % 10 = 0 THEN n + 0.25 END, CASE n % 5 WHEN 1 THEN 4.5 END, n, 't', 'mobile', '{"k": "v"}'
FROM generate_series(1, 300) AS n
"""
_LINES = """
INSERT INTO event_lines (seq, line, event_type, subject_id, guest, product_id, quantity, price, rating, event_time)
SELECT seq, line, event_type, subject_id, user_id IS NULL, 'p' || line, line + 1, 1.5, rating, event_time
FROM events CROSS JOIN generate_series(0, 1) AS line
"""
_EVENT_ROWS = "SELECT to_jsonb(e) FROM events e ORDER BY seq"
_LINE_ROWS = "SELECT to_jsonb(l) - 'revenue' FROM event_lines l ORDER BY seq, line"


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(dsn, server_settings={"timezone": "Asia/Tokyo"})
    try:
        yield connection
    finally:
        await connection.close()


async def old_database(postgres: PostgresServer, folder: Path) -> str:
    """As the last schema without partitions left it."""
    dsn = await postgres.create_database()
    for file in sorted(MIGRATIONS.glob("000[1-4].*.sql")):
        shutil.copy(file, folder)
    await asyncio.to_thread(migrate, dsn, folder)
    return dsn


async def test_every_row_comes_through(postgres: PostgresServer, tmp_path: Path) -> None:
    dsn = await old_database(postgres, tmp_path)
    async with connected(dsn) as connection:
        for transaction in (_EVENTS, _LINES):
            await connection.execute(transaction)
        before = [await connection.fetch(rows) for rows in (_EVENT_ROWS, _LINE_ROWS)]
    assert [len(rows) for rows in before] == [300, 600]

    await asyncio.to_thread(migrate, dsn, MIGRATIONS)

    async with connected(dsn) as connection:
        assert [await connection.fetch(rows) for rows in (_EVENT_ROWS, _LINE_ROWS)] == before
        # Each where it belongs, in days and months of UTC whatever the session's time zone.
        for table, form in (("events", "YYYYMMDD"), ("event_lines", "YYYYMM")):
            strays = await connection.fetch(
                f"SELECT tableoid::regclass FROM {table}"
                f" WHERE tableoid::regclass::text <> '{table}_' || to_char(event_time AT TIME ZONE 'UTC', '{form}')"
            )
            assert strays == []
        revenues = await connection.fetch(
            "SELECT l.line, l.revenue FROM event_lines l JOIN events e USING (seq)"
            " WHERE l.revenue IS DISTINCT FROM (CASE WHEN l.line = 0 THEN e.revenue END)"
        )
        assert revenues == []
        assert await connection.fetchval("SELECT sum(revenue) FROM event_lines") > 0
        for mine, derived in (
            (
                "SELECT day, event_id FROM event_ids ORDER BY event_id",
                "SELECT (event_time AT TIME ZONE 'UTC')::date, event_id FROM events ORDER BY event_id",
            ),
            (
                "SELECT first_day, last_day, subject_id FROM subjects ORDER BY subject_id",
                "SELECT (min(event_time) AT TIME ZONE 'UTC')::date, (max(event_time) AT TIME ZONE 'UTC')::date,"
                " subject_id FROM events GROUP BY subject_id ORDER BY subject_id",
            ),
            (
                "SELECT ingest_xid::text, ingest_time, first_event_time, last_event_time FROM ingests ORDER BY 1",
                "SELECT ingest_xid::text, min(ingest_time), min(event_time), max(event_time) FROM events"
                " GROUP BY ingest_xid ORDER BY 1",
            ),
        ):
            rows = await connection.fetch(mine)
            assert rows
            assert rows == await connection.fetch(derived)
        # Numbers go on where they were.
        assert await connection.fetchval("SELECT nextval('events_seq_seq')") == 301


async def test_an_empty_log_comes_through(postgres: PostgresServer, tmp_path: Path) -> None:
    dsn = await old_database(postgres, tmp_path)
    await asyncio.to_thread(migrate, dsn, MIGRATIONS)
    async with connected(dsn) as connection:
        assert await connection.fetchval("SELECT count(*) FROM pg_inherits") == 0
        assert await connection.fetchval("SELECT nextval('events_seq_seq')") == 1
