"""SIGTERM ends a process that is still starting, whatever it waits for."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import psycopg
import pytest

from services.runtime.migrations import _LOCK_KEY
from tests.support.stack import PostgresServer, ValkeyServer, free_port
from tests.support.waiting import eventually


@pytest.mark.parametrize("process", [["services.features"], ["services.features", "worker"], ["services.recommender"]])
async def test_while_another_process_migrates(
    postgres: PostgresServer, valkey: ValkeyServer, process: list[str]
) -> None:
    dsn = await postgres.create_database()
    names = ("FEATURES", "FEATURES_OPS", "FEATURES_WORKER_OPS", "RECOMMENDER", "RECOMMENDER_OPS")
    ports = {f"{name}_PORT": str(free_port()) for name in names}
    urls = {"FEATURES_DATABASE_URL": dsn, "RECOMMENDER_DATABASE_URL": dsn, "FEATURES_REDIS_URL": valkey.url}
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK_KEY,))
        started = await asyncio.create_subprocess_exec(sys.executable, "-m", *process, env=os.environ | ports | urls)
        try:

            async def waits() -> bool:
                answer = await connection.execute(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND query LIKE '%%advisory%%' AND pid <> pg_backend_pid()"
                )
                row = await answer.fetchone()
                return row is not None and row[0] > 0

            await eventually(waits, 20)
            started.send_signal(signal.SIGTERM)
            async with asyncio.timeout(10):
                assert await started.wait() == 0
        finally:
            if started.returncode is None:
                started.kill()
                await started.wait()
