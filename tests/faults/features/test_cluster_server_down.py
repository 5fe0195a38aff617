"""One server of a Redis Cluster dies: its slots are computed from the log, the others never notice."""

from __future__ import annotations

import time

from redis.asyncio import Redis

from tests.support.features import FeatureServer, event, running_server, running_worker
from tests.support.redis_cluster import ClusterServers, running_cluster
from tests.support.stack import PostgresServer
from tests.support.waiting import eventually

COUNT = "user_purchase_count_30d"
USERS = [f"u{n}" for n in range(40)]


async def places(cluster: ClusterServers) -> tuple[list[set[str]], int]:
    """The users whose records each server has, and which of the servers has the queues."""
    users: list[set[str]] = []
    queues = -1
    for place, url in enumerate(cluster.urls):
        async with Redis.from_url(url) as redis:
            keys = [key.decode() async for key in redis.scan_iter("ws:1:*")]
        users.append({key.rpartition(":")[2] for key in keys if key.startswith("ws:1:{User")})
        if any(key.startswith("ws:1:marks:") for key in keys):
            queues = place
    return users, queues


async def purchases(server: FeatureServer, users: list[str]) -> tuple[list[int], list[str]]:
    answer = await server.batch("User", users, COUNT)
    return list(answer.columns[0].int_values), list(answer.degraded)


async def write_all(server: FeatureServer) -> None:
    await server.write(*(event("purchase-complete", user, "p1") for user in USERS))


async def undegraded(server: FeatureServer, count: int) -> bool:
    return await purchases(server, USERS) == ([count] * len(USERS), [])


async def test_the_slots_of_a_dead_server_are_computed_and_the_others_served(postgres: PostgresServer) -> None:
    dsn = await postgres.create_database("features")
    async with running_cluster() as cluster, running_server(dsn, cluster.url) as server:
        await write_all(server)
        await eventually(lambda: undegraded(server, 1))
        users, queues = await places(cluster)
        dead = next(place for place in range(3) if place != queues and users[place])
        lost, healthy = sorted(users[dead]), sorted(set(USERS) - users[dead])
        assert lost
        assert healthy

        await cluster.kill(dead)
        assert await purchases(server, lost) == ([1] * len(lost), ["online-store"])
        started = time.monotonic()
        for _ in range(20):
            assert await purchases(server, healthy) == ([1] * len(healthy), [])
        assert time.monotonic() - started < 5
        assert await purchases(server, USERS) == ([1] * len(USERS), ["online-store"])

        await write_all(server)
        assert await purchases(server, healthy) == ([2] * len(healthy), [])
        assert await purchases(server, lost) == ([2] * len(lost), ["online-store"])

        async with running_worker(dsn, cluster.url):
            await cluster.start(dead)
            await eventually(lambda: undegraded(server, 2))
            await write_all(server)
            await eventually(lambda: undegraded(server, 3))


async def test_without_the_server_of_the_queues_every_answer_is_right(postgres: PostgresServer) -> None:
    dsn = await postgres.create_database("features")
    async with running_cluster() as cluster, running_server(dsn, cluster.url) as server:
        await write_all(server)
        await eventually(lambda: undegraded(server, 1))
        users, queues = await places(cluster)
        await cluster.kill(queues)
        healthy = sorted(set(USERS) - users[queues])
        assert await purchases(server, healthy) == ([1] * len(healthy), [])
        await write_all(server)
        assert (await purchases(server, USERS))[0] == [2] * len(USERS)
        async with running_worker(dsn, cluster.url):
            await cluster.start(queues)
            await eventually(lambda: undegraded(server, 2))


async def test_a_start_without_any_server_serves_from_the_log(postgres: PostgresServer) -> None:
    dsn = await postgres.create_database("features")
    async with running_server(dsn, "redis://127.0.0.1:1,127.0.0.1:2/?cluster=1") as server:
        await write_all(server)
        assert await purchases(server, USERS) == ([1] * len(USERS), ["online-store"])
