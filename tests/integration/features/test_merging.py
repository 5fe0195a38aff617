"""A guest signs in: history moves to the user, late events follow, and nothing that was erased comes back."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from redis.asyncio import Redis
from windowshop.features.v1 import features_pb2 as pb

from services.features.app import open_parts
from services.features.marking import Marker
from services.features.ports import EVENT_LOG, StoreDownError
from services.features.stores import appending
from services.features.stores.merging import PostgresMerges
from services.features.stores.online import RedisOnlineStore
from services.features.stores.retention import PostgresLogKeeper
from services.runtime.errors import from_rpc
from tests.integration.features.test_erasure import (
    BOTH_WAYS,
    VIEW,
    VIEWS,
    commits_held_up,
    erase,
    everything,
    is_unknown,
    rows,
    somebody_waits,
    views,
)
from tests.support.features import FeatureServer, event, running_worker
from tests.support.stack import ValkeyServer
from tests.support.waiting import eventually

COUNT, RATING, HISTORY = "user_purchase_count_30d", "product_rating", "user_purchase_history"
ORDER = "purchase-complete"


async def merge(server: FeatureServer, visitor_id: str = "v", user_id: str = "u") -> tuple[int, int, int]:
    request = pb.MergeVisitorRequest(visitor_id=visitor_id, user_id=user_id)
    answer = await server.stub.MergeVisitor(request, timeout=20)
    return answer.events, answer.lines, answer.erased


def by_guest(kind: str, *products: str, visitor: str = "v", **fields: Any) -> pb.Event:
    return event(kind, "", *products, visitor_id=visitor, **fields)


async def seen_by(server: FeatureServer, visitor_id: str) -> list[str]:
    return list((await server.get("Visitor", visitor_id, VIEWS)).features[VIEWS].string_list_value.values)


async def test_the_history_is_the_users(server: FeatureServer) -> None:
    await server.write(
        event(ORDER, "u", "lamp", ago=500), by_guest(VIEW, "pillow", "sofa", ago=300), by_guest(ORDER, "lamp", ago=200),
        by_guest("home-page-view", ago=100), event(VIEW, "u", "desk", ago=250), by_guest(VIEW, "bed", visitor="other"),
    )  # fmt: skip
    for entity, entity_id in (("User", "u"), ("Visitor", "v")):  # so that there are records to be wrong
        await server.get(entity, entity_id, VIEWS, COUNT, HISTORY)

    assert await merge(server) == (3, 3, 0)

    features = (await server.get("User", "u", VIEWS, COUNT, HISTORY)).features
    assert list(features[VIEWS].string_list_value.values) == ["desk", "sofa", "pillow"]
    assert features[COUNT].int_value == 2
    table = features[HISTORY].table_value
    assert (list(table.keys), dict(zip(table.columns, table.values, strict=True))["orders"]) == (["lamp"], 2)
    assert await is_unknown(server, "v", "Visitor")
    assert await seen_by(server, "other") == ["bed"]
    training = [row async for row in server.stub.ReadTrainingRows(pb.ReadTrainingRowsRequest(), timeout=10)]
    assert [user for chunk in training for user in chunk.user_ids] == ["u"] * 5


async def test_merging_again_and_merging_a_stranger_answer_with_zeros(server: FeatureServer) -> None:
    await server.write(by_guest(VIEW, "lamp"))
    assert await merge(server) == (1, 1, 0)
    assert await merge(server) == (0, 0, 0)
    assert await merge(server, "nobody", "nothing") == (0, 0, 0)
    assert await views(server, "u") == ["lamp"]
    assert await is_unknown(server, "nothing")
    assert len(await rows(server, "SELECT FROM merged_visitors WHERE visitor_id = 'v'")) == 1


async def test_what_arrives_late_is_the_users_and_what_is_new_the_guests(server: FeatureServer) -> None:
    known = by_guest(VIEW, "lamp", ago=60)
    await server.write(known)
    assert await views(server, "u2") == [] if not await is_unknown(server, "u2") else True
    await merge(server)
    late = by_guest(VIEW, "pillow", ago=30)
    assert (await server.write(late, known)).duplicates == 1
    assert await views(server, "u") == ["pillow", "lamp"]
    assert await is_unknown(server, "v", "Visitor")
    # Somebody else at the same device.
    await server.write(by_guest(VIEW, "sofa"))
    assert await seen_by(server, "v") == ["sofa"]
    assert await merge(server, "v", "u2") == (1, 1, 0)
    between = await rows(server, "SELECT until FROM merged_visitors ORDER BY until")
    first, second = (row["until"].timestamp() for row in between)
    now = time.time()
    await server.write(
        by_guest(VIEW, "desk", ago=now - first + 0.001), by_guest(VIEW, "bed", ago=now - (first + second) / 2),
        event(VIEW, "", "rug", visitor_id="v", ago=None),
    )  # fmt: skip
    assert set(await views(server, "u")) == {"lamp", "pillow", "desk"}
    assert set(await views(server, "u2")) == {"sofa", "bed"}
    assert await seen_by(server, "v") == ["rug"]
    # The first one again.
    await merge(server)
    assert set(await views(server, "u")) == {"lamp", "pillow", "desk", "rug"}
    assert len(await rows(server, "SELECT FROM merged_visitors")) == 3


async def test_what_was_dated_ahead_has_happened(server: FeatureServer) -> None:
    await server.write(by_guest(VIEW, "lamp", ago=-200))
    assert (await merge(server))[:2] == (1, 1)
    assert await merge(server, "v", "u2") == (0, 0, 0)
    await server.write(by_guest(VIEW, "pillow", ago=30))
    assert await views(server, "u") == ["pillow"]


async def test_a_users_newest_rating_replaces_the_guests(server: FeatureServer, valkey: ValkeyServer) -> None:
    await server.write(
        by_guest("rate", "lamp", rating=5.0, ago=60), event("rate", "u", "lamp", rating=1.0, ago=30),
        event("rate", "other", "lamp", rating=3.0),
    )  # fmt: skip

    async def rating() -> float:
        return float((await server.get("Product", "lamp", RATING)).features[RATING].double_value)

    assert await rating() == 3.0
    async with running_worker(server.dsn, valkey.url):
        await merge(server)

        async def counted_once() -> bool:
            return await rating() == 2.0

        await eventually(counted_once)


async def test_a_long_history_moves_in_pages(server: FeatureServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.features.stores.merging._PAGE", 3)
    await server.write(*[by_guest(VIEW, "a", "b", ago=86_400 * day) for day in range(20)])
    await server.write(*[by_guest(VIEW, "c", ago=3_600, event_id=f"at-once-{n}") for n in range(5)])
    assert await merge(server) == (25, 45, 0)
    days = await rows(server, "SELECT last_day - first_day FROM subjects")
    assert [row[0] for row in days] == [19]


async def test_a_call_that_dies_half_way_is_repeated(server: FeatureServer, monkeypatch: pytest.MonkeyPatch) -> None:
    await _merge_halfway(server, monkeypatch)
    assert await merge(server, "v", "u2") == (7, 7, 0)  # whoever calls finishes what was begun, for whom it was
    assert len(await views(server, "u")) == 10
    assert await is_unknown(server, "v", "Visitor")
    assert await is_unknown(server, "u2")


async def _merge_halfway(server: FeatureServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten events of a guest, of which three are the user's when the process dies, unmarked."""
    await server.write(*[by_guest(VIEW, f"p{n}", ago=60 + n) for n in range(10)])
    finish = PostgresMerges._move
    pages = 0

    async def dying(*arguments: Any) -> Any:
        nonlocal pages
        pages += 1
        if pages > 1:
            raise RuntimeError("died")
        return await finish(*arguments)

    before = len(await rows(server, "SELECT FROM events WHERE subject_id = 'u'"))
    with monkeypatch.context() as half:
        half.setattr(Marker, "mark", _no_mark)
        half.setattr("services.features.stores.merging._PAGE", 3)
        half.setattr(PostgresMerges, "_move", dying)
        with pytest.raises(grpc.aio.AioRpcError):
            await merge(server)
    assert len(await rows(server, "SELECT FROM events WHERE subject_id = 'u'")) == before + 3


