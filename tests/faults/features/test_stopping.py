"""Whoever is told to stop stops, also while PostgreSQL hangs, or has just been restarted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest
from redis.asyncio import Redis

from services.features.ports import StoreDownError
from services.features.stores import postgres as driver
from tests.support.features import running_server, running_worker
from tests.support.proxy import Proxy, running_proxy
from tests.support.stack import PostgresServer, ValkeyServer
from tests.support.waiting import eventually

# Seconds that a statement has, and in which a service has to stop.
_PATIENCE, _GRACE = 20.0, 10.0
# How far the worker has read the log.
CURSOR = "ws:1:marks:{marks}:cursor"

Work = Callable[[driver.Database, asyncio.Event], Awaitable[None]]


@asynccontextmanager
async def behind_proxy(postgres: PostgresServer) -> AsyncIterator[tuple[Proxy, driver.Database]]:
    """A database whose connections the proxy can break."""
    dsn = await postgres.create_database()
    port = urlsplit(dsn).port
    assert port
    async with (
        running_proxy(port) as proxy,
        driver.connect(dsn.replace(f":{port}/", f":{proxy.port}/"), 12, _PATIENCE) as database,
    ):
        yield proxy, database


async def state(database: driver.Database, begun: asyncio.Event) -> None:
    """One statement."""
    async with database.connection() as connection:
        begun.set()
        await connection.fetchval("SELECT pg_sleep(60)")


async def transact(database: driver.Database, begun: asyncio.Event) -> None:
    """One transaction."""
    async with database.transaction() as connection:
        begun.set()
        await connection.fetchval("SELECT pg_sleep(60)")


async def hold(database: driver.Database, begun: asyncio.Event) -> None:
    """A lock of a session, and nothing under way."""
    async with database.sole(1):
        begun.set()
        await asyncio.Event().wait()


async def again_and_again(work: Work, database: driver.Database, begun: asyncio.Event) -> None:
    """As the worker's loops do."""
    while True:
        try:
            await work(database, begun)
        except StoreDownError:
            await asyncio.sleep(0.01)  # as they do


@pytest.mark.parametrize("work", [state, transact, hold])
@pytest.mark.parametrize("break_off", [Proxy.stall, Proxy.cut])
async def test_a_cancelled_loop_ends(postgres: PostgresServer, work: Work, break_off: Callable[[Proxy], None]) -> None:
    async with behind_proxy(postgres) as (proxy, database):
        begun = asyncio.Event()
        loop = asyncio.create_task(again_and_again(work, database, begun))
        await begun.wait()
        await asyncio.sleep(0.1)  # until the statement is there
        break_off(proxy)
        loop.cancel()
        done, _ = await asyncio.wait([loop], timeout=_GRACE)
        assert done, "it goes on"
        assert loop.cancelled()


async def test_a_worker_stops_while_the_log_hangs(postgres: PostgresServer, valkey: ValkeyServer) -> None:
    dsn = await postgres.create_database("features")
    port = urlsplit(dsn).port
    assert port
    async with (
        running_proxy(port) as proxy,
        running_server(dsn, valkey.url),
        running_worker(dsn.replace(f":{port}/", f":{proxy.port}/"), valkey.url),
    ):
        async with Redis.from_url(valkey.url) as redis:
            await eventually(lambda: redis.exists(CURSOR))  # it has read the log
        proxy.stall()
        await asyncio.sleep(2.0)  # until what comes every moment waits for it
