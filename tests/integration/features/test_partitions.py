"""The log over days and months: an id is unique in all, writers make what they need, windows read no more."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from services.features.definitions import load
from services.features.stores import event_log
from services.features.stores.erasure import PostgresErasure
from tests.support.event_log import DAY_US, Process, process, stored
from tests.support.stack import PostgresServer

# 2026-01-31 23:59:59.999999 UTC, the last instant of a month.
LAST_US = int(datetime(2026, 2, 1, tzinfo=UTC).timestamp()) * 1_000_000 - 1


@pytest.fixture
async def dsn(postgres: PostgresServer) -> str:
    return await postgres.create_database("features")


@pytest.fixture
async def one(dsn: str) -> AsyncIterator[Process]:
    async with process(dsn) as opened:
        yield opened


async def test_an_id_is_taken_on_every_day(one: Process) -> None:
    first = await one.log.append([stored(LAST_US, event_id="a"), stored(LAST_US, event_id="b")])
    assert list(first.new) == [True, True]
    for time_us in (LAST_US + 1, LAST_US - 40 * DAY_US, LAST_US + 365 * DAY_US):
        again = await one.log.append([stored(time_us, event_id="a"), stored(time_us, event_id=f"new-{time_us}")])
        assert list(again.new) == [False, True]
    # In one batch the first one counts, whichever its day.
    both = await one.log.append([stored(LAST_US + 1, event_id="c"), stored(LAST_US, event_id="c")])
    assert list(both.new) == [True, False]
    assert await one.column("SELECT event_time FROM events WHERE event_id = 'c'") == [datetime(2026, 2, 1, tzinfo=UTC)]
    assert await one.column("SELECT count(*) FROM events WHERE event_id IN ('a', 'b', 'c')") == [3]
    assert await one.column("SELECT count(*) FROM event_ids") == [6]


async def test_rows_lie_in_the_day_and_month_of_their_time_in_utc(one: Process) -> None:
    await one.log.append([stored(LAST_US, "u", "p"), stored(LAST_US + 1, "u", "p", "q")])
    assert await one.partitions() == {"events_20260131", "events_20260201", "event_lines_202601", "event_lines_202602"}
    assert await one.column("SELECT tableoid::regclass::text FROM events ORDER BY seq") == [
        "events_20260131", "events_20260201",
    ]  # fmt: skip
    assert await one.column("SELECT tableoid::regclass::text FROM event_lines ORDER BY seq, line") == [
        "event_lines_202601", "event_lines_202602", "event_lines_202602",
    ]  # fmt: skip


async def test_who_has_events_is_known_with_the_days(one: Process) -> None:
    subjects = "SELECT (subject_id, first_day::text, last_day::text)::text FROM subjects ORDER BY subject_id"
    await one.log.append([stored(LAST_US, "u"), stored(LAST_US + DAY_US, "u"), stored(LAST_US, "v")])
    assert await one.column(subjects) == ["(u,2026-01-31,2026-02-01)", "(v,2026-01-31,2026-01-31)"]
    written = await one.column("SELECT xmin::text FROM subjects ORDER BY subject_id")
    await one.log.append([stored(LAST_US, "u"), stored(LAST_US, "v")])  # nothing new of them: nothing is written
    assert await one.column("SELECT xmin::text FROM subjects ORDER BY subject_id") == written
    await one.log.append([stored(LAST_US - 2 * DAY_US, "v"), stored(LAST_US, "w"), stored(LAST_US + 3 * DAY_US, "u")])
    assert await one.column(subjects) == [
        "(u,2026-01-31,2026-02-03)", "(v,2026-01-29,2026-01-31)", "(w,2026-01-31,2026-01-31)",
    ]  # fmt: skip


async def test_an_order_has_its_revenue_once(one: Process) -> None:
    await one.log.append(
        [
            stored(LAST_US, "u", "p", "q", kind="purchase-complete", revenue=7.5),
            stored(LAST_US, "u", "p", kind="purchase-complete"),
            stored(LAST_US, "u", "p", revenue=3.0),
        ]
    )
    assert await one.column("SELECT revenue FROM event_lines ORDER BY seq, line") == [7.5, None, None, None]


async def test_processes_that_need_the_same_days_at_once_make_each_once(dsn: str) -> None:
    days = [LAST_US - number * DAY_US for number in range(40)]
    async with AsyncExitStack() as stack:
        processes = [await stack.enter_async_context(process(dsn)) for _ in range(3)]
        answers = await asyncio.gather(
            *(
                writer.log.append([stored(day) for day in random.Random(place).sample(days, len(days))])
                for place, writer in enumerate(processes * 2)
            )
        )
        assert all(all(answer.new) for answer in answers)
        partitions = await processes[0].partitions()
        assert len(partitions) == 40 + 2
        assert await processes[0].column("SELECT count(*) FROM events") == [240]


async def test_writers_of_the_same_ids_and_people_in_any_order_do_not_stop_each_other(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log, "_ATTEMPTS", 1)  # a deadlock is not tried again
    async with AsyncExitStack() as stack:
        writers = [await stack.enter_async_context(process(dsn)) for _ in range(3)]
        for round_ in range(5):
            # Of days further and further apart: every writer moves every person's days.
            events = [stored(LAST_US + round_ * DAY_US, f"u{n}", event_id=f"{round_}-{n}") for n in range(1_000)]
            answers = await asyncio.gather(
                *(
                    writer.log.append(random.Random(place).sample(events, len(events)))
                    for place, writer in enumerate(writers * 2)
                )
            )
            assert sum(sum(answer.new) for answer in answers) == 1_000
            # Different ids of the same people.
            await asyncio.gather(
                *(
                    writer.log.append(
                        [
                            stored(LAST_US - (round_ + 1) * DAY_US, f"u{n}")
                            for n in random.Random(place).sample(range(1_000), 1_000)
                        ]
                    )
                    for place, writer in enumerate(writers * 2)
                )
            )


async def test_a_day_that_was_dropped_meanwhile_is_made_again(one: Process) -> None:
    await one.log.append([stored(LAST_US)])
    await one.database.fetch("DROP TABLE events_20260131")
    await one.database.fetch("DROP TABLE event_lines_202601")
    assert list((await one.log.append([stored(LAST_US)])).new) == [True]
    assert await one.column("SELECT count(*) FROM events") == [1]


async def test_the_tail_finds_what_a_transaction_wrote_on_all_its_days(one: Process) -> None:
    start = await one.log.horizon()
    await one.log.append([stored(LAST_US)])
    many = (
        await one.log.append([stored(LAST_US + n * DAY_US, f"u{n}", f"p{n}", f"q{n}") for n in range(-70, 70)])
    ).transaction
    assert many is not None
    assert (await one.log.transactions(start, await one.log.horizon(), 9))[-1] == many
    found = await one.log.events_of(many)
    assert {(event.subject_id, *sorted(event.product_ids)) for event in found} == {
        (f"u{n}", f"p{n}", f"q{n}") for n in range(-70, 70)
    }
    assert await one.log.events_of(many + 1_000) == []


async def test_an_erasure_finds_every_day(one: Process) -> None:
    """Pages of any size, and lines whose events went with their day; a later event is a new life."""
    erasure = PostgresErasure(one.database)
    days = [LAST_US - number * 29 * DAY_US for number in range(15)]
    await one.log.append([stored(day, "gone", "p", "q") for day in days] + [stored(day, "stays") for day in days])
    await one.database.fetch("DROP TABLE events_20260131")
    await erasure.bury("gone", LAST_US)
    pages = [page async for page in _pages(erasure, "gone")]
    assert (sum(page.events for page in pages), sum(page.lines for page in pages)) == (14, 30)
    for table in ("events", "event_lines", "subjects"):
        assert set(await one.column(f"SELECT subject_id FROM {table}")) == {"stays"}
    assert await one.column("SELECT count(*) FROM event_ids") == [1 + 15]
    assert (await one.log.append([stored(LAST_US, "gone", event_id="late")])).erased == {"late"}
    await erasure.bury("stays", LAST_US)
    later = int(datetime.now(UTC).timestamp() + 60) * 1_000_000
    await one.log.append([stored(later, "stays")])
    async for _ in _pages(erasure, "stays"):
        pass
    assert await one.column("SELECT subject_id FROM events") == ["stays"]
    assert await one.column("SELECT subject_id FROM subjects") == ["stays"]


async def _pages(erasure: PostgresErasure, subject: str) -> AsyncIterator[Any]:
    while (page := await erasure.remove(subject)) is not None:
        yield page


# Months that a window touches at most, by the days it is long.
MONTHS = {0: 1, 1: 2, 7: 2, 30: 3, 90: 5, 180: 8, 365: 14}


async def test_windows_read_no_other_partition(one: Process) -> None:
    """Of two years, each declared statement plans the months of its own window alone."""
    now_us = int(datetime(2026, 11, 15, 12, tzinfo=UTC).timestamp()) * 1_000_000
    now = datetime(2026, 11, 15, 12, tzinfo=UTC)
    await one.log.append([stored(now_us - number * DAY_US) for number in range(0, 730, 5)])
    windows = {
        "user_browsing_category": 0, "user_purchase_count_30d": 30, "user_avg_order_value": 365,
        "user_price_sensitivity": 90, "user_recent_views": 30, "user_recent_carts": 30,
        "user_purchased_products": 365, "product_trend_score": 7,
    }  # fmt: skip
    features = {feature.name: feature for feature in load().features}
    for name, days in windows.items():
        (plan,) = await one.column(f"EXPLAIN (FORMAT JSON) {features[name].sql}", ["u"], now)
        read = {line for line in _relations(json.loads(plan)) if line.startswith(("events_", "event_lines_"))}
        assert 1 <= len(read) <= MONTHS[days], name
        assert all(line.startswith("event_lines_") for line in read), name
        # The others were never planned: leaving them out of what is planned already costs more than it saves.
        assert re.search(r'"Subplans Removed": [1-9]', plan) is None, name


def _relations(plan: Any) -> set[str]:
    if isinstance(plan, dict):
        found = {plan["Relation Name"]} if "Relation Name" in plan else set()
        return found.union(*(_relations(value) for value in plan.values()))
    return set().union(*(_relations(value) for value in plan)) if isinstance(plan, list) else set()
