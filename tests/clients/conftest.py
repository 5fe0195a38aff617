"""Fixtures of the client's tests: a pair of services in memory, and the command run against them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from click.testing import CliRunner, Result
from windowshop_client.cli import main

from tests.clients.fake_services import State, serving

Command = Callable[..., Awaitable[Result]]


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
async def address(state: State) -> AsyncIterator[str]:
    async with serving(state) as where:
        yield where


@pytest.fixture
def windowshop(address: str) -> Command:
    """Runs the command as a user would; it has an event loop of its own, so it runs in a thread."""
    environment = {"WINDOWSHOP_FEATURES_ADDRESS": address, "WINDOWSHOP_RECOMMENDER_ADDRESS": address}

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, main, list(arguments), env=environment)

    return run
