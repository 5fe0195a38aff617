"""Who has gone costs nothing: no place in the queue, no refresh; a read or an event brings them back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from windowshop.features.v1 import features_pb2 as pb

from tests.support.features import FeatureServer, event, running_worker
from tests.support.stack import ValkeyServer
from tests.support.waiting import eventually

DAY = 86_400.0
ORDERS = "user_purchase_count_30d"
QUEUE = "ws:1:marks:{marks}:due:User"
HERE, GONE = [f"here{n}" for n in range(3)], [f"gone{n}" for n in range(3)]


@pytest.fixture
async def redis(valkey: ValkeyServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(valkey.url, decode_responses=True) as client:
        yield client


@pytest.fixture
async def written(server: FeatureServer) -> FeatureServer:
    """Orders of today, and of ten days ago: within the window of every feature, so each has evidence."""
    await server.write(
        *(event("purchase-complete", user, "p1", revenue=5.0) for user in HERE),
        *(event("purchase-complete", user, "p1", revenue=5.0, ago=10 * DAY) for user in GONE),
    )
    return server


async def queued(redis: Redis) -> set[str]:
    return {str(member) for member in await redis.zrangebyscore(QUEUE, "-inf", "(+inf")}  # without the queue's seal


async def orders(server: FeatureServer, user: str) -> tuple[int, str]:
    value = (await server.get("User", user, ORDERS)).features[ORDERS]
    return value.int_value, pb.FeatureStatus.Name(value.status)


async def test_who_has_gone_leaves_the_queue_when_computed(
    written: FeatureServer, redis: Redis, valkey: ValkeyServer
) -> None:
    assert await queued(redis) == {*HERE, *GONE}
    async with running_worker(written.dsn, valkey.url):

        async def left() -> bool:
            return await queued(redis) == set(HERE)

        await eventually(left)
    assert [await orders(written, user) for user in (HERE[0], GONE[0])] == [(1, "PRESENT")] * 2


async def test_a_wiped_store_is_filled_with_those_who_are_here_and_by_reads(
    written: FeatureServer, redis: Redis, valkey: ValkeyServer
) -> None:
    await redis.flushall()
    async with running_worker(written.dsn, valkey.url):

        async def filled() -> bool:
            stored = [[key async for key in redis.scan_iter(f"ws:1:{{User*:{user}")] for user in HERE]
            return all(stored) and await queued(redis) == set(HERE)

        await eventually(filled)
        assert not [key async for key in redis.scan_iter("ws:1:{User*:gone*")]
        assert await orders(written, GONE[0]) == (1, "PRESENT")
        await written.write(event("purchase-complete", GONE[1], "p1", revenue=5.0))

        async def back() -> bool:
            return GONE[1] in await queued(redis)

        await eventually(back)
        assert await orders(written, GONE[1]) == (2, "PRESENT")
