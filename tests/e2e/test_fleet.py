"""Several feature servers and workers at once: one truth, and a restart of any one is seen by no client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from time import monotonic
from typing import Any
from unittest.mock import ANY

import asyncpg
import pytest
from redis.asyncio import Redis
from windowshop.features.v1 import features_pb2 as pb
from windowshop.features.v1 import features_pb2_grpc as rpc

from services.runtime.client import channel
from tests.support.fleet import Fleet, Member, running_fleet
from tests.support.oracle import PURCHASE, Answer, Oracle, RawEvent, RawProduct
from tests.support.shop import Rest
from tests.support.shoppers import ORDERS, Servers, Shopper, message
from tests.support.stack import PostgresServer, running_valkey
from tests.support.streamed_catalogue import StreamedCatalogue, running_catalogue, signal
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(240)

USER_FEATURES = (
    "user_browsing_category",
    "user_purchase_count_30d",
    "user_avg_order_value",
    "user_price_sensitivity",
)
PRODUCT_FEATURES = ("product_popularity_score", "product_inventory_level", "product_rating")
PRODUCTS = [f"product_{number}" for number in range(12)]
CROWD = 3_000
LEASE = 8.0
SETTINGS = {
    # Of a machine that is busy: a mark that is given up is repeated later, and another server would not know of it.
    "FEATURES_REDIS_TIMEOUT": "5",
    "FEATURES_DATABASE_CONNECTIONS": "6",
    # What a killed worker had claimed is free again after this, within the test's time.
    "FEATURES_WORKER_LEASE": f"{LEASE}",
}


@dataclass
class World:
    """The fleet, its stores, and all that was written."""

    fleet: Fleet
    servers: Servers
    catalogue: StreamedCatalogue
    redis: Redis
    log: Any
    products: dict[str, RawProduct] = field(default_factory=dict)
    events: list[RawEvent] = field(default_factory=list)

    async def stock(self, number: int, quantity: int) -> None:
        """What the catalogue says of a product from now on."""
        product = RawProduct(PRODUCTS[number], f"Category {number % 3}", Decimal(10 + number), quantity)
        self.products[product.id] = product
        await self.catalogue.put(signal(product.id, product.category, float(product.price or 0), quantity))

    async def crowd(self, name: str) -> list[str]:
        """One order of each of many users."""
        now = datetime.now(UTC)
        now = now.replace(microsecond=now.microsecond // 1_000 * 1_000)
        new = [
            RawEvent(PURCHASE, f"{name}_{number}", now, (PRODUCTS[number % len(PRODUCTS)],), Decimal("12.50"))
            for number in range(CROWD)
        ]
        async with channel(self.fleet.address) as connection:
            stub = rpc.FeatureServiceStub(connection)
            for start in range(0, CROWD, 1_000):
                part = [message(event, f"{event.user}.1") for event in new[start : start + 1_000]]
                written = await stub.WriteEvents(pb.WriteEventsRequest(events=part), timeout=30)
                assert written.accepted + written.duplicates == len(part), written
        self.events += new
        return [event.user for event in new]

    async def nothing_due(self, *entities: str) -> bool:
        """Whether no worker has anything to do, nor is at it."""
        # What the catalogue changed becomes due only when it is announced: until then it is in no queue.
        if not await self.announced():
            return False
        soon = round((datetime.now(UTC).timestamp() + LEASE + 1) * 1_000)  # a mark has its time to settle
        return not sum([await self.redis.zcount(f"ws:1:marks:{{marks}}:due:{e}", "-inf", soon) for e in entities])

    async def announced(self) -> bool:
        """Whether the fleet knows the whole catalogue, and everybody whom it concerns has become due."""
        waiting = "EXISTS (TABLE unannounced_products) OR EXISTS (TABLE moved_products)"
        query = f"SELECT count(*) = $1 AND NOT ({waiting}) FROM product_signals"
        whole: bool = await self.log.fetchval(query, len(PRODUCTS))
        return whole

    async def differences(self, entity: str, ids: Sequence[str], features: Sequence[str]) -> list[str]:
        """Where a server's answer is not the truth at the instant that it names."""
        oracle = Oracle(self.events, self.products.values())
        request = pb.BatchGetFeaturesRequest(entity=entity, ids=ids, features=features)
        wrong = []
        for server, answer in enumerate(await self.servers.batch(request)):
            assert not answer.degraded, answer.degraded
            for column in answer.columns:
                for place, (served, computed) in enumerate(served_of(column)):
                    truth = oracle.ask(column.feature, ids[place], computed)
                    if served != truth:
                        wrong.append(f"server {server}, {ids[place]}.{column.feature}: {served}, truth {truth}")
        return wrong


