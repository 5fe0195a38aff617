"""Fixtures for every test: real PostgreSQL and Valkey servers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from hypothesis import HealthCheck, settings
from redis.asyncio import Redis

from tests.support.stack import PostgresServer, ValkeyServer, running_postgres, running_valkey

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("windowshop", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("windowshop")


@pytest.fixture(scope="session")
async def _postgres_of_the_session() -> AsyncIterator[PostgresServer]:
    async with running_postgres() as server:
        yield server


@pytest.fixture(scope="module")
async def postgres(_postgres_of_the_session: PostgresServer) -> AsyncIterator[PostgresServer]:
    """The session's server; `await postgres.create_database()`: a fresh one, gone with the last test of the file."""
    yield _postgres_of_the_session
    await _postgres_of_the_session.drop_databases()


@pytest.fixture
async def postgres_factory() -> AsyncIterator[Callable[[], Awaitable[PostgresServer]]]:
    """`await postgres_factory()` starts a server that the test may break."""
    async with AsyncExitStack() as servers:
        yield lambda: servers.enter_async_context(running_postgres())


@pytest.fixture(scope="session")
async def valkey() -> AsyncIterator[ValkeyServer]:
    """The session's server, empty at the start of each test; do not break it, others use it."""
    async with running_valkey() as server:
        yield server


@pytest.fixture
async def valkey_factory() -> AsyncIterator[Callable[[], Awaitable[ValkeyServer]]]:
    """`await valkey_factory()` starts a server that the test may break."""
    async with AsyncExitStack() as servers:
        yield lambda: servers.enter_async_context(running_valkey())


@pytest.fixture(autouse=True)
async def _empty_valkey(request: pytest.FixtureRequest) -> None:
    """Empty the session's Valkey before each test that uses it."""
    if "valkey" in request.fixturenames:
        server: ValkeyServer = request.getfixturevalue("valkey")
        async with Redis.from_url(server.url) as client:
            await client.flushall()
