"""A guest is read as a Visitor, and is never a user, whatever id a browser chooses."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import asyncpg
import grpc
import pytest
from redis.asyncio import Redis
from windowshop.features.v1 import features_pb2 as pb

from services.features.app import MIGRATIONS
from services.runtime.errors import from_rpc
from services.runtime.migrations import migrate
from tests.support.features import FeatureServer, event, running_server, running_worker
from tests.support.stack import PostgresServer, ValkeyServer
from tests.support.waiting import eventually

COUNT, VIEWS = "user_purchase_count_30d", "user_recent_views"


async def orders(server: FeatureServer, entity: str, entity_id: str) -> int:
    return (await server.get(entity, entity_id, COUNT)).features[COUNT].int_value


async def test_a_visitor_id_that_equals_a_user_id_is_somebody_else(server: FeatureServer) -> None:
    await server.write(event("purchase-complete", "u1", "p1"))
    assert await orders(server, "User", "u1") == 1
    for _ in range(3):
        await server.write(event("purchase-complete", "", "p1", visitor_id="u1"))
    assert (await orders(server, "User", "u1"), await orders(server, "Visitor", "u1")) == (1, 3)
    await server.write(event("rate", "u1", "p1", rating=1.0), event("rate", "", "p1", visitor_id="u1", rating=5.0))
    rating = (await server.get("Product", "p1", "product_rating")).features["product_rating"]
    assert rating.double_value == 3.0


async def test_visitors_are_asked_for_as_users_are(server: FeatureServer) -> None:
    await server.write(event("detail-page-view", "", "p1", visitor_id="v1"), event("search", "u1", visitor_id="v2"))
    batch = await server.batch("Visitor", ["v1", "v2", "u1"], VIEWS)
    assert (batch.entity, list(batch.ids)) == ("Visitor", ["v1", "v2", "u1"])
    assert list(batch.columns[0].statuses) == [pb.PRESENT, pb.NOT_FOUND, pb.NOT_FOUND]
    request = pb.RefreshFeaturesRequest(entity="Visitor", id="v1", features=[VIEWS])
    fresh = await server.stub.RefreshFeatures(request, timeout=5)
    assert (fresh.entity, fresh.id) == ("Visitor", "v1")
    assert list(fresh.features[VIEWS].string_list_value.values) == ["p1"]
    for entity, entity_id, name, reason in (
        ("Visitor", "~v1", VIEWS, "INVALID_ID"),
        ("User", "~v1", VIEWS, "INVALID_ID"),
        ("Visitor", "v1", "product_rating", "FEATURE_NOT_FOUND"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await server.get(entity, entity_id, name)
        assert from_rpc(failure.value).reason == reason


async def test_the_worker_keeps_visitors_fresh(server: FeatureServer, valkey: ValkeyServer) -> None:
    async with running_worker(server.dsn, valkey.url):
        await server.write(event("purchase-complete", "", "p1", visitor_id="v1"))

        async def stored() -> bool:
            async with Redis.from_url(valkey.url) as redis:
                lengths = [await redis.strlen(key) async for key in redis.scan_iter("ws:1:{User*}:~v1")]
            return any(length > 8 for length in lengths)

        await eventually(stored)
        assert await orders(server, "Visitor", "v1") == 1


async def test_guests_of_an_older_log_are_visitors(
    postgres: PostgresServer, valkey: ValkeyServer, tmp_path: Path
) -> None:
    dsn = await postgres.create_database()
    shutil.copy(MIGRATIONS / "0001.event-log.sql", tmp_path)
    await asyncio.to_thread(migrate, dsn, tmp_path)
    connection = await asyncpg.connect(dsn)
    for place, (user, visitor) in enumerate([("u1", None), ("u1", "v1"), (None, "u1")], 1):
        await connection.execute(
            "INSERT INTO events (event_id, event_type, user_id, visitor_id, subject_id, event_time)"
            " VALUES ($1, 'detail-page-view', $2, $3, coalesce($2, $3), now())",
            f"e{place}", user, visitor,
        )  # fmt: skip
        await connection.execute(
            "INSERT INTO event_lines (seq, line, event_type, subject_id, guest, product_id, quantity, event_time)"
            " VALUES ($1, 0, 'detail-page-view', 'u1', $2, $3, 1, now())",
            place, user is None, f"p{place}",
        )  # fmt: skip
    await connection.close()
    async with running_server(dsn, valkey.url) as server:
        for entity, products in (("User", {"p1", "p2"}), ("Visitor", {"p3"})):
            answer = await server.get(entity, "u1", VIEWS)
            assert set(answer.features[VIEWS].string_list_value.values) == products
