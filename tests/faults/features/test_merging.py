"""A guest signs in on a bad day: the merge is durable or refused, and the features follow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import grpc
import pytest
from windowshop.features.v1 import features_pb2 as pb

from services.features.marking import Marker
from services.features.ports import ONLINE_STORE, StoreDownError
from services.features.stores.online import RedisOnlineStore
from services.runtime.errors import from_rpc
from tests.faults.features.test_stores_down import PostgresFactory, ValkeyFactory, orders
from tests.integration.features.test_merging import the_tail_has_seen_all
from tests.support.features import FeatureServer, event, running_server, running_worker
from tests.support.stack import PostgresServer, ValkeyServer
from tests.support.waiting import eventually

ORDER, COUNT = "purchase-complete", "user_purchase_count_30d"


@pytest.fixture
async def server(postgres: PostgresServer, valkey: ValkeyServer) -> AsyncIterator[FeatureServer]:
    async with running_server(await postgres.create_database("features"), valkey.url) as running:
        yield running


async def merge(server: FeatureServer) -> tuple[int, int]:
    answer = await server.stub.MergeVisitor(pb.MergeVisitorRequest(visitor_id="v", user_id="u"), timeout=15)
    return answer.events, answer.lines


async def count(server: FeatureServer, entity: str, entity_id: str) -> int | None:
    """None: nobody knows the entity."""
    try:
        return (await server.get(entity, entity_id, COUNT)).features[COUNT].int_value
    except grpc.aio.AioRpcError as error:
        if from_rpc(error).reason != "ENTITY_NOT_FOUND":
            raise
        return None


async def filled(server: FeatureServer) -> None:
    """Two orders of a guest, one of a user, and what the online store says of both."""
    await server.write(event(ORDER, "u", "p1"), *[event(ORDER, "", "p1", visitor_id="v") for _ in range(2)])
    assert (await count(server, "User", "u"), await count(server, "Visitor", "v")) == (1, 2)


async def is_merged(server: FeatureServer) -> bool:
    return (await count(server, "User", "u"), await count(server, "Visitor", "v")) == (3, None)


async def test_without_redis_a_guest_signs_in(postgres: PostgresServer, valkey_factory: ValkeyFactory) -> None:
    valkey = await valkey_factory()
    dsn = await postgres.create_database("features")
    async with running_server(dsn, valkey.url) as server, running_worker(dsn, valkey.url):
        await filled(server)
        await valkey.kill()
        assert await merge(server) == (2, 2)
        assert await orders(server, "u") == (3, ["online-store"])
        assert await count(server, "Visitor", "v") is None
        await valkey.restart(wipe=False)
        await eventually(lambda: is_merged(server))


async def test_marks_that_nobody_remembers_come_from_the_log(
    server: FeatureServer, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis is away during the merge and keeps what it had; the server that owes the marks ends before it is back."""
    await filled(server)
    await the_tail_has_seen_all(server, valkey)
    assert (await count(server, "User", "u"), await count(server, "Visitor", "v")) == (1, 2)
    with monkeypatch.context() as away:
        for name in ("mark", "erase"):
            away.setattr(RedisOnlineStore, name, _away)
        away.setattr(Marker, "_owe", lambda *_: None)
        assert await merge(server) == (2, 2)
    assert (await count(server, "User", "u"), await count(server, "Visitor", "v")) == (1, 2)  # as it was kept
    async with running_worker(server.dsn, valkey.url):
        await eventually(lambda: is_merged(server))


async def _away(*_: object) -> None:
    raise StoreDownError(ONLINE_STORE, "away")


async def test_without_the_log_it_is_refused_and_repeated(
    postgres_factory: PostgresFactory, valkey: ValkeyServer
) -> None:
    postgres = await postgres_factory()
    dsn = await postgres.create_database("features")
    async with running_server(dsn, valkey.url) as server:
        await filled(server)
        await postgres.stop()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await merge(server)
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert from_rpc(raised.value).reason == "MERGE_INCOMPLETE"
        assert from_rpc(raised.value).retry_after
        await postgres.start()

        async def repeated() -> tuple[int, int] | None:
            try:
                return await merge(server)
            except grpc.aio.AioRpcError:
                return None

        assert await eventually(repeated) == (2, 2)
        assert await is_merged(server)


async def test_a_log_that_is_cut_off_in_the_middle_loses_nothing(
    postgres_factory: PostgresFactory, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed again and again under calls that are repeated: each event is moved once."""
    monkeypatch.setattr("services.features.stores.merging._PAGE", 5)
    postgres = await postgres_factory()
    dsn = await postgres.create_database("features")
    async with running_server(dsn, valkey.url) as server:
        await server.write(*[event(ORDER, "", "p1", visitor_id="v", ago=float(n + 60)) for n in range(500)])
        done = asyncio.Event()

        async def repeat() -> None:
            while not done.is_set():
                with suppress(grpc.aio.AioRpcError):
                    await merge(server)
                    done.set()
                await asyncio.sleep(0.01)  # what a caller waits before it calls again

        merging = asyncio.create_task(repeat())
        for _ in range(3):
            await eventually(lambda: _some_moved(server))
            await postgres.kill()
            await postgres.start()
        await asyncio.wait_for(merging, 60)
        assert (await count(server, "User", "u"), await count(server, "Visitor", "v")) == (500, None)


async def _some_moved(server: FeatureServer) -> bool:
    try:
        return bool(await count(server, "User", "u"))
    except grpc.aio.AioRpcError:
        return False
