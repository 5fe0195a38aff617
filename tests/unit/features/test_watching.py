"""When the refresh looks at its queue: told, due, or after all that nobody tells."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.features import refreshing
from services.features.refreshing import Refresher
from services.features.watch_ports import Look
from services.runtime.lifecycle import background
from tests.support.waiting import eventually
from tests.unit.features.test_refreshing import PRODUCT

FOREVER = 1_000.0


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Queue:
    """Nothing is due."""

    def __init__(self, told: bool) -> None:
        self.changed = asyncio.Event() if told else None
        self.next_ms: int | None = None
        self.looks = 0

    async def look(self, at_ms: int) -> Look:
        self.looks += 1
        if self.changed is not None:
            self.changed.clear()
        return Look({"Product": 0}, self.next_ms, self.changed)


@asynccontextmanager
async def refreshed(queue: Queue) -> AsyncIterator[None]:
    refresher = Refresher([PRODUCT], queue, queue, queue, queue, now_ms, lambda: 0.0, 1.0)  # type: ignore[arg-type]  # what it needs of them
    async with background("refresh", refresher.run()):
        await eventually(lambda: queue.looks)
        yield


async def test_a_word_of_the_store_wakes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refreshing, "_LOOK_ANYHOW", FOREVER)
    queue = Queue(told=True)
    assert queue.changed is not None
    async with refreshed(queue):
        queue.changed.set()
        await eventually(lambda: queue.looks == 2)
        queue.changed.set()
        await eventually(lambda: queue.looks == 3)


async def test_many_words_at_once_are_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refreshing, "_LOOK_ANYHOW", FOREVER)
    monkeypatch.setattr(refreshing, "_LOOK_EVERY", FOREVER)
    queue = Queue(told=True)
    assert queue.changed is not None
    async with refreshed(queue):
        for _ in range(100):
            queue.changed.set()
            await asyncio.sleep(0)
        assert queue.looks == 1


async def test_what_was_due_later_wakes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refreshing, "_LOOK_ANYHOW", FOREVER)
    queue = Queue(told=True)
    queue.next_ms = now_ms() + 50
    async with refreshed(queue):
        await eventually(lambda: queue.looks > 1)
        assert now_ms() >= queue.next_ms


async def test_a_store_that_says_nothing_is_looked_at_anyhow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refreshing, "_LOOK_ANYHOW", 0.01)
    queue = Queue(told=True)
    async with refreshed(queue):
        await eventually(lambda: queue.looks > 2)


async def test_a_store_that_cannot_tell_is_looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refreshing, "_LOOK_ANYHOW", FOREVER)
    queue = Queue(told=False)
    async with refreshed(queue):
        await eventually(lambda: queue.looks > 2)
