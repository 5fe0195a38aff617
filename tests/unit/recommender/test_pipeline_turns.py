"""Pages that are ready at once are not made at once: others have a turn of the event loop between them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from services.recommender.domain.candidates import Found
from services.recommender.domain.serving import ServingConfig, SourceSpec
from services.recommender.domain.signals import UserSignals
from services.recommender.domain.version import Version
from services.recommender.pipeline import recommender
from services.recommender.pipeline.context import Ask, Context
from services.recommender.pipeline.deadline import Breaker
from services.recommender.pipeline.hydrating import Hydrated
from services.runtime.lifecycle import background

PAGES = 5
CONFIG = ServingConfig("test", (SourceSpec("asked", 10, 60.0, 1.0),), fill=False)


class Stages:
    """Each page waits for its shopper and for its candidates; all have them in the same turn of the loop."""

    def __init__(self) -> None:
        self.turn = 0
        # The turns in which pages went on when they had them.
        self.with_shopper: list[int] = []
        self.with_candidates: list[int] = []
        self._shoppers = asyncio.Barrier(PAGES)
        self._candidates = asyncio.Barrier(PAGES)

    @property
    def all(self) -> Any:
        """As far as an empty page needs them."""
        source = SimpleNamespace(asks_nobody=False, at_once=lambda *_: None, fetch=self._fetch)
        return SimpleNamespace(
            shoppers=SimpleNamespace(signals=self._signals),
            cards=SimpleNamespace(at_once=lambda _: {}),
            sources={"asked": source},
            hydrator=SimpleNamespace(hydrate=self._hydrate),
            finisher=SimpleNamespace(finish=self._finish),
            showcase=SimpleNamespace(bands=None),
            orders=SimpleNamespace(basis=self._basis),
            store_breaker=Breaker("test"),
        )

    async def count(self) -> None:
        """The loop's turns."""
        while True:
            await asyncio.sleep(0)
            self.turn += 1

    async def _signals(self, *_: object) -> UserSignals:
        await self._shoppers.wait()
        return UserSignals()

    def _basis(self, *_: object) -> None:
        self.with_shopper.append(self.turn)

    async def _fetch(self, _: Context, __: int) -> Found:
        await self._candidates.wait()
        return []

    async def _hydrate(self, candidates: Any, *_: object) -> Hydrated:
        self.with_candidates.append(self.turn)
        nothing: Any = None
        return Hydrated(candidates, np.zeros(0, np.int64), nothing)

    async def _finish(self, *_: object) -> Sequence[Any]:
        return []


@pytest.fixture
async def stages(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stages]:
    """Of a recommender whose turns have time for one page."""
    monkeypatch.setattr(recommender, "_TURN_SECONDS", 0.0)
    monkeypatch.setattr(recommender, "_PAGE_SECONDS", 60.0)
    made = Stages()
    async with background("turns", made.count()):
        yield made


async def test_pages_that_are_ready_at_once_begin_one_after_the_other(stages: Stages) -> None:
    configs, version = SimpleNamespace(get=lambda _: CONFIG), SimpleNamespace(version=Version())
    made = recommender.Recommender(configs, stages.all, version, lambda: "answer", lambda: datetime.now(UTC))  # type: ignore[arg-type]  # as far as it is needed
    answers = await asyncio.gather(*(made.recommend(Ask("test")) for _ in range(PAGES)))
    assert {answer.degraded for answer in answers} == {()}
    assert len(set(stages.with_shopper)) == PAGES, "of those whose shoppers are known"
    assert len(set(stages.with_candidates)) == PAGES, "of those whose candidates are found"
