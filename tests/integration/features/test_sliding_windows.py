"""Values change as their windows slide, at that instant and without an event."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from services.features.app import MIGRATIONS, Parts, open_parts
from services.features.domain.features import Entity, OnEvent, Reading, Status
from services.features.marking import Marker
from services.features.maxima import Maxima
from services.features.ports import EVENT_LOG, StoreDownError
from services.features.reading import Reader
from services.features.refreshing import Refresher
from services.runtime.migrations import migrate
from tests.contract.features.test_exact_values import MINUTE, NOW, Shop, event, order, product, view
from tests.support.features import settings
from tests.support.folding import fold
from tests.support.stack import PostgresServer, ValkeyServer

CATEGORY, COUNT, AVERAGE = "user_browsing_category", "user_purchase_count_30d", "user_avg_order_value"
SENSITIVITY, VIEWS = "user_price_sensitivity", "user_recent_views"
START, SESSION = "user_session_start", "user_session_products"
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000


class Process:
    """Server and worker under a clock that stands still unless it is moved."""

    def __init__(self, parts: Parts, user: Entity) -> None:
        self.parts = parts
        self.user = user
        self.now_ms = NOW
        self.log_down = False
        self.computations: list[tuple[str, int]] = []
        marker = Marker(parts.online, self.clock_ms)
        computer: Any = self  # see __getattr__
        maxima = Maxima(parts.queue, parts.levels, computer, self.clock_ms)
        self.reader = Reader(parts.online, parts.queue, computer, maxima, marker, self.clock_ms, lambda: 0.5, fold)
        self.refresher = Refresher(
            [user], parts.online, parts.queue, computer, parts.levels, self.clock_ms, lambda: 0.5, 1.0
        )

    def clock_ms(self) -> int:
        return self.now_ms

    def __getattr__(self, name: str) -> object:
        """As a computer of features: the log's, unless it is down; what it computed is noted."""
        inner = getattr(self.parts.computer, name)

        async def call(*arguments: object) -> object:
            if self.log_down:
                raise StoreDownError(EVENT_LOG, "down")
            if name == "compute":
                self.computations.append((arguments[0].name, self.now_ms))  # type: ignore[attr-defined]  # a feature
            return await inner(*arguments)

        return call

    async def read(self, name: str, user: str = "u") -> Reading:
        answer = await self.reader.read(self.user, [user], [self.user.features[name]])
        return answer.columns[name].readings()[0]

    async def refresh(self) -> int:
        """What the worker finds due now; how many entities."""
        number = 0
        while done := await self.refresher.refresh(self.user):
            number += done
        return number

    async def due_ms(self, user: str = "u") -> int | None:
        score = await self.parts.redis.execute("ZSCORE", "ws:1:marks:{marks}:due:User", user)
        return None if score is None else int(float(score))

    async def stored(self, name: str) -> object:
        (record,) = await self.parts.online.read("User", ["u"])
        return record.entries[self.user.features[name].number].value


@pytest.fixture
async def parts(postgres: PostgresServer, valkey: ValkeyServer) -> AsyncIterator[Parts]:
    dsn = await postgres.create_database("features")
    await asyncio.to_thread(migrate, dsn, MIGRATIONS)
    async with AsyncExitStack() as closers:
        yield await open_parts(settings(dsn, valkey.url), closers)


@pytest.fixture
async def process(parts: Parts) -> Process:
    await Shop(parts).has(product("t", "Toys"), product("b", "Books"))
    return Process(parts, parts.definitions.entities["User"])


async def test_a_read_sees_a_view_become_an_hour_old(process: Process) -> None:
    await Shop(process.parts).happened(
        view("u", "t", ago=59 * MINUTE), view("u", "t", ago=58 * MINUTE), view("u", "b", ago=57 * MINUTE)
    )
    assert await process.read(CATEGORY) == Reading("Toys", Status.PRESENT, NOW)
    process.now_ms = NOW + MINUTE_MS - 1
    assert await process.read(CATEGORY) == Reading("Toys", Status.PRESENT, NOW)
    process.now_ms += 1  # one each: the one viewed last
    assert await process.read(CATEGORY) == Reading("Books", Status.PRESENT, process.now_ms)
    process.now_ms = NOW + 3 * MINUTE_MS - 1
    assert (await process.read(CATEGORY)).value == "Books"
    process.now_ms += 1
    assert await process.read(CATEGORY) == Reading(None, Status.NULL, process.now_ms)
    assert [at for name, at in process.computations if name == CATEGORY] == [
        NOW, NOW + MINUTE_MS, NOW + 3 * MINUTE_MS,
    ]  # fmt: skip


async def test_what_only_reads_compute_slides_too(process: Process) -> None:
    await Shop(process.parts).happened(view("u", "t", ago=30 * 86_400 - 60), view("u", "b", ago=5))
    assert (await process.read(VIEWS)).value == ["b", "t"]
    process.now_ms += MINUTE_MS
    assert await process.read(VIEWS) == Reading(["b"], Status.PRESENT, process.now_ms)


async def test_without_the_log_what_was_right_before_is_flagged(process: Process) -> None:
    await Shop(process.parts).happened(view("u", "t", ago=59 * MINUTE))
    await process.read(CATEGORY)
    process.log_down = True
    process.now_ms += MINUTE_MS - 1
    assert await process.read(CATEGORY) == Reading("Toys", Status.PRESENT, NOW)
    process.now_ms += 1
    assert await process.read(CATEGORY) == Reading("Toys", Status.STALE, NOW)


