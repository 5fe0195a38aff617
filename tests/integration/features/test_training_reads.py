"""Reading for training must not cost shoppers anything, and reads every row once."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from windowshop.features.v1 import features_pb2 as pb

from services.runtime.errors import from_rpc
from tests.support.features import FeatureServer, event, running_server
from tests.support.stack import PostgresServer, ValkeyServer

COUNT = "user_purchase_count_30d"
ALL_TIME = pb.ReadTrainingRowsRequest()


async def fill(server: FeatureServer, events: int) -> None:
    """Views of 500 products each, some at the same instant. Few at a time: a busy machine takes long over a commit."""
    products = [f"p{n:03d}" for n in range(500)]
    for start in range(0, events, 10):
        await server.write(
            *(event("detail-page-view", f"u{n}", *products, ago=1_000 - n // 3) for n in range(start, start + 10))
        )


@pytest.fixture
async def patient_server(postgres: PostgresServer, valkey: ValkeyServer) -> AsyncIterator[FeatureServer]:
    """Patient with Redis even while twenty readers keep its process, which is the test's, at work."""
    dsn = await postgres.create_database("features")
    async with running_server(dsn, valkey.url, FEATURES_REDIS_TIMEOUT=20.0) as running:
        yield running


async def test_idle_readers_take_no_connection(patient_server: FeatureServer) -> None:
    server = patient_server
    await fill(server, 200)  # ten times what a stream buffers
    await server.write(event("purchase-complete", "u1", "p1"))
    calls = [server.stub.ReadTrainingRows(ALL_TIME, timeout=60) for _ in range(20)]
    try:
        for call in calls:
            await call.read()
        for number in range(2, 6):
            await server.write(event("purchase-complete", "u1", "p1"))
            answer = await server.get("User", "u1", COUNT)
            assert (answer.features[COUNT].int_value, list(answer.degraded)) == (number, [])
    finally:
        for call in calls:
            call.cancel()


async def test_every_row_is_read_once_in_order(server: FeatureServer) -> None:
    await fill(server, 50)
    rows = []
    async for chunk in server.stub.ReadTrainingRows(ALL_TIME, timeout=60):
        rows += list(zip(chunk.event_times_ms, chunk.user_ids, chunk.product_ids, strict=True))
    assert len(rows) == len(set(rows)) == 25_000
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [(2**60, None, "startTime"), (-(2**60), None, "startTime"), (None, 9 * 10**12, "endTime"), (-1, None, "startTime")],
)
async def test_times_out_of_range_are_refused(
    server: FeatureServer, start: int | None, end: int | None, field: str
) -> None:
    request = pb.ReadTrainingRowsRequest(
        start_time=None if start is None else Timestamp(seconds=start),
        end_time=None if end is None else Timestamp(seconds=end),
    )
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await server.stub.ReadTrainingRows(request, timeout=5).read()
    error = from_rpc(failure.value)
    assert (error.code, [v.field for v in error.violations]) == (grpc.StatusCode.INVALID_ARGUMENT, [field])
