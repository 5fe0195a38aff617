"""Events of a clock that runs ahead count from their own time on, each of them, whatever happens to Redis meanwhile."""

from __future__ import annotations

import time

from redis.asyncio import Redis

from tests.support.features import FeatureServer, event, running_worker
from tests.support.stack import ValkeyServer
from tests.support.waiting import eventually

COUNT = "user_purchase_count_30d"


async def orders(server: FeatureServer) -> int:
    return (await server.get("User", "u1", COUNT)).features[COUNT].int_value


async def test_each_of_several_counts_in_its_time(server: FeatureServer, valkey: ValkeyServer) -> None:
    async with running_worker(server.dsn, valkey.url):
        await server.write(event("purchase-complete", "u1", "p1", ago=-3), event("purchase-complete", "u1", "p1"))
        await server.write(event("purchase-complete", "u1", "p1", ago=-1))
        written = time.time()
        assert await orders(server) == 1

        async def reached(number: int) -> bool:
            return await orders(server) >= number

        await eventually(lambda: reached(2))
        assert time.time() - written > 0.5
        await eventually(lambda: reached(3))
        assert time.time() - written > 2.5


async def test_they_are_found_again_in_the_log_when_redis_was_emptied(
    server: FeatureServer, valkey: ValkeyServer
) -> None:
    async with running_worker(server.dsn, valkey.url), Redis.from_url(valkey.url) as redis:
        await server.write(event("purchase-complete", "u1", "p1", ago=-4))
        await redis.flushall()

        async def rebuilt() -> bool:
            return bool(await redis.exists("ws:1:marks:{marks}:cursor"))

        await eventually(rebuilt)
        assert await orders(server) == 0

        async def counted() -> bool:
            return await orders(server) == 1

        await eventually(counted)
