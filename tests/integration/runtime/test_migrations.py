"""Migrations: each once, also when several processes start at the same time."""

import asyncio
from pathlib import Path

import asyncpg

from services.runtime.migrations import migrate
from tests.support.stack import PostgresServer


async def test_concurrent_starts_apply_each_migration_once(postgres: PostgresServer, tmp_path: Path) -> None:
    dsn = await postgres.create_database()
    (tmp_path / "0001.things.sql").write_text("CREATE TABLE things (n int); INSERT INTO things VALUES (1);")
    await asyncio.gather(*(asyncio.to_thread(migrate, dsn, tmp_path) for _ in range(3)))
    (tmp_path / "0002.more.sql").write_text("INSERT INTO things VALUES (2);")
    await asyncio.to_thread(migrate, dsn, tmp_path)
    connection = await asyncpg.connect(dsn)
    try:
        assert [row["n"] for row in await connection.fetch("SELECT n FROM things ORDER BY n")] == [1, 2]
    finally:
        await connection.close()


async def test_a_broken_migration_changes_nothing(postgres: PostgresServer, tmp_path: Path) -> None:
    dsn = await postgres.create_database()
    (tmp_path / "0001.broken.sql").write_text("CREATE TABLE things (n int); SELECT 1 / 0;")
    failures = await asyncio.gather(asyncio.to_thread(migrate, dsn, tmp_path), return_exceptions=True)
    assert isinstance(failures[0], Exception)
    connection = await asyncpg.connect(dsn)
    try:
        assert await connection.fetchval("SELECT to_regclass('things')") is None
    finally:
        await connection.close()
