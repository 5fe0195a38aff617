"""Events that the worker has not computed, or nobody was told of: no value claims an instant that should know them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.property.features.actions import Draft
from tests.property.features.driver import Driver
from tests.property.features.world import World, running_world
from tests.support import popularity
from tests.support.stack import PostgresServer, ValkeyServer

PRODUCTS = ("p0", "p1")


@pytest.fixture
async def driver(postgres: PostgresServer, valkey: ValkeyServer) -> AsyncIterator[Driver]:
    """All is computed: of p0 three views, of p1 one."""
    async with running_world(await postgres.create_database("features"), valkey) as world:
        await world.reset()
        driver = Driver(world)
        await driver.write(0, [event("detail-page-view", *products) for products in (["p0"], ["p0", "p1"], ["p0"])])
        await driver.catch_up()
        await world.worker.levelling.step()
        world.clock.ms += 60_000
        yield driver


def event(kind: str, *products: str) -> Draft:
    return Draft(kind, "u0", "", products, None, None, None, 1.0, None)


async def check(world: World, *, moved: bool) -> None:
    """Each value is that of the whole log at the instant it names; ``moved``: that is now."""
    product = world.entities["Product"]
    feature = product.features[popularity.NAME]
    answer = await world.servers[1].reader.read(product, PRODUCTS, [feature])
    for name, reading in zip(PRODUCTS, answer.columns[popularity.NAME].readings(), strict=True):
        truth = await world.truth.values(feature, [name], reading.computed_ms, world.clock.ms)
        assert reading.value == truth[name]
        assert (reading.computed_ms == world.clock.ms) == moved


async def test_with_nothing_under_way_values_are_of_now(driver: Driver) -> None:
    await check(driver.world, moved=True)


@pytest.mark.parametrize("product", PRODUCTS)
async def test_an_event_whose_mark_was_lost(driver: Driver, product: str) -> None:
    driver.world.servers[0].online.lose_marks = True
    await driver.write(0, [event("purchase-complete", product)])
    driver.world.restart_server(0)  # with it goes what it owed
    driver.world.clock.ms += 100
    await check(driver.world, moved=False)
    await driver.catch_up()
    await check(driver.world, moved=True)


@pytest.mark.parametrize("product", PRODUCTS)
async def test_an_event_that_waits_for_the_worker(driver: Driver, product: str) -> None:
    await driver.write(0, [event("purchase-complete", product)])
    for _ in range(3):  # its mark is confirmed
        await driver.world.worker.tail.step()
    driver.world.clock.ms += 100
    await check(driver.world, moved=False)
    await driver.catch_up()
    await check(driver.world, moved=True)


@pytest.mark.parametrize("product", PRODUCTS)
async def test_an_event_that_a_worker_is_computing(driver: Driver, product: str) -> None:
    await driver.write(0, [event("purchase-complete", product)])
    for _ in range(3):
        await driver.world.worker.tail.step()

    async def read() -> None:
        driver.world.clock.ms += 100
        await check(driver.world, moved=False)

    driver.world.worker.hooks.at("compute", read)
    await driver.world.worker.refresher.refresh(driver.world.entities["Product"])
    await check(driver.world, moved=True)
