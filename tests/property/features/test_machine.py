"""Served values equal their declared statements, whatever happens to events, catalogue, processes and Redis.

HYPOTHESIS_PROFILE=long searches for long, differently each time.
"""

from __future__ import annotations

import asyncio
import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.property.features.machine import Shop
from tests.property.features.world import running_world
from tests.support.stack import PostgresServer, ValkeyServer

_COMMON = settings(
    deadline=None,
    database=None,
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
PROFILES = {
    # The same examples each time: a failure is the fault of the change that is tested.
    "short": settings(_COMMON, derandomize=True, max_examples=30, stateful_step_count=25),
    "long": settings(_COMMON, max_examples=400, stateful_step_count=50),
}
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "short")


@pytest.mark.timeout(300 if PROFILE == "short" else 3_600)
async def test_served_values_are_those_of_the_statements(postgres: PostgresServer, valkey: ValkeyServer) -> None:
    loop = asyncio.get_running_loop()
    async with running_world(await postgres.create_database("features"), valkey) as world:
        await asyncio.to_thread(
            run_state_machine_as_test,
            lambda: Shop(world, loop),  # type: ignore[arg-type]  # any factory will do, says its documentation
            settings=PROFILES[PROFILE],
        )
