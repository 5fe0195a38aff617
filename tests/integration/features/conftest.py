"""A feature server in this process, on real stores."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.support.features import FeatureServer, running_server
from tests.support.stack import PostgresServer, ValkeyServer


@pytest.fixture
async def server(postgres: PostgresServer, valkey: ValkeyServer) -> AsyncIterator[FeatureServer]:
    """A server with an empty log."""
    async with running_server(await postgres.create_database("features"), valkey.url) as running:
        yield running
