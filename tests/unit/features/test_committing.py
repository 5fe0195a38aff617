"""Concurrent batches share commits; everybody gets their own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from services.features.committing import GroupCommit
from services.features.definitions import load
from services.features.domain.events import Event, Line
from services.features.marking import Marker
from services.features.ports import Appended, StoreDownError, Touched


def event(number: int) -> Event:
    return Event(
        f"e{number}",
        "detail-page-view",
        f"u{number}",
        "",
        "",
        1_000,
        (Line("p", 1, None),),
        None,
        None,
        None,
        "",
        "",
        {},
    )


class Log:
    """Holds commits back until told."""

    def __init__(self) -> None:
        self.commits: list[list[str]] = []
        self.gate = asyncio.Event()
        self.failure: Exception | None = None

    async def append(self, events: Sequence[Event]) -> Appended:
        self.commits.append([e.event_id for e in events])
        await self.gate.wait()
        if self.failure:
            raise self.failure
        return Appended([int(e.event_id[1:]) % 2 == 0 for e in events], frozenset({"p"}), len(self.commits))


class Online:
    def __init__(self) -> None:
        self.marks: list[tuple[Touched, list[int]]] = []

    async def mark(self, touched: Touched, now_ms: int, transactions: Sequence[int]) -> None:
        self.marks.append((touched, list(transactions)))


def group(log: Log, online: Online) -> GroupCommit:
    marker = Marker(online, lambda: 5)  # type: ignore[arg-type]  # only marks are asked of it
    return GroupCommit(log, marker, list(load().entities.values()))  # type: ignore[arg-type]  # only appends


async def test_batches_that_wait_share_a_commit_and_its_marks() -> None:
    log, online = Log(), Online()
    commits = group(log, online)
    calls = [asyncio.create_task(commits.commit([event(2 * n), event(2 * n + 1)])) for n in range(6)]
    await asyncio.sleep(0)
    log.gate.set()
    answers = await asyncio.gather(*calls)
    assert all(list(answer.new) == [True, False] for answer in answers)
    assert [len(commit) for commit in log.commits] == [2, 2, 8]  # two at once, then the rest together
    assert [transactions for _, transactions in online.marks] == [[1], [2], [3]]
    assert set(online.marks[2][0]["User"]) == {"u4", "u6", "u8", "u10"}


async def test_a_failure_reaches_every_caller() -> None:
    log, online = Log(), Online()
    log.failure = StoreDownError("event-log", "gone")
    log.gate.set()
    commits = group(log, online)
    answers = await asyncio.gather(*(commits.commit([event(n)]) for n in range(5)), return_exceptions=True)
    assert all(isinstance(answer, StoreDownError) for answer in answers)
    assert online.marks == []


async def test_a_caller_that_gives_up_takes_nobody_down() -> None:
    log, online = Log(), Online()
    commits = group(log, online)
    first = asyncio.create_task(commits.commit([event(0)]))
    await asyncio.sleep(0)
    first.cancel()
    second = asyncio.create_task(commits.commit([event(2)]))
    await asyncio.sleep(0)
    log.gate.set()
    assert list((await second).new) == [True]
    with pytest.raises(asyncio.CancelledError):
        await first
    await commits.close()
    assert len(online.marks) == 2


async def test_a_mark_that_fails_is_owed_until_it_succeeds() -> None:
    class Down(Online):
        down = True

        async def mark(self, touched: Touched, now_ms: int, transactions: Sequence[int]) -> None:
            if self.down:
                raise StoreDownError("online-store", "gone")
            await super().mark(touched, now_ms, transactions)

    online = Down()
    marker = Marker(online, lambda: 5)  # type: ignore[arg-type]  # only marks are asked of it
    await marker.mark({"User": {"u1": 3}, "Product": {"p": 3}}, [1])
    assert [marker.owes("User", user) for user in ("u1", "u2")] == [True, False]
    await marker.settle()
    assert marker.owes("User", "u1")
    online.down = False
    await marker.settle()
    assert [marker.owes("User", "u1"), marker.in_debt] == [False, False]
    assert online.marks == [({"User": {"u1": 3}, "Product": {"p": 3}}, [])]  # not confirmed: the log tail may repeat it
