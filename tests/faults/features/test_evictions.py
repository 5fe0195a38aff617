"""A Redis that is full, under every policy: what was evicted is computed and queued again, what was refused costs time.

And what keeps it from filling up: every key has a time to live or a bound.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis
from windowshop.features.v1 import features_pb2 as pb

from tests.support.features import FeatureServer, event, running_server, running_worker
from tests.support.stack import PostgresServer, ValkeyServer
from tests.support.waiting import eventually

COUNT, VIEWS, TREND = "user_purchase_count_30d", "user_recent_views", "product_trend_score"
USERS = [f"u{n}" for n in range(30)]
ROUNDS, BATCH = 25, 4
ValkeyFactory = Callable[[], Awaitable[ValkeyServer]]

# What the online store may hold, by the beginning of the key: those with a time to live, and the bound of the others.
EXPIRING = ("ws:1:{User", "ws:1:{Product", "ws:1:marks:{marks}:confirmed", "ws:1:marks:{marks}:receipt:")
BOUNDS = {
    "ws:1:marks:{marks}:cursor": "one number",
    "ws:1:marks:{marks}:due:": "entities",
    "ws:1:marks:{marks}:claimed:": "entities",
    "ws:1:marks:{marks}:later": "events of the future",
}
CURSOR = "ws:1:marks:{marks}:cursor"
# The member that tells a queue from one that began anew.
SEAL = 1


class Pressure:
    """Other keys on the same server, more than it has room for."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._count = 0

    async def limit(self, policy: str, room: int) -> None:
        await self._redis.config_set("maxmemory-policy", policy)
        used = (await self._redis.info("memory"))["used_memory"]
        await self._redis.config_set("maxmemory", used + room)

    async def push(self, count: int = 40) -> None:
        async with self._redis.pipeline(transaction=False) as pipe:
            for _ in range(count):
                self._count += 1
                pipe.set(f"junk:{self._count}", "x" * 4_000, ex=600)
            await pipe.execute(raise_on_error=False)

    async def end(self) -> None:
        await self._redis.config_set("maxmemory", 0)

    async def evicted(self) -> int:
        return int((await self._redis.info("stats"))["evicted_keys"])


class Shoppers:
    """Order and look at things; every answer is compared with what they did."""

    def __init__(self, servers: list[FeatureServer], seed: str) -> None:
        self._servers = servers
        self._dice = random.Random(seed)
        self.orders: Counter[str] = Counter()

    async def act(self) -> None:
        users = self._dice.sample(USERS, BATCH)
        written = await self._dice.choice(self._servers).write(
            *(event("purchase-complete", user, f"p{self._dice.randrange(9)}") for user in users)
        )
        assert written.accepted == BATCH
        self.orders.update(users)
        await self.check(self._dice.choice(self._servers), self._dice.sample(USERS, 10))

    async def check(self, server: FeatureServer, users: list[str]) -> list[str]:
        answer = await server.batch("User", users, COUNT)
        found = dict(zip(users, answer.columns[0].int_values, strict=True))
        statuses = dict(zip(users, answer.columns[0].statuses, strict=True))
        for user in users:
            if self.orders[user]:
                assert (found[user], statuses[user]) == (self.orders[user], pb.PRESENT), user
            else:
                assert statuses[user] == pb.NOT_FOUND
        return list(answer.degraded)