async def test_the_worker_changes_values_on_time_and_lets_go_of_who_is_inactive(parts: Parts, process: Process) -> None:
    # Of those who are kept fresh for as long as anything counts; users are not (see test_idle_users).
    process = Process(parts, dataclasses.replace(process.user, idle=None))
    await Shop(process.parts).happened(view("u", "t", ago=59 * MINUTE), order("u", 5.0, "t", ago=59 * MINUTE))
    await process.parts.queue.enqueue("User", {"u": 1})
    assert await process.refresh() == 1
    assert await process.due_ms() == NOW + MINUTE_MS
    process.now_ms = NOW + MINUTE_MS - 1
    assert await process.refresh() == 0
    assert await process.stored(CATEGORY) == "Toys"
    process.now_ms += 1
    process.computations.clear()
    assert await process.refresh() == 1
    assert await process.stored(CATEGORY) is None
    assert process.computations == [(CATEGORY, process.now_ms)]

    bought_ms = NOW - 59 * MINUTE_MS
    for days, name, before, after in [
        (30, COUNT, 1, None),
        (90, SENSITIVITY, "medium", None),
        (365, AVERAGE, 5.0, None),
    ]:
        # Whenever the worker comes for another reason shortly before, it comes again at the edge.
        process.now_ms = bought_ms + days * DAY_MS - 1_000
        assert await process.refresh() == 1
        assert await process.stored(name) == before
        assert await process.due_ms() == process.now_ms + 1_000
        process.now_ms += 1_000
        assert await process.refresh() == 1
        assert await process.stored(name) == after
    assert await process.due_ms() is None


async def test_a_value_that_events_queue_is_served_until_the_worker_has_changed_it(parts: Parts) -> None:
    user = parts.definitions.entities["User"]
    queued = dataclasses.replace(user.features[COUNT], on_event=OnEvent.QUEUE)
    process = Process(parts, dataclasses.replace(user, features={COUNT: queued}))
    await Shop(parts).happened(order("u", 5.0, ago=30 * 86_400 - 60), order("u", 5.0, ago=5))
    assert await process.read(COUNT) == Reading(2, Status.PRESENT, NOW)
    await parts.redis.execute("ZREM", "ws:1:marks:{marks}:due:User", "u")  # lost
    process.now_ms += MINUTE_MS
    assert await process.read(COUNT) == Reading(2, Status.PRESENT, NOW)
    # In company with what others read until then.
    process.now_ms = await process.due_ms() or 0
    assert await process.refresh() == 1
    assert await process.read(COUNT) == Reading(1, Status.PRESENT, process.now_ms)


async def test_a_statement_that_fails_at_the_edge_is_not_tried_without_a_pause(process: Process) -> None:
    await Shop(process.parts).happened(view("u", "t", ago=59 * MINUTE))
    await process.parts.queue.enqueue("User", {"u": 1})
    await process.refresh()
    feature = process.user.features[CATEGORY]
    divides = "SELECT id, 1 / (length(id) - 1) AS value FROM unnest($1::text[]) AS id WHERE $2::timestamptz IS NOT NULL"
    broken = dataclasses.replace(feature, sql=divides)
    entity = dataclasses.replace(process.user, features={**process.user.features, CATEGORY: broken})
    process.now_ms += MINUTE_MS
    assert await process.refresher.refresh(entity) == 1
    assert await process.refresher.refresh(entity) == 0
    assert await process.due_ms() == process.now_ms + 30_000


async def test_an_event_between_edges_moves_them(process: Process) -> None:
    shop = Shop(process.parts)
    await shop.happened(view("u", "t", ago=59 * MINUTE))
    await process.read(CATEGORY)
    assert await process.due_ms() == NOW + MINUTE_MS
    await shop.happened(event("detail-page-view", "u", "t", ago=0))
    await process.parts.online.mark({"User": {"u": []}}, process.now_ms, ())
    assert (await process.read(CATEGORY)).value == "Toys"
    process.now_ms += HOUR_MS - 1
    assert (await process.read(CATEGORY)).value == "Toys"
    process.now_ms += 1
    assert await process.read(CATEGORY) == Reading(None, Status.NULL, process.now_ms)


async def test_a_session_is_right_at_each_read_whatever_marks_come(process: Process) -> None:
    """No mark tells of most events, nor of the half hour in which nothing happens."""
    shop = Shop(process.parts)
    await shop.happened(event("search", "u", ago=29 * MINUTE), view("u", "t", ago=10))
    began = NOW - 29 * MINUTE_MS
    for _ in range(2):
        assert await process.read(START) == Reading(began, Status.PRESENT, NOW)
        assert await process.read(SESSION) == Reading(["t"], Status.PRESENT, NOW)
    await shop.happened(event("home-page-view", "u", ago=-29 * 60), event("click", "u", "b", ago=5))
    assert (await process.read(SESSION)).value == ["b", "t"]
    process.now_ms = NOW + 50 * MINUTE_MS
    assert (await process.read(START)).value == began
    process.log_down = True
    assert (await process.read(START)).status == Status.STALE
    process.log_down = False
    process.now_ms = NOW + 59 * MINUTE_MS
    for name in (START, SESSION):
        assert await process.read(name) == Reading(None, Status.NULL, process.now_ms)
