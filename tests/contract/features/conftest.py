"""The stores of the feature service on real servers, without the service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from services.features.app import MIGRATIONS, Parts, open_parts
from services.runtime.migrations import migrate
from tests.support.features import settings
from tests.support.stack import PostgresServer, ValkeyServer


@pytest.fixture
async def parts(postgres: PostgresServer, valkey: ValkeyServer) -> AsyncIterator[Parts]:
    dsn = await postgres.create_database()
    await asyncio.to_thread(migrate, dsn, MIGRATIONS)
    async with AsyncExitStack() as closers:
        yield await open_parts(settings(dsn, valkey.url), closers)
