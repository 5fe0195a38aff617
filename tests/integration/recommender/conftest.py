"""One trained shop for each file of tests."""

from collections.abc import AsyncIterator

import pytest

from tests.support.stack import PostgresServer
from tests.support.trained_shop import Shop, trained_shop


@pytest.fixture(scope="module")
async def shop(postgres: PostgresServer) -> AsyncIterator[Shop]:
    """120 products, 48 users, trained."""
    async with trained_shop(postgres) as started:
        yield started