async def _no_mark(*_: Any) -> None:
    """The process dies before it."""


@pytest.mark.parametrize("whole", [True, False])
async def test_erasing_the_user_erases_what_was_merged(
    server: FeatureServer, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    if whole:
        await server.write(*[by_guest(VIEW, f"p{n}", ago=60 + n) for n in range(10)])
        await merge(server)
    else:
        await _merge_halfway(server, monkeypatch)
    await server.write(by_guest(VIEW, "bed"))  # a new life

    assert (await erase(server, "u"))["events"] == 10

    assert await is_unknown(server, "u")
    assert await rows(server, "SELECT FROM merged_visitors") == []
    late = [by_guest(VIEW, "sofa", ago=30), by_guest(VIEW, "p1", ago=61), event(VIEW, "u", "sofa", ago=30)]
    assert (await server.write(*late)).erased == 3
    assert "sofa" not in await everything(server)
    assert await seen_by(server, "v") == ["bed"]
    # The merge is forgotten, a new one is a new one: with what was done since the user was erased.
    await server.write(by_guest(VIEW, "rug"))
    assert await merge(server) == (1, 1, 1)
    assert await views(server, "u") == ["rug"]


async def test_a_user_who_is_erased_meanwhile_gets_nothing_back(
    server: FeatureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.features.stores.merging._PAGE", 3)
    await server.write(*[by_guest(VIEW, f"p{n}", ago=60 + n) for n in range(10)])
    moved, release = asyncio.Event(), asyncio.Event()
    move = PostgresMerges.move

    async def slowly(*arguments: Any) -> Any:
        page = await move(*arguments)
        moved.set()
        await release.wait()
        return page

    monkeypatch.setattr(PostgresMerges, "move", slowly)
    merging = asyncio.create_task(merge(server))
    await moved.wait()
    assert (await erase(server, "u"))["events"] == 10
    release.set()
    assert await merging == (3, 3, 0)
    for entity, entity_id in (("User", "u"), ("Visitor", "v")):
        assert await is_unknown(server, entity_id, entity)
    assert await rows(server, "SELECT FROM events") == []


async def test_erasing_the_guest_leaves_the_users_history(server: FeatureServer) -> None:
    await server.write(by_guest(VIEW, "lamp", ago=60))
    await merge(server)
    await server.write(by_guest(VIEW, "bed"))

    assert (await erase(server, "v", "Visitor"))["events"] == 1

    assert await views(server, "u") == ["lamp"]
    assert await is_unknown(server, "v", "Visitor")
    assert await rows(server, "SELECT FROM merged_visitors") == []
    assert (await server.write(by_guest(VIEW, "sofa", ago=30))).erased == 1
    assert await views(server, "u") == ["lamp"]


async def test_what_the_users_erasure_covers_is_removed_and_not_moved(server: FeatureServer) -> None:
    old = by_guest(VIEW, "lamp", ago=60)
    await server.write(old, event(VIEW, "u", "sofa"))
    await erase(server, "u")
    await server.write(by_guest(VIEW, "bed"))

    assert await merge(server) == (1, 1, 1)

    assert await views(server, "u") == ["bed"]
    assert "lamp" not in await everything(server)
    assert (await server.write(old, by_guest(VIEW, "desk", ago=30))).erased == 2
    assert await merge(server) == (0, 0, 0)


async def test_an_erased_guest_does_not_come_back_as_a_user(server: FeatureServer) -> None:
    old = by_guest(VIEW, "lamp", ago=60)
    await server.write(old)
    await erase(server, "v", "Visitor")
    assert await merge(server) == (0, 0, 0)
    assert (await server.write(old, by_guest(VIEW, "desk", ago=30))).erased == 2
    assert await is_unknown(server, "u")


@BOTH_WAYS
async def test_a_write_under_way_is_waited_for(
    server: FeatureServer, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    """The commit has found no merge of its guest when the merge begins."""
    monkeypatch.setattr(appending, "FEW", few)
    async with commits_held_up(server):
        writing = asyncio.create_task(server.write(by_guest(VIEW, "lamp")))
        await somebody_waits(server, "relation")
        merging = asyncio.create_task(merge(server))
        await somebody_waits(server, "advisory")
    assert (await writing).accepted == 1
    assert await merging == (1, 1, 0)
    assert await views(server, "u") == ["lamp"]


async def test_writes_and_merges_all_the_while_lose_nothing(server: FeatureServer, valkey: ValkeyServer) -> None:
    """Old events of guests in a storm, some by way of several calls for the same merge: all become the users'."""
    guests = [f"guest-{n}" for n in range(4)]
    sent = dict.fromkeys(guests, 0)
    stop = asyncio.Event()

    async def write(visitor: str) -> None:
        while not stop.is_set():
            first = sent[visitor]
            sent[visitor] += 20
            await server.write(
                *[by_guest(ORDER, "p", visitor=visitor, event_id=f"{visitor}-{first + n}", ago=60) for n in range(20)]
            )

    async with running_worker(server.dsn, valkey.url):
        storm = [asyncio.create_task(write(visitor)) for visitor in guests]
        await eventually(lambda: min(sent.values()) > 100)
        for visitor in guests:
            await asyncio.gather(*[merge(server, visitor, f"user-{visitor}") for _ in range(3)])
        stop.set()
        await asyncio.gather(*storm)
        for visitor in guests:
            assert await is_unknown(server, visitor, "Visitor")
            answer = await server.get("User", f"user-{visitor}", COUNT)
            assert answer.features[COUNT].int_value == sent[visitor]
            assert await merge(server, visitor, f"user-{visitor}") == (0, 0, 0)


@pytest.mark.parametrize("died", ["before the marks", "half way"])
async def test_the_log_tail_repeats_the_marks_of_a_merge(
    server: FeatureServer, valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch, died: str
) -> None:
    await server.write(event(VIEW, "u", "lamp", ago=90))
    if died == "before the marks":
        await server.write(*[by_guest(VIEW, f"p{n}", ago=60) for n in range(9)])
    await the_tail_has_seen_all(server, valkey)
    assert await views(server, "u") == ["lamp"]

    if died == "half way":
        await _merge_halfway(server, monkeypatch)
        expected = 4
    else:
        assert len(await seen_by(server, "v")) == 9
        with monkeypatch.context() as silent:
            silent.setattr(Marker, "mark", _no_mark)
            silent.setattr(RedisOnlineStore, "erase", _no_mark)
            await merge(server)
        assert len(await seen_by(server, "v")) == 9
        expected = 10
    assert await views(server, "u") == ["lamp"]  # nobody told
    async with running_worker(server.dsn, valkey.url):

        async def told() -> bool:
            return len(await views(server, "u")) == expected

        await eventually(told)
        if died == "before the marks":
            await eventually(lambda: is_unknown(server, "v", "Visitor"))


async def test_merges_are_kept_for_as_long_as_events_are(server: FeatureServer) -> None:
    await merge(server, "v", "u")
    await merge(server, "v2", "u")
    await server.execute("UPDATE merged_visitors SET until = until - interval '2 days' WHERE visitor_id = 'v'")
    async with AsyncExitStack() as closers:
        keeper = PostgresLogKeeper((await open_parts(server.settings, closers)).database)
        assert [page async for page in keeper.forget(time.time_ns() // 1_000 - 86_400_000_000)] == []
    assert [row[0] for row in await rows(server, "SELECT visitor_id FROM merged_visitors")] == ["v2"]


async def the_tail_has_seen_all(server: FeatureServer, valkey: ValkeyServer) -> None:
    """What a worker does from here on is due to what is written from here on; none runs on return."""

    async def seen() -> bool:
        (newest,) = (await rows(server, "SELECT max(ingest_xid::text::bigint) FROM ingests"))[0]
        async with Redis.from_url(valkey.url) as redis:
            cursor = await redis.get("ws:1:marks:{marks}:cursor")
            soon = await redis.zcount("ws:1:marks:{marks}:due:User", "-inf", time.time() * 1_000 + 45_000)
        return cursor is not None and int(cursor) > newest and soon == 0

    async with running_worker(server.dsn, valkey.url):
        await eventually(seen)


@pytest.mark.parametrize(
    ("visitor", "user", "field"), [("", "u", "visitorId"), ("v", "~u", "userId"), ("v", "", "userId")]
)
async def test_ids_are_checked(server: FeatureServer, visitor: str, user: str, field: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await merge(server, visitor, user)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert from_rpc(raised.value).violations[0].field == field


async def test_a_merge_that_died_at_its_end_leaves_no_guest_behind_an_erasure(
    server: FeatureServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All has moved, and the guest's record says so; that nobody is there any more has not been written."""
    await server.write(by_guest(VIEW, "lamp"))
    with monkeypatch.context() as dying:
        dying.setattr(PostgresMerges, "_finish", _down)
        with pytest.raises(grpc.aio.AioRpcError):
            await merge(server)
    assert await seen_by(server, "v") == []
    assert (await erase(server, "u"))["events"] == 1
    assert await is_unknown(server, "v", "Visitor")


async def _down(*_: Any) -> None:
    raise StoreDownError(EVENT_LOG, "died")
