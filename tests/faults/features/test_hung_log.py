"""A PostgreSQL that hangs costs readers a share of their time, not all of it."""

from __future__ import annotations

from urllib.parse import urlsplit

import grpc
import pytest
from windowshop.features.v1 import features_pb2 as pb

from tests.support.features import FeatureServer, event, running_server
from tests.support.proxy import running_proxy
from tests.support.stack import PostgresServer, ValkeyServer
from tests.support.waiting import eventually

COUNT, AVERAGE = "user_purchase_count_30d", "user_avg_order_value"


async def read(server: FeatureServer, *features: str, timeout: float = 1.0) -> pb.GetFeaturesResponse:
    return await server.stub.GetFeatures(
        pb.GetFeaturesRequest(entity="User", id="u1", features=features), timeout=timeout
    )


async def test_a_stored_value_is_served_in_the_callers_time(postgres: PostgresServer, valkey: ValkeyServer) -> None:
    dsn = await postgres.create_database("features")
    target = urlsplit(dsn).port
    assert target is not None
    async with (
        running_proxy(target) as proxy,
        # As it is set in production: a statement has ten seconds.
        running_server(dsn.replace(f":{target}/", f":{proxy.port}/"), valkey.url) as server,
    ):
        await server.write(event("purchase-complete", "u1", "p1", revenue=4.0))
        assert (await read(server, COUNT, timeout=10)).features[COUNT].int_value == 1
        await server.write(event("purchase-complete", "u1", "p1", revenue=4.0))
        proxy.stall()
        for _ in range(4):
            answer = await read(server, COUNT)
            value = answer.features[COUNT]
            assert (value.int_value, value.status, list(answer.degraded)) == (1, pb.STALE, ["event-log"])
            # What is not stored nobody can give; that too is said in time.
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await read(server, AVERAGE)
            assert failure.value.code() is grpc.StatusCode.UNAVAILABLE
        proxy.flow()

        async def caught_up() -> bool:
            try:
                answer = await read(server, COUNT)
            except grpc.aio.AioRpcError:
                return False
            return (answer.features[COUNT].int_value, list(answer.degraded)) == (2, [])

        await eventually(caught_up, 20)
