"""The bad days of the feature service's stores: killed, hung, wiped, stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import grpc
import pytest
from redis.asyncio import Redis
from windowshop.features.v1 import features_pb2 as pb

from services.features.app import open_parts
from services.features.domain.events import Event, Line
from tests.support.features import FeatureServer, event, running_server, running_worker, settings
from tests.support.proxy import running_proxy
from tests.support.stack import PostgresServer, ValkeyServer
from tests.support.waiting import eventually

COUNT, CATEGORY = "user_purchase_count_30d", "user_browsing_category"
PostgresFactory = Callable[[], Awaitable[PostgresServer]]
ValkeyFactory = Callable[[], Awaitable[ValkeyServer]]


async def orders(server: FeatureServer, user: str) -> tuple[int, list[str]]:
    answer = await server.get("User", user, COUNT)
    return answer.features[COUNT].int_value, list(answer.degraded)


async def undegraded(server: FeatureServer, user: str) -> bool:
    return not (await server.get("User", user, COUNT)).degraded


async def test_killed_redis_degrades_and_comes_back(postgres: PostgresServer, valkey_factory: ValkeyFactory) -> None:
    valkey = await valkey_factory()
    async with running_server(await postgres.create_database("features"), valkey.url) as server:
        await server.write(event("purchase-complete", "u1", "p1"))
        assert await orders(server, "u1") == (1, [])
        await valkey.kill()
        assert await orders(server, "u1") == (1, ["online-store"])
        # Acknowledged, and seen by the next read, without Redis.
        for expected in (2, 3):
            assert (await server.write(event("purchase-complete", "u1", "p1"))).accepted == 1
            assert await orders(server, "u1") == (expected, ["online-store"])
        columns = (await server.batch("User", ["u1", "nobody"], COUNT)).columns
        assert list(columns[0].statuses) == [pb.PRESENT, pb.NOT_FOUND]
        await valkey.restart(wipe=False)
        await eventually(lambda: undegraded(server, "u1"))
        assert await orders(server, "u1") == (3, [])


async def test_hung_redis_does_not_hang_reads(postgres: PostgresServer, valkey_factory: ValkeyFactory) -> None:
    valkey = await valkey_factory()
    dsn = await postgres.create_database("features")
    async with running_server(dsn, valkey.url, FEATURES_REDIS_TIMEOUT=0.1) as server:
        await server.write(event("purchase-complete", "u1", "p1"))
        assert await orders(server, "u1") == (1, [])
        valkey.stop_hang()
        try:
            # Each of these would wait for good; together they get what healthy ones on a busy machine may take.
            async with asyncio.timeout(5):
                for expected in range(2, 7):
                    await server.write(event("purchase-complete", "u1", "p1"))
                    assert await orders(server, "u1") == (expected, ["online-store"])
        finally:
            valkey.cont()
        await eventually(lambda: undegraded(server, "u1"))
        assert await orders(server, "u1") == (6, [])


async def test_wiped_redis_amid_writes_loses_nothing(postgres: PostgresServer, valkey_factory: ValkeyFactory) -> None:
    valkey = await valkey_factory()
    dsn = await postgres.create_database("features")
    async with running_server(dsn, valkey.url) as server, running_worker(dsn, valkey.url):
        sent: list[pb.Event] = []
        stop = asyncio.Event()

        async def sender() -> None:
            while not stop.is_set():
                number = len(sent)
                message = event("purchase-complete", f"u{number % 10}", "p1", event_id=f"e{number}")
                await server.write(message)
                sent.append(message)  # acknowledged

        async with asyncio.TaskGroup() as group:
            group.create_task(sender())
            await eventually(lambda: len(sent) > 20)
            await valkey.kill()
            killed = len(sent)
            await eventually(lambda: len(sent) > killed + 20)
            await valkey.restart(wipe=True)
            back = len(sent)
            await eventually(lambda: len(sent) > back + 20)
            stop.set()
        again = await server.write(*sent)
        assert (again.accepted, again.duplicates) == (0, len(sent))
        await eventually(lambda: undegraded(server, "u0"))
        for user in range(10):
            assert await orders(server, f"u{user}") == (len(sent[user::10]), [])


async def test_wiped_redis_is_filled_without_a_read(postgres: PostgresServer, valkey_factory: ValkeyFactory) -> None:
    valkey = await valkey_factory()
    dsn = await postgres.create_database("features")
    async with running_server(dsn, valkey.url) as server:
        await server.write(*(event("purchase-complete", f"u{i}", "p1") for i in range(30)))
        await valkey.restart(wipe=True)
        async with running_worker(dsn, valkey.url), Redis.from_url(valkey.url) as redis:

            async def filled() -> bool:
                keys = [key async for key in redis.scan_iter("ws:1:{User*")]
                lengths = [await redis.strlen(key) for key in keys]
                return sum(length > 8 for length in lengths) == 30

            await eventually(filled)


async def test_lost_marks_are_repeated(postgres: PostgresServer, valkey_factory: ValkeyFactory) -> None:
    """A server that dies between commit and mark, or a Redis that loses its last second."""
    from contextlib import AsyncExitStack

    valkey = await valkey_factory()
    dsn = await postgres.create_database("features")
    async with (
        running_server(dsn, valkey.url) as server,
        running_worker(dsn, valkey.url),
        AsyncExitStack() as closers,
    ):
        await server.write(event("purchase-complete", "u1", "p1"))
        assert await orders(server, "u1") == (1, [])
        parts = await open_parts(settings(dsn, valkey.url), closers)
        unmarked = Event(
            "lost", "purchase-complete", "u1", "", "", time.time_ns() // 1_000, (Line("p1", 1, None),),
            None, None, None, "", "", {},
        )  # fmt: skip
        assert (await parts.log.append([unmarked])).new == [True]

        async def seen() -> bool:
            return await orders(server, "u1") == (2, [])

        await eventually(seen)


async def test_stopped_postgres(postgres_factory: PostgresFactory, valkey: ValkeyServer) -> None:
    postgres = await postgres_factory()
    dsn = await postgres.create_database("features")
    async with running_server(dsn, valkey.url) as server:
        await server.write(event("purchase-complete", "u1", "p1"))
        assert await orders(server, "u1") == (1, [])
        await postgres.stop()
        # Nothing is missing for an answer from Redis.
        assert await orders(server, "u1") == (1, [])
        # A feature that was never computed has nobody to give it.
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await server.get("User", "u1", CATEGORY)
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
        batch = await server.batch("User", ["u1", "u2"], COUNT, CATEGORY)
        assert list(batch.degraded) == ["event-log"]
        count, category = batch.columns
        assert (list(count.statuses), count.int_values[0]) == ([pb.PRESENT, pb.UNAVAILABLE], 1)
        assert list(category.statuses) == [pb.UNAVAILABLE, pb.UNAVAILABLE]
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await server.write(event("purchase-complete", "u1", "p1"))
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
        await postgres.start()

        async def accepted() -> bool:
            try:
                return (await server.write(event("purchase-complete", "u1", "p1", event_id="again"))).accepted == 1
            except grpc.aio.AioRpcError:
                return False

        await eventually(accepted)
        assert await orders(server, "u1") == (2, [])


async def test_nothing_left(postgres_factory: PostgresFactory, valkey_factory: ValkeyFactory) -> None:
    postgres, valkey = await postgres_factory(), await valkey_factory()
    async with running_server(await postgres.create_database("features"), valkey.url) as server:
        await server.write(event("purchase-complete", "u1", "p1"))
        await postgres.stop()
        await valkey.kill()
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await server.get("User", "u1", COUNT)
        assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
        batch = await server.batch("User", ["u1"], COUNT)
        assert list(batch.columns[0].statuses) == [pb.UNAVAILABLE]
        assert list(batch.degraded) == ["event-log", "online-store"]


async def test_killed_postgres_amid_writes_loses_nothing(
    postgres_factory: PostgresFactory, valkey: ValkeyServer
) -> None:
    postgres = await postgres_factory()
    async with running_server(await postgres.create_database("features"), valkey.url) as server:
        acknowledged: list[pb.Event] = []
        refused, stop = [0], asyncio.Event()

        async def sender(name: str) -> None:
            number = 0
            while not stop.is_set():
                message = event("purchase-complete", name, "p1", event_id=f"{name}-{number}")
                try:
                    await server.write(message)
                except grpc.aio.AioRpcError as error:
                    refused[0] += 1
                    if error.code() is not grpc.StatusCode.UNAVAILABLE:
                        raise
                    await asyncio.sleep(0.02)  # as a sender that was refused does
                    continue  # sends it again: whether it was stored is unknown
                acknowledged.append(message)
                number += 1

        async with asyncio.TaskGroup() as group:
            for user in range(4):
                group.create_task(sender(f"u{user}"))
            await eventually(lambda: len(acknowledged) > 40)
            await postgres.kill()
            await eventually(lambda: refused[0] > 3)
            await postgres.start()
            restarted = len(acknowledged)
            await eventually(lambda: len(acknowledged) > restarted + 40, 20)
            stop.set()
        again = await server.write(*acknowledged[:1000])
        assert (again.accepted, again.duplicates) == (0, min(len(acknowledged), 1000))
        for user in range(4):
            expected = sum(message.user_id == f"u{user}" for message in acknowledged)
            assert await orders(server, f"u{user}") == (expected, [])


async def test_hung_postgres_is_bounded_and_recovers(postgres: PostgresServer, valkey: ValkeyServer) -> None:
    dsn = await postgres.create_database("features")
    target = urlsplit(dsn).port
    assert target is not None
    async with (
        running_proxy(target) as proxy,
        running_server(
            dsn.replace(f":{target}/", f":{proxy.port}/"), valkey.url, FEATURES_DATABASE_TIMEOUT=0.5
        ) as server,
    ):
        await server.write(event("purchase-complete", "u1", "p1"))
        assert await orders(server, "u1") == (1, [])
        proxy.stall()
        # Callers that give up early must not use the pool up for those who come later.
        impatient = [
            server.stub.GetFeatures(pb.GetFeaturesRequest(entity="User", id=f"x{n}"), timeout=0.05) for n in range(40)
        ]
        for call in impatient:
            with pytest.raises(grpc.aio.AioRpcError):
                await call
        assert await orders(server, "u1") == (1, [])
        for waiting in (server.get("User", "u1", CATEGORY), server.write(event("purchase-complete", "u1", "p1"))):
            async with asyncio.timeout(8):
                with pytest.raises(grpc.aio.AioRpcError) as failure:
                    await waiting
            assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
        proxy.flow()

        async def accepted() -> bool:
            try:
                await server.write(event("purchase-complete", "u2", "p1", event_id="after"))
            except grpc.aio.AioRpcError:
                return False
            return True

        await eventually(accepted, 20)
        assert await orders(server, "u2") == (1, [])