def served_of(column: pb.FeatureColumn) -> list[tuple[Answer, datetime]]:
    """Each value of a column and the instant at which it was computed."""
    values: Sequence[str | int | float] = column.string_values or column.int_values or column.double_values
    answers = []
    for place, number in enumerate(column.statuses):
        status = pb.FeatureStatus.Name(number)
        value = None if status == "NULL" else values[place]
        computed = datetime.fromtimestamp(column.computed_at_ms[place] / 1_000, UTC)
        answers.append((Answer(value, "PRESENT" if status == "STALE" else status), computed))
    return answers


@pytest.fixture(scope="module")
async def world(postgres: PostgresServer) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        valkey = await stack.enter_async_context(running_valkey())
        catalogue = await stack.enter_async_context(running_catalogue())
        dsn = await postgres.create_database("features")
        fleet = await stack.enter_async_context(
            running_fleet(dsn, valkey.url, catalogue.address, servers=3, workers=2, settings=SETTINGS)
        )
        redis = await stack.enter_async_context(Redis.from_url(valkey.url))
        channels = [await stack.enter_async_context(channel(server.address)) for server in fleet.servers]
        log = await asyncpg.connect(dsn)
        stack.push_async_callback(log.close)
        made = World(fleet, Servers(channels), catalogue, redis, log)
        for number in range(len(PRODUCTS)):
            await made.stock(number, number)

        await alone_fill(fleet, redis)
        # Else the first test's shoppers become due once more: for a product that they bought before it was announced.
        await eventually(made.announced, 30)
        yield made


async def alone_fill(fleet: Fleet, redis: Redis) -> None:
    """A new store is filled from the log by every worker that finds it so, one of them perhaps after others are done:
    here one does it, and has done it."""

    async def filled() -> bool:
        return bool(await redis.exists("ws:1:marks:{marks}:cursor"))

    others = fleet.workers[1:]
    await asyncio.gather(*(worker.stop() for worker in others))
    await redis.flushall()
    await eventually(filled, 30)
    await asyncio.gather(*(worker.start() for worker in others))


async def test_workers_share_what_is_due_and_compute_nothing_twice(world: World) -> None:
    began = monotonic()
    await world.crowd("crowd")
    await eventually(lambda: world.nothing_due("User"), 60, interval=0.1)
    took = monotonic() - began

    claimed = [await w.metric("windowshop_refresh_lag_seconds_count", entity="User") for w in world.fleet.workers]
    computed = [
        await w.metric("windowshop_feature_computations_total", feature=ORDERS, cause="due")
        for w in world.fleet.workers
    ]
    # On a machine so busy that a mark took half a second it was made again, and what it names with it; when all took
    # longer than a lease, one may have ended.
    repeated = sum([await w.metric("windowshop_marks_repeated_total") for w in world.fleet.workers])
    assert all(claimed), claimed
    assert repeated or took > LEASE or (sum(claimed), sum(computed)) == (CROWD, CROWD), (claimed, computed, took)


async def test_nobody_sees_a_restart(world: World) -> None:
    """Rest and gRPC clients write and read through it all; one call that fails, or misses an event, fails the test."""
    shoppers = [Shopper(number, PRODUCTS) for number in range(4)]
    async with Rest(world.fleet.base_url) as rest, asyncio.TaskGroup() as shopping:
        for number, shopper in enumerate(shoppers):
            shopping.create_task(
                shopper.by_rest(rest, world.servers)
                if number % 2
                else shopper.by_grpc(world.fleet.address, world.servers)
            )
        await restart_all(world, shoppers)
        for shopper in shoppers:
            shopper.leave()

    for shopper in shoppers:
        world.events += shopper.events
    await equal_to_the_truth(world, [shopper.user for shopper in shoppers])


