"""A gateway in front of services that answer from memory."""

from collections.abc import AsyncIterator

import pytest

from tests.support.gateway import Backend, Gateway, running_all
from tests.support.gateway_answers import answers


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    """Started for the test alone: it takes milliseconds, and tests change the answers."""
    async with running_all(Backend(answers())) as running:
        yield running
