"""The stores of the feature service on real servers, without the service."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import NamedTuple

import pytest
from redis.asyncio import Redis

from services.features.app import MIGRATIONS, Parts, open_parts
from services.runtime.migrations import migrate
from tests.support.features import settings
from tests.support.redis_cluster import ClusterServers, running_cluster
from tests.support.stack import PostgresServer, ValkeyServer, running_valkey

# Redis itself comes out of no wheel: the suite runs on it too where the machine has it.
REDIS = shutil.which("redis-server")
STORES = ["valkey", "cluster", *(["redis"] if REDIS else [])]
ON_EVERY_STORE = pytest.mark.parametrize("online_servers", STORES, indirect=True)


class OnlineServers(NamedTuple):
    """What the service is told, and where each server answers."""

    url: str
    urls: list[str]


@pytest.fixture(scope="session")
async def cluster() -> AsyncIterator[ClusterServers]:
    """The session's cluster; do not break it."""
    async with running_cluster() as servers:
        yield servers


@pytest.fixture(scope="session")
async def redis() -> AsyncIterator[ValkeyServer]:
    """The session's Redis."""
    async with running_valkey(REDIS) as server:
        yield server


@pytest.fixture
def online_servers(request: pytest.FixtureRequest) -> OnlineServers:
    """The servers of the online store: those that the test asks for, else one Valkey."""
    server: ClusterServers | ValkeyServer = request.getfixturevalue(getattr(request, "param", "valkey"))
    return OnlineServers(server.url, server.urls if isinstance(server, ClusterServers) else [server.url])


@pytest.fixture
async def parts(postgres: PostgresServer, online_servers: OnlineServers) -> AsyncIterator[Parts]:
    for url in online_servers.urls:
        async with Redis.from_url(url) as client:
            await client.flushall()
    dsn = await postgres.create_database("features")
    await asyncio.to_thread(migrate, dsn, MIGRATIONS)
    async with AsyncExitStack() as closers:
        yield await open_parts(settings(dsn, online_servers.url), closers)
