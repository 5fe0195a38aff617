"""Fixtures for every test: real PostgreSQL and Valkey servers."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from redis.asyncio import Redis

from tests.support.stack import PostgresServer, ValkeyServer, running_postgres, running_valkey

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("windowshop", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("windowshop")


# Whole shops of the end-to-end tests, by their fixtures: each takes half a minute to start.
SHOPS = ("imported", "shop")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who runs where, when several processes run the tests: a file in one, and all files that share a shop in one."""
    wanted: dict[Path, set[str]] = {}
    for item in items:
        wanted.setdefault(item.path, set()).update(getattr(item, "fixturenames", ()))
    for item in items:
        shops = [name for name in SHOPS if name in wanted[item.path]] if item.path.parent.name == "e2e" else []
        item.add_marker(pytest.mark.xdist_group(shops[0] if shops else str(item.path)))


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
