"""Training rows with features, through the door: what a column says, and what reading costs those who shop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import grpc
import pytest
from windowshop.features.v1 import features_pb2 as pb

from services.runtime.errors import ServiceError, from_rpc
from tests.support.features import FeatureServer, at, event, running_server
from tests.support.stack import PostgresServer, ValkeyServer
from tests.support.waiting import eventually

COUNT, SPENT, RATING = "user_purchase_count_30d", "user_avg_order_value", "product_rating"
MINE = """
[features.{name}]
entity = "{entity}"
type = "{type}"
description = "Of a test."
refresh = "1m"
ttl = "1h"
on_event = "none"
on_request = true
sql = "{name}.sql"
"""
# 128 kB a value.
LONG = """
SELECT id, array_fill(repeat('x', 64), ARRAY[2000]) AS value
FROM unnest($1::text[]) AS id
WHERE $2::timestamptz IS NOT NULL
"""
SLOW = "SELECT id, pg_sleep(60)::text AS value FROM unnest($1::text[]) AS id WHERE $2::timestamptz IS NOT NULL"


def declare(folder: Path, name: str, entity: str, kind: str, sql: str) -> Path:
    """A definitions file with one feature."""
    (folder / f"{name}.sql").write_text(sql)
    file = folder / "features.toml"
    file.write_text(MINE.format(name=name, entity=entity, type=kind))
    return file


async def rows(
    server: FeatureServer, *features: str, timeout: float = 30, **window: object
) -> list[pb.ReadTrainingRowsResponse]:
    request = pb.ReadTrainingRowsRequest(features=features, **window)  # type: ignore[arg-type]  # the fields' own types
    return [message async for message in server.stub.ReadTrainingRows(request, timeout=timeout)]


async def refusal(server: FeatureServer, *features: str) -> ServiceError:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await rows(server, *features)
    return from_rpc(failure.value)


async def test_a_row_has_the_features_of_just_before(server: FeatureServer) -> None:
    now = time.time()
    await server.write(
        event("purchase-complete", "u1", "p1", "p2", ago=None, event_time=at(now - 300), revenue=10.0),
        event("rate", "u2", "p1", ago=None, event_time=at(now - 250), rating=4.0),
        event("purchase-complete", "u1", "p1", ago=None, event_time=at(now - 200), revenue=30.0),
        event("detail-page-view", "u1", "p1", ago=None, event_time=at(now - 150)),
        event("impression", "u1", "p1", ago=None, event_time=at(now - 100)),
        event("impression", "", "p1", ago=None, event_time=at(now - 50), visitor_id="v1"),
    )
    (message,) = await rows(server, SPENT, RATING, COUNT, SPENT)
    assert list(message.product_ids) == ["p1", "p2", "p1", "p1"]
    assert list(message.event_types) == ["purchase-complete"] * 3 + ["impression"]
    first, same, second, shown = message.event_numbers
    assert first == same
    assert len({first, second, shown}) == 3
    spent, rating, count = message.columns
    assert [column.feature for column in message.columns] == [SPENT, RATING, COUNT]
    assert list(spent.statuses) == [pb.NULL, pb.NULL, pb.PRESENT, pb.PRESENT]
    assert list(spent.double_values) == [0.0, 0.0, 10.0, 20.0]
    assert list(rating.statuses) == [pb.NULL, pb.NULL, pb.PRESENT, pb.PRESENT]
    assert list(rating.double_values) == [0.0, 0.0, 4.0, 4.0]
    assert list(count.statuses) == [pb.DEFAULT, pb.DEFAULT, pb.PRESENT, pb.PRESENT]
    assert list(count.int_values) == [0, 0, 1, 2]
    assert (count.type, count.refresh_seconds) == (pb.INT, 3_600)
    assert list(count.computed_at_ms) == list(message.event_times_ms)
    # What comes late counts from its time on.
    await server.write(event("purchase-complete", "u1", "p9", ago=None, event_time=at(now - 250), revenue=20.0))
    (message,) = await rows(server, COUNT, event_types=["impression"], end_time=at(now - 60))
    assert (list(message.columns[0].int_values), list(message.product_ids)) == ([3], ["p1"])


async def test_what_cannot_be_asked_is_refused(server: FeatureServer) -> None:
    many = await refusal(server, *(f"f{n}" for n in range(21)))
    assert (many.code, [v.field for v in many.violations]) == (grpc.StatusCode.INVALID_ARGUMENT, ["features"])
    unknown = await refusal(server, COUNT, "user_shoe_size")
    assert (unknown.code, unknown.reason) == (grpc.StatusCode.NOT_FOUND, "FEATURE_NOT_FOUND")
    assert "user_shoe_size" in unknown.message
    strange = await refusal(server, "'; DROP TABLE events")
    assert (strange.code, strange.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FEATURE_NAME")


async def test_long_values_come_in_small_messages(
    postgres: PostgresServer, valkey: ValkeyServer, tmp_path: Path
) -> None:
    """This client takes 4 MB at most, as every client of gRPC does unless it is told otherwise."""
    mine = declare(tmp_path, "product_long", "Product", "string_list", LONG)
    products = [f"p{n:03d}" for n in range(100)]
    async with running_server(
        await postgres.create_database("features"), valkey.url, FEATURES_DEFINITIONS=mine
    ) as server:
        await server.write(event("impression", "u1", *products, ago=10))
        messages = await rows(server, "product_long")
    assert [id_ for message in messages for id_ in message.product_ids] == products
    values = [value for message in messages for value in message.columns[0].string_list_values]
    assert [len(value.values) for value in values] == [2_000] * 100
    assert max(message.ByteSize() for message in messages) <= 2_000_000
    assert len({number for message in messages for number in message.event_numbers}) == 1


@pytest.fixture
async def slow_server(postgres: PostgresServer, valkey: ValkeyServer, tmp_path: Path) -> AsyncIterator[FeatureServer]:
    """Its feature ``user_slow`` takes a minute to compute."""
    mine = declare(tmp_path, "user_slow", "User", "string", SLOW)
    async with running_server(
        await postgres.create_database("features"), valkey.url, FEATURES_DEFINITIONS=mine
    ) as server:
        await server.write(event("impression", "u1", "p1", ago=10))
        yield server


async def test_many_trainers_leave_connections_to_shoppers(slow_server: FeatureServer) -> None:
    server = slow_server
    trainers = [asyncio.create_task(rows(server, "user_slow", timeout=60)) for _ in range(20)]

    async def computing() -> bool:
        return await statements(server) > 0

    await eventually(computing)
    for number in range(1, 6):
        await server.write(event("purchase-complete", "u1", "p1"))
        assert (await server.get("User", "u1", COUNT)).features[COUNT].int_value == number
    assert await statements(server) <= 2
    for trainer in trainers:
        trainer.cancel()
    await asyncio.gather(*trainers, return_exceptions=True)

    async def given_up() -> bool:
        return await statements(server) == 0

    # Nobody waits for them any more; and who comes now has a turn.
    await eventually(given_up)
    assert [list(message.product_ids) for message in await rows(server, COUNT, event_types=["impression"])] == [["p1"]]


async def statements(server: FeatureServer) -> int:
    """How many of the slow ones the log is executing."""
    connection = await asyncpg.connect(server.dsn)
    try:
        sql = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE state = 'active' AND wait_event = 'PgSleep' AND datname = current_database()"
        )
        number: int = await connection.fetchval(sql)
        return number
    finally:
        await connection.close()


async def test_a_slow_trainer_holds_no_connection(server: FeatureServer) -> None:
    products = [f"p{n:03d}" for n in range(500)]
    for start in range(0, 200, 50):
        await server.write(*(event("impression", f"u{n}", *products, ago=900 - n) for n in range(start, start + 50)))
    request = pb.ReadTrainingRowsRequest(features=[COUNT, SPENT, RATING])
    calls = [server.stub.ReadTrainingRows(request, timeout=60) for _ in range(14)]  # more than there are connections
    try:
        for call in calls:
            await call.read()
        for number in range(1, 4):
            await server.write(event("purchase-complete", "u1", "p1"))
            assert (await server.get("User", "u1", COUNT)).features[COUNT].int_value == number
    finally:
        for call in calls:
            call.cancel()


async def test_a_log_that_goes_down_ends_the_stream(
    postgres_factory: Callable[[], Awaitable[PostgresServer]], valkey: ValkeyServer
) -> None:
    postgres = await postgres_factory()
    products = [f"p{n:03d}" for n in range(500)]
    async with running_server(await postgres.create_database("features"), valkey.url) as server:
        for start in range(0, 200, 50):
            await server.write(
                *(event("impression", f"u{n}", *products, ago=900 - n) for n in range(start, start + 50))
            )
        call = server.stub.ReadTrainingRows(pb.ReadTrainingRowsRequest(features=[COUNT, SPENT]), timeout=60)
        messages = aiter(call)
        await anext(messages)
        await postgres.kill()
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            async for _ in messages:
                pass
        error = from_rpc(failure.value)
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "EVENT_LOG_UNAVAILABLE")