async def records(redis: Redis) -> int:
    """How many entities have values."""
    return sum([await redis.strlen(key) > 8 async for key in redis.scan_iter("ws:1:{*")])


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-lru", "noeviction"])
async def test_every_answer_is_right_while_the_server_is_full(
    postgres: PostgresServer, valkey_factory: ValkeyFactory, policy: str
) -> None:
    valkey = await valkey_factory()
    dsn = await postgres.create_database("features")
    async with (
        Redis.from_url(valkey.url) as redis,
        running_server(dsn, valkey.url) as one,
        running_server(dsn, valkey.url) as two,
        running_worker(dsn, valkey.url),
    ):
        await eventually(lambda: redis.exists(CURSOR), 60)
        shoppers, pressure = Shoppers([one, two], policy), Pressure(redis)
        for _ in range(10):
            await shoppers.act()
        await pressure.limit(policy, 100_000)
        for _ in range(ROUNDS):
            await pressure.push()
            await shoppers.act()
        if policy == "noeviction":
            assert (await redis.info("errorstats"))["errorstat_OOM"]["count"] > ROUNDS
        else:
            assert await pressure.evicted() > ROUNDS
        await pressure.end()

        async def whole_again() -> bool:
            """The worker has computed everybody, with nobody reading."""
            return await records(redis) >= len(+shoppers.orders)

        if policy != "noeviction":
            # Whoever was evicted is computed when somebody asks.
            for server in (one, two):
                await shoppers.check(server, USERS)
        await eventually(whole_again, 60)

        async def undegraded() -> bool:
            return not await shoppers.check(one, USERS) and not await shoppers.check(two, USERS)

        await eventually(undegraded, 60)


@pytest.mark.parametrize("key", ["due:Product", "later", "cursor", "confirmed"])
async def test_a_queue_that_is_evicted_is_filled_again(
    postgres: PostgresServer, valkey_factory: ValkeyFactory, key: str
) -> None:
    valkey = await valkey_factory()
    dsn = await postgres.create_database("features")
    async with Redis.from_url(valkey.url) as redis, running_server(dsn, valkey.url) as server:

        async def trend() -> float:
            return float((await server.get("Product", "p1", TREND)).features[TREND].double_value)

        async with running_worker(dsn, valkey.url):
            await eventually(lambda: redis.exists(CURSOR), 60)
            await server.write(event("purchase-complete", "u1", "p1"))
            await eventually(trend, 60)
        before = await trend()
        # Marked, due, not computed: nobody works. One event is yet to come.
        await server.write(event("purchase-complete", "u1", "p1"), event("detail-page-view", "u1", "p2", ago=-4))
        await redis.delete(f"ws:1:marks:{{marks}}:{key}")
        await server.write(event("purchase-complete", "u2", "p3"))
        async with running_worker(dsn, valkey.url):

            async def computed() -> bool:
                views = await server.get("User", "u1", VIEWS)
                return await trend() > 1.5 * before and list(views.features[VIEWS].string_list_value.values) == ["p2"]

            await eventually(computed, 60)


async def test_every_key_has_a_time_to_live_or_a_bound(postgres: PostgresServer, valkey: ValkeyServer) -> None:
    dsn = await postgres.create_database("features")
    products = {f"p{n}" for n in range(9)}
    async with Redis.from_url(valkey.url) as redis:
        async with running_server(dsn, valkey.url) as server, running_worker(dsn, valkey.url):
            await eventually(lambda: redis.exists(CURSOR), 60)
            shoppers = Shoppers([server], "keys")
            for _ in range(20):
                await shoppers.act()
            await server.write(event("detail-page-view", "u1", "p1", ago=-60), event("search", "u1", "p2", ago=-60))
            await server.stub.DeleteEntity(pb.DeleteEntityRequest(entity="User", id="u2"), timeout=10)
            await server.batch("User", ["nobody", "u3"], COUNT)
        found = {key.decode(): await redis.pttl(key) async for key in redis.scan_iter()}
        assert any(key.endswith("later") for key in found)
        for key, left_ms in found.items():
            if key.startswith(EXPIRING):
                assert left_ms > 0, key
                continue
            assert left_ms == -1, key
            bound = next(bound for beginning, bound in BOUNDS.items() if key.startswith(beginning))
            if bound == "entities":
                assert await redis.zcard(key) <= SEAL + (len(USERS) if key.endswith("User") else len(products))
            elif bound == "events of the future":
                assert await redis.zcard(key) <= SEAL + 4
