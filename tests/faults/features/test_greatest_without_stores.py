"""Popularity, which needs to know the greatest of all, while a store or the worker is away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import asyncpg
from windowshop.features.v1 import features_pb2 as pb

from tests.integration.features.test_relative_to_the_greatest import (
    NAME,
    ORDER,
    PRODUCTS,
    VIEW,
    quiet,
    settled,
    wrong,
)
from tests.support import popularity
from tests.support.features import FeatureServer, event, running_server, running_worker
from tests.support.stack import PostgresServer, ValkeyServer
from tests.support.waiting import eventually

PostgresFactory = Callable[[], Awaitable[PostgresServer]]
ValkeyFactory = Callable[[], Awaitable[ValkeyServer]]


async def three(server: FeatureServer) -> None:
    """Views of p1 nine, of p2 three, of p3 one."""
    await server.write(
        *(event(VIEW, f"u{n}", p) for p, times in [("p1", 9), ("p2", 3), ("p3", 1)] for n in range(times))
    )


async def test_without_the_online_store_the_log_knows(postgres: PostgresServer, valkey_factory: ValkeyFactory) -> None:
    valkey = await valkey_factory()
    async with running_server(await postgres.create_database("features"), valkey.url) as server:
        log = await asyncpg.connect(server.dsn)
        async with running_worker(server.dsn, valkey.url):
            await three(server)
            await settled(server, log, p1=100.0, p2=60.21, p3=30.1)
            await valkey.kill()
            await settled(server, log, p1=100.0, p2=60.21, p3=30.1)
            await server.write(*(event(ORDER, f"u{n}", "p4") for n in range(19)))
            await settled(server, log, p4=100.0, p1=50.45, p2=30.37, p3=15.19)
            await valkey.restart(wipe=False)
            await settled(server, log, p4=100.0, p1=50.45, p2=30.37, p3=15.19)
            await quiet(valkey)
            await settled(server, log, p4=100.0, p1=50.45, p2=30.37, p3=15.19)
        await log.close()


async def test_without_the_log_the_last_known_greatest_is_right_for_its_instant(
    postgres_factory: PostgresFactory, valkey: ValkeyServer
) -> None:
    postgres = await postgres_factory()
    dsn = await postgres.create_database("features")
    async with running_server(dsn, valkey.url) as server:
        log = await asyncpg.connect(dsn)
        async with running_worker(dsn, valkey.url):
            await three(server)
            await quiet(valkey)
            await settled(server, log, p1=100.0, p2=60.21, p3=30.1)
        await log.close()
        await postgres.kill()
        answers = [(await server.batch("Product", PRODUCTS[:3], NAME)).columns[0] for _ in range(5)]
        await postgres.start()

        log = await asyncpg.connect(dsn)
        for column in answers:
            assert set(column.statuses) == {pb.PRESENT}
            for product, value, at_ms in zip(PRODUCTS, column.double_values, column.computed_at_ms, strict=False):
                truth = await popularity.scores(log, [product], datetime.fromtimestamp(at_ms / 1_000, UTC))
                assert truth == {product: value}
        await log.close()


async def test_without_a_worker_no_value_says_what_it_cannot_know(
    postgres: PostgresServer, valkey_factory: ValkeyFactory
) -> None:
    valkey = await valkey_factory()
    async with running_server(await postgres.create_database("features"), valkey.url) as server:
        log = await asyncpg.connect(server.dsn)
        async with running_worker(server.dsn, valkey.url):
            await three(server)
            await quiet(valkey)
            await settled(server, log, p1=100.0, p2=60.21, p3=30.1)
        stored = PRODUCTS[:3]
        for product in ("p1", "p4", "p2"):
            await server.write(*(event(ORDER, "u", product) for _ in range(9)))
            assert await wrong(server, log, stored) == []

        async def behind() -> bool:
            """By now the log is asked; stored values are of before the first event that waits, and right for then."""
            assert await wrong(server, log, stored) == []
            age_ms = server_now_ms() - (await server.batch("Product", ["p3"], NAME)).columns[0].computed_at_ms[0]
            return age_ms > 6_000

        await eventually(behind, timeout=30)
        async with running_worker(server.dsn, valkey.url):
            await quiet(valkey)
            await settled(server, log, p3=(await popularity.scores(log, ["p3"], datetime.now(UTC)))["p3"])
        await log.close()


def server_now_ms() -> int:
    return int(datetime.now(UTC).timestamp() * 1_000)
