"""The servers that other tests build on."""

from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.support.stack import PostgresServer, ValkeyServer


async def test_each_database_is_fresh_and_has_vectors(postgres: PostgresServer) -> None:
    first, second = await postgres.create_database(), await postgres.create_database()
    assert first != second
    connection = await asyncpg.connect(second)
    try:
        await connection.execute("CREATE TABLE t (v vector(3))")
        await connection.execute("INSERT INTO t VALUES ('[1,2,3]')")
        assert await connection.fetchval("SELECT v <-> '[1,2,4]' FROM t") == 1.0
        assert not await connection.fetchval("SELECT usesuper FROM pg_user WHERE usename = current_user")
    finally:
        await connection.close()


async def test_postgres_keeps_commits_over_a_kill(
    postgres_factory: Callable[[], Awaitable[PostgresServer]],
) -> None:
    server = await postgres_factory()
    dsn = await server.create_database()
    connection = await asyncpg.connect(dsn)
    await connection.execute("CREATE TABLE t AS SELECT 7 AS x")
    await server.kill()
    connection.terminate()
    await server.start()
    connection = await asyncpg.connect(dsn)
    assert await connection.fetchval("SELECT x FROM t") == 7
    await connection.close()


async def test_valkey_is_empty_at_first(valkey: ValkeyServer) -> None:
    async with Redis.from_url(valkey.url) as client:
        assert await client.dbsize() == 0
        await client.set("left", "over")


async def test_valkey_is_empty_again(valkey: ValkeyServer) -> None:
    async with Redis.from_url(valkey.url) as client:
        assert await client.dbsize() == 0


async def test_valkey_can_be_broken(valkey_factory: Callable[[], Awaitable[ValkeyServer]]) -> None:
    server = await valkey_factory()
    async with Redis.from_url(server.url, socket_timeout=0.2, retry=None) as client:
        await client.set("kept", "1")
        server.stop_hang()
        with pytest.raises(RedisTimeoutError):
            await client.get("kept")
        server.cont()
        assert await client.get("kept") == b"1"
        await client.config_set("appendfsync", "always")
        await client.set("synced", "1")
        await server.kill()
        with pytest.raises(RedisConnectionError):
            await client.get("kept")
        await server.restart(wipe=False)
        assert await client.get("synced") == b"1"
    await server.restart(wipe=True)
    async with Redis.from_url(server.url) as client:
        assert await client.dbsize() == 0
