"""Connections to PostgreSQL between two statements: kept at hand, and nobody's loss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from services.recommender.stores.postgres import Database
from services.runtime.errors import ServiceError
from tests.support.catalogue import open_database
from tests.support.proxy import running_proxy
from tests.support.stack import PostgresServer
from tests.support.waiting import eventually


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[Database]:
    """With two connections."""
    async with open_database(await postgres.create_database("recommender"), 2) as opened:
        yield opened


async def who(database: Database) -> int:
    """The server's process behind a connection."""
    async with database.connection() as connection:
        process: int = await connection.fetchval("SELECT pg_backend_pid()")
    return process


async def both(database: Database) -> set[int]:
    """The processes of two at once."""
    async with database.connection() as connection:
        return {await who(database), await connection.fetchval("SELECT pg_backend_pid()")}


async def test_one_statement_after_another_goes_over_the_same(database: Database) -> None:
    assert len({await who(database) for _ in range(5)}) == 1


async def test_more_callers_than_connections_have_their_turns(database: Database) -> None:
    processes = await asyncio.gather(*(who(database) for _ in range(20)))
    assert len(set(processes)) == 2


async def test_who_waits_is_not_passed_over(database: Database) -> None:
    """What is kept at hand is for those who come; those who wait already get what comes back."""
    order: list[str] = []

    async def caller(name: str) -> None:
        async with database.connection() as connection:
            order.append(name)
            await connection.fetchval("SELECT 1")

    async with database.connection(), database.connection() as held:
        waiting = asyncio.create_task(caller("waited"))
        await asyncio.sleep(0)
        await held.fetchval("SELECT 1")
        assert not order
    await caller("came")
    await waiting
    assert order == ["waited", "came"]


async def test_one_that_failed_goes_back(database: Database) -> None:
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            async with database.connection():
                raise ZeroDivisionError
    assert len({await who(database) for _ in range(5)}) == 1


async def test_one_that_broke_at_rest_is_replaced(postgres: PostgresServer) -> None:
    dsn = await postgres.create_database("recommender")
    port = urlsplit(dsn).port
    assert port
    async with (
        running_proxy(port) as proxy,
        open_database(dsn.replace(f":{port}", f":{proxy.port}"), 2) as database,
    ):
        before = await both(database)
        witness = await database.dedicated()
        proxy.cut()
        await eventually(witness.is_closed)
        after = await both(database)
        assert len(before | after) == 4


async def test_it_closes_with_what_comes_back_late(postgres: PostgresServer) -> None:
    async with open_database(await postgres.create_database("recommender"), 2) as database:
        await who(database)
        async with database.connection() as connection:
            closing = asyncio.create_task(database.close())
            await asyncio.sleep(0)
            await connection.fetchval("SELECT 1")
        began = asyncio.get_running_loop().time()
        await closing
        assert asyncio.get_running_loop().time() - began < 1.0
        with pytest.raises(ServiceError):
            await who(database)
