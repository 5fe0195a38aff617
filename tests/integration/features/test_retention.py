"""What is older than is kept leaves the log in whole days and months, beside writers and readers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import asyncpg
import grpc
import pytest
from pydantic import ValidationError

from services.features.ports import StoreDownError
from services.features.retaining import Retention
from services.features.retention_ports import Removed
from services.features.stores import erasure, merging, retention
from services.features.stores.postgres import Database
from services.features.stores.retention import PostgresLogKeeper
from services.runtime.errors import from_rpc
from tests.support.event_log import DAY_US, Process, process, stored
from tests.support.features import event, running_server, running_worker, settings
from tests.support.stack import PostgresServer, ValkeyServer
from tests.support.waiting import eventually

# Noon of the first day that is kept; the month began before it.
NOW_US = int(datetime(2026, 2, 11, 12, tzinfo=UTC).timestamp()) * 1_000_000
DAY = 86_400
KEPT = 400
# An online store that nothing is asked of.
NO_RECORDS: Any = None


@pytest.fixture
async def one(postgres: PostgresServer) -> AsyncIterator[Process]:
    async with process(await postgres.create_database("features")) as opened:
        yield opened


@pytest.mark.parametrize("days", [1, 364, -1, 40_000])
def test_less_than_a_feature_looks_back_is_refused(days: int) -> None:
    with pytest.raises(ValidationError, match="365"):
        settings("postgresql://none", "redis://none", FEATURES_RETENTION_DAYS=days)


async def test_events_are_taken_up_to_the_limit(postgres: PostgresServer, valkey: ValkeyServer) -> None:
    async with running_server(
        await postgres.create_database("features"), valkey.url, FEATURES_RETENTION_DAYS=KEPT
    ) as server:
        written = await server.write(
            event("detail-page-view", "u", "p", ago=KEPT * DAY - 60),
            event("detail-page-view", "u", "p", ago=KEPT * DAY + 60),
            event("detail-page-view", "u", "p", ago=5_000 * DAY),
            event("detail-page-view", "u", "p"),
        )
    assert written.accepted == 2
    assert [(why.index, why.reason, why.field) for why in written.rejected] == [
        (1, "EVENT_TOO_OLD", "eventTime"), (2, "EVENT_TOO_OLD", "eventTime"),
    ]  # fmt: skip


async def test_without_a_limit_the_year_2000_is_one(postgres: PostgresServer, valkey: ValkeyServer) -> None:
    async with running_server(await postgres.create_database("features"), valkey.url) as server:
        ago = time.time() - 946_684_800
        written = await server.write(
            event("detail-page-view", "u", "p", ago=ago - 60), event("detail-page-view", "u", "p", ago=ago + 60)
        )
        assert (written.accepted, [why.reason for why in written.rejected]) == (1, ["EVENT_TOO_OLD"])


async def test_days_and_months_before_the_limit_go(one: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_SUBJECTS_OF_PAGE", 2)
    monkeypatch.setattr(retention, "_BLOCKS_OF_PAGE", 1)
    old = [stored(NOW_US - n * DAY_US, f"u{n}", event_id=f"e{n}") for n in range(50)]
    # Enough on a day for several pages, and somebody with an old and a new event.
    await one.log.append(
        [*old, stored(NOW_US, "u40", event_id="new"), *(stored(NOW_US - DAY_US, "crawler") for _ in range(500))]
    )

    keeper = PostgresLogKeeper(one.database)
    # 49 days before the 11th of February, and the lines of December and January.
    assert await keeper.drop(NOW_US) == Removed(partitions=49 + 2, events=49 + 500)
    pages = [page async for page in keeper.forget(NOW_US)]
    assert sorted(i for page in pages for i in page) == sorted(["crawler", *(f"u{n}" for n in range(1, 50) if n != 40)])
    assert len(pages) == 25
    assert await one.partitions() == {"events_20260211", "event_lines_202602"}
    assert await one.column("SELECT event_id FROM events ORDER BY 1") == ["e0", "new"]
    assert await one.column("SELECT event_id FROM event_ids ORDER BY 1") == ["e0", "new"]
    assert await one.column("SELECT subject_id FROM subjects ORDER BY 1") == ["u0", "u40"]
    assert await one.column("SELECT count(*) FROM pg_tables WHERE tablename ~ '^event(s|_lines)_[0-9]+$'") == [2]
    # The id is free again, and its sender refused by time.
    assert list((await one.log.append([stored(NOW_US, event_id="e1")])).new) == [True]
    assert await keeper.drop(NOW_US) == Removed(0, 0)
    assert [page async for page in keeper.forget(NOW_US)] == []


async def test_writers_and_readers_notice_nothing(one: Process) -> None:
    """New events, late ones of days that stay, and people whose old days go, all the while."""
    keeper = PostgresLogKeeper(one.database)
    await one.log.append([stored(NOW_US - n * DAY_US, f"u{n % 7}") for n in range(60) for _ in range(5)])
    await one.log.append([stored(NOW_US - DAY_US, "old")])
    dropped = asyncio.Event()
    written = 0

    async def write(place: int) -> None:
        nonlocal written
        while not dropped.is_set():
            events = [
                stored(NOW_US + n % 3 * DAY_US, f"u{(n + place) % 9}", event_id=f"w{place}-{written}-{n}")
                for n in range(20)
            ]
            answer = await one.log.append(events)
            assert all(answer.new)
            written += 20

    async def read() -> None:
        while not dropped.is_set():
            await one.column("SELECT count(*) FROM events WHERE subject_id = 'u1'")
            await one.column("SELECT count(*) FROM event_lines WHERE product_id = 'p'")

    async with asyncio.TaskGroup() as group:
        for place in range(2):
            group.create_task(write(place))
        group.create_task(read())
        assert (await keeper.drop(NOW_US)).partitions > 59
        # Who is written for all the while may be among them: made anew by the next event.
        assert "old" in [i async for page in keeper.forget(NOW_US) for i in page]
        dropped.set()
    assert await one.column("SELECT count(*) FROM events") == [5 + written]
    assert await one.column("SELECT count(*) FROM event_ids") == [5 + written]
    assert await one.column("SELECT min(event_time) FROM events") == [datetime(2026, 2, 11, 12, tzinfo=UTC)]
    # Whoever has an event is known, and nobody else.
    assert await one.column("SELECT subject_id FROM subjects ORDER BY 1") == await one.column(
        "SELECT DISTINCT subject_id FROM events ORDER BY 1"
    )


async def test_what_was_begun_is_finished(one: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_LOCK_TIMEOUT", "200ms")
    keeper = PostgresLogKeeper(one.database)
    await one.log.append([stored(NOW_US - n * DAY_US, f"u{n}") for n in range(3)])
    async with one.database.transaction() as reader:
        await reader.fetch("SELECT count(*) FROM events")
        with pytest.raises(StoreDownError, match="is being read"):
            await keeper.drop(NOW_US)
        # A reader keeps what it reads; a new one does not see what is on its way out.
        assert await reader.fetchval("SELECT count(*) FROM events") == 3
        assert await one.column("SELECT count(*) FROM events") == [2]
        assert list((await one.log.append([stored(NOW_US, "u0")])).new) == [True]
    # A drop that died after the second day had left the log.
    await one.database.fetch("ALTER TABLE events DETACH PARTITION events_20260210")
    assert (await keeper.drop(NOW_US)).partitions == 2
    assert [page async for page in keeper.forget(NOW_US)] == [["u1", "u2"]]
    assert await one.column("SELECT subject_id FROM subjects") == ["u0"]
    assert await one.column("SELECT count(*) FROM event_ids") == [2]


async def test_an_event_that_is_still_there_has_its_products(one: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_LOCK_TIMEOUT", "100ms")
    await one.log.append([stored(NOW_US - 11 * DAY_US, "u")])  # on the last day of a month
    async with one.database.transaction() as reader:
        await reader.fetch("SELECT count(*) FROM events")
        with pytest.raises(StoreDownError, match="is being read"):
            await PostgresLogKeeper(one.database).drop(NOW_US)
        assert await one.partitions() == {"event_lines_202601"}
    assert (await PostgresLogKeeper(one.database).drop(NOW_US)).partitions == 2


@dataclass(frozen=True, slots=True)
class Between:
    """A database that calls back once a page of events was found, and before anything happens to it."""

    database: Database
    find: str
    found: Callable[[], Awaitable[None]]

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        async with self.database.transaction() as connection:
            yield Watched(connection, self)

    async def fetch(self, *query: Any) -> list[Any]:
        return await self.database.fetch(*query)


@dataclass(frozen=True, slots=True)
class Watched:
    connection: Any
    between: Between

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        row = await self.connection.fetchrow(query, *arguments)
        if query == self.between.find:
            await self.between.found()
        return row

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


@pytest.mark.parametrize("what", ["erasure", "merge"])
async def test_a_day_that_goes_meanwhile_ends_no_erasure_and_no_merge(
    one: Process, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """The page that was found is gone when it is to be removed or moved; what lies behind it is not."""
    monkeypatch.setattr(erasure if what == "erasure" else merging, "_PAGE", 1)
    await one.log.append(
        [
            stored(NOW_US - days * DAY_US, "", visitor_id="v", kind="search", lines=(), event_id=f"e{days}")
            for days in (1, 0)
        ]
    )
    drops: list[asyncio.Task[Removed]] = []

    async def on_its_way_out() -> bool:
        return "events_20260210" not in await one.partitions()

    async def drop() -> None:
        if not drops:
            drops.append(asyncio.create_task(PostgresLogKeeper(one.database).drop(NOW_US)))
            await eventually(on_its_way_out)

    if what == "erasure":
        eraser = erasure.PostgresErasure(cast("Database", Between(one.database, erasure._FIND_PAGE, drop)))
        await eraser.bury("~v", NOW_US)
        while await eraser.remove("~v") is not None:
            pass
        left = []
    else:
        merges = merging.PostgresMerges(cast("Database", Between(one.database, merging._FIND_PAGE, drop)))
        await merges.begin("v", "u", NOW_US)
        while await merges.move("v") is not None:
            pass
        left = ["u"]
    assert (await drops[0]).partitions == 1
    assert await one.column("SELECT subject_id FROM events") == left
    assert await one.column("SELECT subject_id FROM subjects") == left


async def test_one_of_several_workers_keeps_the_log(one: Process) -> None:
    keeper = PostgresLogKeeper(one.database)
    async with keeper.sole() as mine, keeper.sole() as other:
        assert (mine, other) == (True, False)
        await Retention(keeper, NO_RECORDS, KEPT, 0, lambda: NOW_US).step()
        assert await one.partitions() == set()
    await Retention(keeper, NO_RECORDS, KEPT, 0, lambda: NOW_US).step()
    assert await one.partitions() == {f"events_202602{day}" for day in (11, 12, 13, 14)} | {"event_lines_202602"}


async def test_transactions_of_long_ago_are_forgotten(one: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "_TRIM_PAGE", 2)
    for n in range(6):
        await one.log.append([stored(NOW_US, f"u{n}")])
    await one.database.fetch(
        "UPDATE ingests SET ingest_time = now() - interval '31 days' WHERE ingest_xid < (SELECT max(ingest_xid) FROM"
        " ingests)"
    )
    await Retention(PostgresLogKeeper(one.database), NO_RECORDS, 0, 0, lambda: time.time_ns() // 1_000).step()
    assert await one.column("SELECT count(*) FROM ingests") == [1]


async def test_a_worker_drops_and_who_has_nothing_left_is_unknown(
    postgres: PostgresServer, valkey: ValkeyServer
) -> None:
    dsn = await postgres.create_database("features")
    async with running_server(dsn, valkey.url) as server:
        await server.write(
            event("detail-page-view", "gone", "p", ago=KEPT * DAY + 3 * DAY),
            event("detail-page-view", "stays", "p", ago=KEPT * DAY + 3 * DAY),
            event("detail-page-view", "stays", "p", ago=10),
        )
        await server.get("User", "gone", "user_recent_views")
        async with running_worker(dsn, valkey.url, FEATURES_RETENTION_DAYS=KEPT):

            async def unknown() -> bool:
                try:
                    await server.get("User", "gone", "user_recent_views")
                except grpc.aio.AioRpcError as error:
                    return from_rpc(error).reason == "ENTITY_NOT_FOUND"
                return False

            await eventually(unknown, 20)
        stays = await server.get("User", "stays", "user_recent_views")
        assert stays.features["user_recent_views"].string_list_value.values == ["p"]
    connection = await asyncpg.connect(dsn)
    assert await connection.fetchval("SELECT count(*) FROM events") == 1
    await connection.close()
