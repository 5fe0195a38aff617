"""Writers side by side, followers that come and go: in the end every follower has exactly the catalogue."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from services.recommender.domain.product import Product
from tests.support.catalogue import Catalogue, running_catalogue
from tests.support.follower import Follower, following
from tests.support.stack import PostgresServer
from tests.support.waiting import eventually

IDS = [f"p{number}" for number in range(40)]


@pytest.fixture
async def catalogue(postgres: PostgresServer) -> AsyncIterator[Catalogue]:
    async with running_catalogue(await postgres.create_database("recommender")) as running:
        yield running


async def write_at_random(catalogue: Catalogue, chance: random.Random, rounds: int) -> None:
    """Every kind of write, each through the store's own statements."""
    start = datetime.now(UTC)
    for number in range(rounds):
        now = start + timedelta(seconds=number)
        product_id = chance.choice(IDS)
        quantity = chance.randrange(10_000)
        match chance.randrange(5):
            case 0:
                batch = [Product(i, "t", price=float(quantity), available_quantity=quantity) for i in IDS[:20]]
                await catalogue.store.upsert(batch, now, now)
            case 1:
                await catalogue.store.delete(product_id)
            case 2:
                new = Product(product_id, f"t{quantity}", price=float(quantity))
                await catalogue.store.change(product_id, partial(replaced_by, new), now)
            case 3:
                await catalogue.store.set_inventory(product_id, quantity, now, now)
            case 4:
                await slow_write(catalogue, product_id, quantity, chance.random() / 100)


def replaced_by(new: Product, _: Product | None) -> tuple[Product, bool]:
    return new, True


async def slow_write(catalogue: Catalogue, product_id: str, quantity: int, seconds: float) -> None:
    """A transaction that draws its number early and commits late: the one that a follower would miss when
    the order of numbers were not the order of commits."""
    async with catalogue.database.transaction() as connection:
        await connection.execute("UPDATE products SET available_quantity = $2 WHERE id = $1", product_id, quantity)
        await connection.execute("SELECT pg_sleep($1)", seconds)


async def has_the_catalogue(catalogue: Catalogue, follower: Follower) -> bool:
    stored = {product.id: product for product in await catalogue.store.page("", 1_000)}
    assert follower.products.keys() == stored.keys()
    for product_id, signal in follower.products.items():
        expected = stored[product_id]
        assert signal.available_quantity == expected.available_quantity, product_id
        assert (signal.price if signal.HasField("price") else None) == expected.price, product_id
    return True


@pytest.mark.parametrize("seed", range(3))
async def test_no_change_is_missed(catalogue: Catalogue, seed: int) -> None:
    async with AsyncExitStack() as stack:
        followers = [
            await stack.enter_async_context(following(catalogue.stub, random.Random(number) if number % 2 else None))
            for number in range(4)
        ]
        async with asyncio.TaskGroup() as writers:
            for number in range(6):
                writers.create_task(write_at_random(catalogue, random.Random(f"{seed}.{number}"), 80))
        for follower in followers:
            await eventually(partial(has_the_catalogue, catalogue, follower), 5)
            assert (follower.restarts, follower.failures) == (1, [])
