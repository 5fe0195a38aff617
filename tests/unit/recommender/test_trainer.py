"""When the schedule begins the first run, and what a run does without."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from services.recommender.domain import learned
from services.recommender.domain.product import Product
from services.recommender.ranking_ports import InteractionChunk, ModelVersion
from services.recommender.training import process, trainer
from services.recommender.training.learning.log import Catalogue, Log
from services.recommender.training.process import Learnt, Progress, TrainingError, learn
from services.recommender.training.trainer import Trainer
from services.runtime.errors import aborted, unavailable
from tests.support.learned import small
from tests.support.shoplog import shop

NOW = datetime(2026, 11, 23, tzinfo=UTC)


class Store:
    """Lists no version; remembers what it was told."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.rejected: list[str] = []
        self.failed: list[str] = []
        self.refuse = False
        self.version: ModelVersion | None = ModelVersion("v-0", "ACTIVE", NOW, NOW, 1.0, {"labels_until": 5.0}, "")

    async def recover(self) -> None:
        """Nothing is left over."""

    async def list(self, limit: int, after: object) -> list[ModelVersion]:
        return []

    async def active(self) -> ModelVersion | None:
        return self.version

    async def artifacts(self, model_id: str) -> dict[str, bytes]:
        return {"ranker_new": b"ranker"}

    async def begin(self, model_id: str) -> ModelVersion:
        self.begun.set()
        if self.refuse:
            raise aborted("TRAINING_RUNNING", "another process was faster")
        return ModelVersion(model_id, "TRAINING", NOW, None, 0.0, {}, "")

    async def end(self) -> None:
        """The run is over."""

    async def report(self, model_id: str, progress: float) -> None:
        raise unavailable("DATABASE_UNAVAILABLE", "for a moment")

    async def reject(self, model_id: str, reason: str, metrics: object, lineage: object) -> None:
        self.rejected.append(reason)

    async def fail(self, model_id: str, reason: str) -> None:
        self.failed.append(reason)


class Features:
    """A log with so many rows at each look."""

    def __init__(self, rows: Callable[[int], int]) -> None:
        self.rows = rows
        self.looks = 0
        self.looked_often = asyncio.Event()

    async def interactions(self) -> AsyncIterator[InteractionChunk]:
        self.looks += 1
        if self.looks > 40:
            self.looked_often.set()
        count = self.rows(self.looks)
        times = [1_700_000_000_000 + row for row in range(count)]
        yield InteractionChunk(["u"] * count, ["a"] * count, ["detail-page-view"] * count, times, range(count))


class Shelf:
    """One product."""

    async def page(self, after: str, limit: int) -> list[Product]:
        return [] if after else [Product("a", "A")]


async def worse(
    log: Log,
    catalogue: Catalogue,
    now: float,
    active: Mapping[str, bytes],
    progress: Progress,
    seen_until: float,
    awaited: bool,
) -> Learnt:
    await progress(0.5)
    assert (active, seen_until, awaited) in (({"new": b"ranker"}, 5.0, False), ({}, 0.0, True))
    return Learnt({learned.ARTIFACT: learned.encode(small(["a"]))}, rejected="for the test")


def made(store: Store, features: Features) -> Trainer:
    async def prepare(_: str) -> None:
        """Ready."""

    ports: tuple[Any, Any, Any] = (store, features, Shelf())
    return Trainer(*ports, worse, lambda: NOW, 3600.0, prepare, lambda _: None)


class LongLog(Features):
    """Comes in ten parts, as fast as they are taken; notes the turns of the event loop that others had before each."""

    def __init__(self) -> None:
        super().__init__(lambda _: 1)
        self.turns = 0
        self.had: list[int] = []

    async def interactions(self) -> AsyncIterator[InteractionChunk]:
        for _ in range(10):
            async for chunk in super().interactions():
                self.had.append(self.turns)
                yield chunk

    async def others(self) -> None:
        while True:
            self.turns += 1
            await asyncio.sleep(0)


@pytest.mark.parametrize("serves", [True, False])
async def test_others_have_their_turns_while_the_log_is_read(serves: bool) -> None:
    store, log = Store(), LongLog()
    store.version = store.version if serves else None
    others = asyncio.create_task(log.others())
    training = made(store, log)
    await training.start()
    while not store.rejected:
        assert not store.failed
        await asyncio.sleep(0.01)  # polled: there is nothing to wait on
    others.cancel()
    assert len(set(log.had)) == 10, "the pages of a whole read wait for it"


@pytest.mark.parametrize(("serves", "rest"), [(True, 1.0), (False, 0.0)])
async def test_pages_have_as_much_time_as_reading_takes_and_nothing_delays_a_first_version(
    serves: bool, rest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, log, seconds = Store(), LongLog(), itertools.count(0.0)
    store.version = store.version if serves else None
    rests: list[float] = []

    async def sleep(asked: float) -> None:
        rests.append(asked)

    # Each part takes a second.
    monkeypatch.setattr(trainer, "time", SimpleNamespace(monotonic=lambda: next(seconds)))
    monkeypatch.setattr(trainer, "asyncio", SimpleNamespace(sleep=sleep))
    await made(store, log)._read()
    assert rests == [rest] * 10


@pytest.mark.parametrize(
    ("rows", "begins"),
    [
        (lambda look: 1_000, True),
        # An open shop: there is news at every look.
        (lambda look: 1_000 + 10 * look, True),
        (lambda look: 10 * look, True),
        # A first load that is under way.
        (lambda look: int(10 * 1.1**look), False),
        (lambda look: 0, False),
    ],
)
async def test_the_first_run_waits_for_a_load_but_not_for_silence(
    monkeypatch: pytest.MonkeyPatch, rows: Callable[[int], int], begins: bool
) -> None:
    monkeypatch.setattr(trainer, "_TICK_SECONDS", 0.0)
    store, features = Store(), Features(rows)
    store.refuse = True
    following = asyncio.create_task(made(store, features).follow())
    try:
        async with asyncio.timeout(10):
            await features.looked_often.wait()
    finally:
        following.cancel()
    assert store.begun.is_set() == begins


@pytest.mark.parametrize("first", [False, True], ids=["beside a version that serves", "awaited"])
async def test_a_run_goes_on_when_its_progress_cannot_be_told(first: bool) -> None:
    store = Store()
    if first:
        store.version = None
    training = made(store, Features(lambda look: 3))
    await training.start()
    async with asyncio.timeout(10):
        while not (store.rejected or store.failed):
            await asyncio.sleep(0.01)  # polled: there is nothing to wait on
    assert (store.rejected, store.failed) == (["WORSE: for the test"], [])


async def test_a_learning_process_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\nexec sleep 60\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    monkeypatch.setattr(process, "_LONGEST_SECONDS", 0.1)

    async def progress(_: float) -> None:
        """Nobody looks."""

    async with asyncio.timeout(10):
        with pytest.raises(TrainingError, match="did not end within"):
            await learn(*shop(users=4, days=10.0), 1_700_000_000.0, {}, progress)
