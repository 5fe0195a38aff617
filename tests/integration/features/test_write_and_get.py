"""What is written is read, over real gRPC with real stores."""

from __future__ import annotations

import grpc
import pytest
from windowshop.features.v1 import features_pb2 as pb

from tests.support.features import FeatureServer, event


async def test_reader_sees_its_own_write(server: FeatureServer) -> None:
    await server.stock("p1", "Toys")
    await server.stock("p2", "Books")
    for product, category in [("p1", "Toys"), ("p2", "Books"), ("p1", "Toys")]:
        assert (await server.write(event("detail-page-view", "u1", product, ago=None))).accepted == 1
        answer = await server.get("User", "u1")
        value = answer.features["user_browsing_category"]
        assert (value.string_value, value.status) == (category, pb.PRESENT)
        assert not answer.degraded


async def test_resent_events_are_duplicates(server: FeatureServer) -> None:
    first = event("purchase-complete", "u1", "p1", revenue=10.0)
    second = event("purchase-complete", "u1", "p1", revenue=20.0)
    assert (await server.write(first, second, first)).duplicates == 1
    again = await server.write(second, first)
    assert (again.accepted, again.duplicates) == (0, 2)
    answer = await server.get("User", "u1", "user_purchase_count_30d", "user_avg_order_value")
    assert answer.features["user_purchase_count_30d"].int_value == 2
    assert answer.features["user_avg_order_value"].double_value == 15.0


async def test_unknown_entity(server: FeatureServer) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await server.get("User", "nobody")
    assert failure.value.code() is grpc.StatusCode.NOT_FOUND
