"""Erasure: a person leaves every store, and neither a late event nor a call under way brings them back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import asyncpg
import grpc
import pytest
from redis.asyncio import Redis
from windowshop.features.v1 import features_pb2 as pb

from services.features.domain.features import ERASED
from services.features.stores import appending
from services.features.stores.computing import PostgresComputer
from services.features.stores.online import RedisOnlineStore
from services.features.stores.packing import unpack
from services.runtime.errors import from_rpc
from tests.support.features import FeatureServer, event, running_server, running_worker
from tests.support.stack import PostgresServer, ValkeyServer
from tests.support.waiting import eventually

VIEW = "detail-page-view"
VIEWS = "user_recent_views"
# A write of a few events goes another way to the log than one of many.
BOTH_WAYS = pytest.mark.parametrize("few", [0, appending.FEW], ids=["many", "few"])


async def erase(server: FeatureServer, entity_id: str, entity: str = "User") -> dict[str, int]:
    request = pb.DeleteEntityRequest(entity=entity, id=entity_id)
    return dict((await server.stub.DeleteEntity(request, timeout=20)).removed)


async def rows(server: FeatureServer, statement: str, *arguments: Any) -> list[Any]:
    connection = await asyncpg.connect(server.dsn)
    try:
        return list(await connection.fetch(statement, *arguments))
    finally:
        await connection.close()


@asynccontextmanager
async def commits_held_up(server: FeatureServer) -> AsyncIterator[None]:
    """For the block, commits wait after they have looked for tombstones and merges, and before they are done."""
    connection = await asyncpg.connect(server.dsn)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE ingests IN SHARE MODE")
            yield
    finally:
        await connection.close()


async def somebody_waits(server: FeatureServer, kind: str) -> None:
    """Returns when a lock of this kind is waited for."""
    waiting = "SELECT FROM pg_locks WHERE locktype = $1 AND NOT granted AND database = (SELECT oid FROM pg_database"

    async def waits() -> bool:
        return bool(await rows(server, f"{waiting} WHERE datname = current_database())", kind))

    await eventually(waits)


async def everything(server: FeatureServer) -> str:
    """All that the log's database holds, as text."""
    tables = await rows(server, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    texts = [await rows(server, f"SELECT t::text FROM {table[0]} t") for table in tables]
    return "\n".join(row[0] for table in texts for row in table)


async def online(valkey: ValkeyServer) -> str:
    """All that the online store holds but the keys of records, as text."""
    async with Redis.from_url(valkey.url) as client:
        found: list[Any] = []
        for key in await client.keys("*"):
            kind = await client.type(key)  # none, when it has ended by now: it may begin again at any moment
            if kind == b"zset":
                found += await client.zrange(key, 0, -1)
            elif kind == b"string":
                found.append(await client.get(key) or b"")
    return bytes(b"\n".join(found)).decode(errors="replace")


async def assert_only_a_mark_is_left(valkey: ValkeyServer, person: str) -> None:
    """In the place of the record, without a value, and not for long."""
    async with Redis.from_url(valkey.url) as client:
        (record,) = await client.keys(f"*:{person}")
        raw: Any = await client.get(record)
        assert set(unpack(raw).entries) == {ERASED}
        assert 0 < await client.pttl(record) <= 120_000


async def is_unknown(server: FeatureServer, entity_id: str, entity: str = "User") -> bool:
    try:
        await server.get(entity, entity_id, VIEWS)
    except grpc.aio.AioRpcError as error:
        return from_rpc(error).reason == "ENTITY_NOT_FOUND"
    return False


async def views(server: FeatureServer, user: str) -> list[str]:
    return list((await server.get("User", user, VIEWS)).features[VIEWS].string_list_value.values)


async def test_a_person_leaves_every_store(server: FeatureServer, valkey: ValkeyServer) -> None:
    await server.write(
        event(VIEW, "person_1", "pillow", "lamp"),
        event("purchase-complete", "person_1", "lamp"),
        event(VIEW, "person_1", "lamp", ago=-200),
        event("home-page-view", "person_1"),
        event(VIEW, "somebody", "lamp"),
    )
    assert await views(server, "person_1") == ["lamp", "pillow"]

    removed = await erase(server, "person_1")

    assert removed == {"events": 4, "lines": 4, "records": 1, "queued": 2}
    assert await is_unknown(server, "person_1")
    assert "person_1" not in await everything(server)
    assert "person_1" not in await online(valkey)
    assert await views(server, "somebody") == ["lamp"]


async def test_erasing_again_and_erasing_a_stranger_answer_with_zeros(server: FeatureServer) -> None:
    await server.write(event(VIEW, "person_1", "lamp"))
    await erase(server, "person_1")
    nothing = {"events": 0, "lines": 0, "records": 0, "queued": 0}

    assert await erase(server, "person_1") == nothing
    assert await erase(server, "nobody") == nothing


async def test_a_guest_is_erased_as_a_visitor_and_is_no_user_of_that_id(server: FeatureServer) -> None:
    await server.write(event(VIEW, "same", "lamp"), event(VIEW, "", "pillow", visitor_id="same"))

    assert (await erase(server, "same", "Visitor"))["events"] == 1

    assert await is_unknown(server, "same", "Visitor")
    assert await views(server, "same") == ["lamp"]


@pytest.mark.parametrize(("entity", "entity_id"), [("Product", "lamp"), ("", "a"), ("User", "~a"), ("User", "")])
async def test_only_persons_are_erased(server: FeatureServer, entity: str, entity_id: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await erase(server, entity_id, entity)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_events_that_come_late_are_counted_and_not_stored(server: FeatureServer) -> None:
    known = event(VIEW, "person_1", "lamp", ago=60)
    ahead = event(VIEW, "person_1", "lamp", ago=-200)
    without_time = event(VIEW, "person_1", "lamp", ago=None)
    await server.write(known, ahead, without_time)
    await erase(server, "person_1")

    answer = await server.write(known, ahead, without_time, event(VIEW, "person_1", "pillow", ago=3_600), known)

    assert (answer.accepted, answer.duplicates, answer.erased) == (0, 0, 5)
    chunks = [pb.ImportEventsRequest(events=[known, event(VIEW, "other", "lamp")])]
    summary = await server.stub.ImportEvents(iter(chunks), timeout=10)
    assert (summary.accepted, summary.duplicates, summary.erased) == (1, 0, 1)
    assert await is_unknown(server, "person_1")
    assert "person_1" not in await everything(server)


async def test_what_happens_after_the_erasure_is_a_new_life(server: FeatureServer) -> None:
    await server.write(event(VIEW, "person_1", "lamp"))
    assert await views(server, "person_1") == ["lamp"]
    await erase(server, "person_1")

    again = event(VIEW, "person_1", "pillow", ago=0.0)
    assert (await server.write(again)).accepted == 1
    assert await views(server, "person_1") == ["pillow"]
    assert await views(server, "person_1") == ["pillow"]  # from the record, which lives again too
    assert (await server.write(again)).duplicates == 1

    assert (await erase(server, "person_1"))["events"] == 1
    assert (await server.write(again)).erased == 1
    assert await is_unknown(server, "person_1")


async def test_products_are_counted_anew_for_the_others(server: FeatureServer, valkey: ValkeyServer) -> None:
    name = "product_popularity_score"

    async def popularity(product: str) -> float:
        return float((await server.get("Product", product, name)).features[name].double_value)

    await server.write(*[event("purchase-complete", "person_1", "lamp") for _ in range(9)])
    await server.write(event("purchase-complete", "other", "lamp"))
    await server.write(*[event("purchase-complete", "other", "best") for _ in range(20)])

    async def counted_with() -> bool:
        return 80 < await popularity("lamp") < 90  # 100 x ln(1 + 5 x 10) / ln(1 + 5 x 20)

    async with running_worker(server.dsn, valkey.url):
        await eventually(counted_with)
        await erase(server, "person_1")

        async def counted_without() -> bool:
            return 38 < await popularity("lamp") < 40  # 100 x ln(1 + 5) / ln(1 + 5 x 20)

        await eventually(counted_without)


@BOTH_WAYS
async def test_a_write_under_way_does_not_bring_a_person_back(
    server: FeatureServer, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """The commit has looked for tombstones and found none when the erasure begins."""
    monkeypatch.setattr(appending, "FEW", few)
    async with commits_held_up(server):
        writing = asyncio.create_task(server.write(event(VIEW, "person_1", "lamp")))
        await somebody_waits(server, "relation")
        erasing = asyncio.create_task(erase(server, "person_1"))
        await somebody_waits(server, "advisory")

    assert (await writing).accepted == 1
    assert (await erasing)["events"] == 1
    assert await is_unknown(server, "person_1")
    assert "person_1" not in await everything(server)


async def test_a_read_under_way_does_not_bring_a_record_back(
    server: FeatureServer, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has computed from the log before the erasure and writes back after it."""
    await server.write(event(VIEW, "person_1", "lamp"))
    computed, release = asyncio.Event(), asyncio.Event()
    write = RedisOnlineStore.write

    async def slowly(*arguments: Any) -> Any:
        computed.set()
        await release.wait()
        return await write(*arguments)

    monkeypatch.setattr(RedisOnlineStore, "write", slowly)
    reading = asyncio.create_task(views(server, "person_1"))
    await computed.wait()
    await erase(server, "person_1")
    release.set()

    assert await reading == ["lamp"]  # asked before
    monkeypatch.undo()
    assert await is_unknown(server, "person_1")
    await assert_only_a_mark_is_left(valkey, "person_1")
    async with running_worker(server.dsn, valkey.url):

        async def nothing_is_due() -> bool:
            return "person_1" not in await online(valkey)

        await eventually(nothing_is_due)


async def test_a_refresh_under_way_does_not_bring_a_record_back(
    server: FeatureServer, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's batch was read and computed before the erasure, and is stored after it."""
    await server.write(event("purchase-complete", "person_1", "lamp"))
    computed, release = asyncio.Event(), asyncio.Event()
    compute = PostgresComputer.compute

    async def slowly(self: Any, feature: Any, ids: Any, now_ms: int) -> Any:
        values = await compute(self, feature, ids, now_ms)
        if "person_1" in ids:
            computed.set()
            await release.wait()
        return values

    monkeypatch.setattr(PostgresComputer, "compute", slowly)
    async with running_worker(server.dsn, valkey.url):
        await computed.wait()
        await erase(server, "person_1")
        release.set()
        # Its turn comes after the batch that is under way.
        await server.write(event("purchase-complete", "somebody", "lamp"))

        async def next_batch_is_stored() -> bool:
            async with Redis.from_url(valkey.url) as client:
                found = await client.keys("*:somebody")
                return bool(found) and await client.strlen(found[0]) > 8

        await eventually(next_batch_is_stored)

    await assert_only_a_mark_is_left(valkey, "person_1")
    assert "person_1" not in await online(valkey)
    assert await is_unknown(server, "person_1")


async def test_a_mark_that_comes_late_leaves_nothing(server: FeatureServer, valkey: ValkeyServer) -> None:
    """Of a commit before the erasure: while the record's mark is there (person_1), and when it has ended (person_2)."""
    await server.write(event(VIEW, "person_1", "lamp"), event(VIEW, "person_2", "lamp"))
    await erase(server, "person_1")
    await server.execute("DELETE FROM events WHERE user_id = 'person_2'")
    await server.execute("DELETE FROM event_lines WHERE subject_id = 'person_2'")
    await server.execute("DELETE FROM subjects WHERE subject_id = 'person_2'")
    async with Redis.from_url(valkey.url) as client:
        (record,) = await client.keys("*:person_1")
        await client.setrange(record, 0, b"a token.")
        await client.zadd("ws:1:marks:{marks}:due:User", {"person_1": 1})
        assert await client.keys("*:person_2") != []

    assert await is_unknown(server, "person_1")
    async with running_worker(server.dsn, valkey.url):

        async def gone() -> bool:
            return "person" not in await online(valkey)

        await eventually(gone)
    async with Redis.from_url(valkey.url) as client:
        assert await client.keys("*:person_2") == []
        assert 0 < await client.pttl(record) <= 120_000


async def test_many_rows_go_in_pages(server: FeatureServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.features.stores.erasure._PAGE", 3)
    await server.write(*[event(VIEW, "crawler", "a", "b", "c", "d") for _ in range(7)])

    removed = await erase(server, "crawler")

    assert (removed["events"], removed["lines"]) == (7, 28)
    assert "crawler" not in await everything(server)


async def test_writes_and_reads_all_the_while_leave_nothing(server: FeatureServer, valkey: ValkeyServer) -> None:
    """Old events in a storm, from several senders, with readers and a worker: whichever comes first, none is left."""
    people = [f"person_{number}" for number in range(5)]
    stop = asyncio.Event()

    async def write(person: str) -> None:
        while not stop.is_set():
            await server.write(*[event(VIEW, person, "lamp", ago=60) for _ in range(20)])

    async def read(person: str) -> None:
        while not stop.is_set():
            await is_unknown(server, person)

    async with running_worker(server.dsn, valkey.url):
        storm = [asyncio.create_task(task(person)) for person in people for task in (write, read)]
        for person in people:
            await eventually(partial(_is_known, server, person))
        removed = [await erase(server, person) for person in people]
        assert all(counts["events"] for counts in removed)
        # Some of what follows is dropped, and all of it is.
        assert (await server.write(event(VIEW, people[0], "lamp", ago=60))).erased == 1
        stop.set()
        await asyncio.gather(*storm)

        async def nothing_is_due() -> bool:
            return "person_" not in await online(valkey)

        await eventually(nothing_is_due)
    assert all([await is_unknown(server, person) for person in people])
    assert "person_" not in await everything(server)


async def _is_known(server: FeatureServer, person: str) -> bool:
    return not await is_unknown(server, person)


async def test_with_a_store_down_it_is_refused_and_repeated(postgres: PostgresServer, valkey_factory: Any) -> None:
    own = await valkey_factory()
    async with running_server(await postgres.create_database("features"), own.url) as server:
        await server.write(event(VIEW, "person_1", "lamp"))
        await own.kill()

        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await erase(server, "person_1")
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        assert from_rpc(raised.value).reason == "ERASURE_INCOMPLETE"
        assert from_rpc(raised.value).retry_after

        await own.restart(wipe=False)

        async def repeated() -> dict[str, int] | None:
            try:
                return await erase(server, "person_1")
            except grpc.aio.AioRpcError:
                return None

        removed = await eventually(repeated)
        assert removed is not None
        assert removed["events"] == 1