async def restart_all(world: World, shoppers: Sequence[Shopper]) -> None:
    """Every server and worker in turn, gently; then one of each by SIGKILL. In between everybody shops on."""
    for place, server in enumerate(world.fleet.servers):
        async with world.servers.without(place):
            await everybody_bought(shoppers)
            assert await server.stop() == 0
            await everybody_bought(shoppers)
            await server.start()
    for place, worker in enumerate(world.fleet.workers):
        assert await worker.stop() == 0
        await world.stock(place, 50)
        await everybody_bought(shoppers)
        await worker.start()
    async with world.servers.without(0):
        await world.fleet.servers[0].kill()
        await everybody_bought(shoppers)
        await world.fleet.servers[0].start()
    await kill_at_work(world, world.fleet.workers[1])
    await world.stock(2, 0)
    await everybody_bought(shoppers)
    await world.fleet.workers[1].start()


async def kill_at_work(world: World, worker: Member) -> None:
    """Gives the workers a lot to do and kills one of them when it has begun."""
    name, label = "windowshop_refresh_lag_seconds_count", {"entity": "User"}
    before = await worker.metric(name, **label)
    await world.crowd("late")

    async def at_work() -> bool:
        return await worker.metric(name, **label) >= before + 100

    await eventually(at_work, 30)
    await worker.kill()


async def everybody_bought(shoppers: Sequence[Shopper]) -> None:
    """Since the call, three times."""
    goals = [shopper.orders + 4 for shopper in shoppers]
    await eventually(lambda: all(s.orders >= goal for s, goal in zip(shoppers, goals, strict=True)), 30)


async def equal_to_the_truth(world: World, shoppers: Sequence[str]) -> None:
    """Every server's answer about all whom something happened to, by the end."""
    await eventually(lambda: world.nothing_due("User", "Product"), 60, interval=0.1)
    for start in range(0, CROWD, 1_000):
        crowd = [f"{name}_{n}" for name in ("crowd", "late") for n in range(start, min(start + 500, CROWD))]
        assert not (await world.differences("User", crowd, USER_FEATURES))[:5]
    assert not (await world.differences("User", shoppers, USER_FEATURES))[:5]

    async def right() -> bool:
        wrong = await world.differences("Product", PRODUCTS, PRODUCT_FEATURES)
        assert not wrong, wrong[:5]
        return True

    await eventually(right, 30, interval=0.5)


async def test_readers_at_once_share_calls_and_are_answered_as_alone(world: World) -> None:
    await world.crowd("many")
    users = [*(f"many_{number}" for number in range(80)), "stranger"]

    async def batches() -> float:
        labels = {"grpc_method": "ReadFeatures", "grpc_code": "OK"}
        return sum([await s.metric("grpc_server_handled_total", **labels) for s in world.fleet.servers])

    before = await batches()
    async with Rest(world.fleet.base_url) as rest:
        alone = await rest.get("/features/User/many_0")
        *known, stranger = await asyncio.gather(*(rest.send("GET", f"/features/User/{user}") for user in users))
    # How many depends on how the reads come in on the machine; alone each would have been one.
    assert 0 < await batches() - before < len(users)
    assert [(reply.status, reply.json["id"]) for reply in known] == [(200, user) for user in users[:-1]]
    for reply in known:
        assert reply.json["features"] == {**alone["features"], "user_price_sensitivity": ANY}
        assert {name: sorted(meta) for name, meta in reply.json["metadata"].items()} == {
            name: sorted(meta) for name, meta in alone["metadata"].items()
        }
    assert (stranger.status, stranger.json["reason"]) == (404, "ENTITY_NOT_FOUND")


async def test_another_worker_follows_the_catalogue_within_seconds(world: World) -> None:
    applied = [await w.metric("windowshop_product_signals_applied_total") for w in world.fleet.workers]
    (leader,) = [worker for worker, number in zip(world.fleet.workers, applied, strict=True) if number]
    await leader.kill()
    await world.stock(5, 1)

    async def known() -> bool:
        return not await world.differences("Product", [PRODUCTS[5]], ["product_inventory_level"])

    try:
        # "Within seconds" on a machine that has nothing else to do; a lock that stays behind would take for ever.
        await eventually(known, 30)
    finally:
        await leader.start()
