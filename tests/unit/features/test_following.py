"""What the follower does behind the catalogue's stream, and when it does nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from services.features import following
from services.features.announcing import Announcer
from services.features.following import SignalFollower
from services.features.signal_ports import Moved, Signal, SignalPage
from services.runtime.lifecycle import background
from tests.support.waiting import eventually


class Catalogue:
    """The catalogue and our copy of it."""

    def __init__(self) -> None:
        self.pages: asyncio.Queue[SignalPage] = asyncio.Queue()
        self.ranked: list[list[str]] = []

    async def follow(self, cursor: str) -> AsyncIterator[SignalPage]:
        while True:
            yield await self.pages.get()

    @asynccontextmanager
    async def sole(self) -> AsyncIterator[bool]:
        yield True

    async def cursor(self) -> str:
        return ""

    async def apply(self, page: SignalPage) -> Moved:
        return Moved({one.top_category or "" for one in page.signals}, set())

    async def rank_prices(self, categories: Sequence[str]) -> list[str]:
        self.ranked.append(list(categories))
        return []

    async def categories(self) -> list[str]:
        return ["all"]


class Shop(Catalogue):
    """And the announcer, which has nothing to do."""

    def __init__(self) -> None:
        super().__init__()
        self.rounds = 0
        self.changed = self.moved = False

    @property
    def busy(self) -> bool:
        return self.changed or self.moved

    async def announce(self) -> None:
        self.changed = False

    async def mark(self) -> int:
        self.moved = False
        return 0

    async def confirm(self) -> None:
        self.rounds += 1


async def test_it_rests_until_something_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_TICK", 0.001)
    monkeypatch.setattr(following, "_QUIET", 0.001)
    shop = Shop()
    async with background("follow", SignalFollower(shop, shop, shop).run()):  # type: ignore[arg-type]  # what it needs of them
        await eventually(lambda: shop.ranked == [["all"]])  # what somebody before it may have left
        before = -1

        async def rests() -> bool:
            nonlocal before
            before, seen = shop.rounds, before
            return before == seen

        await eventually(rests)
        await shop.pages.put(SignalPage([Signal("p", False, "tea", 1.0, 1, 1, None, 0)], "c", False, True))
        await eventually(lambda: shop.ranked == [["all"], ["tea"]])
        await eventually(rests)


class Announced(Catalogue):
    """And what an announcer asks of the stores; where they are slow."""

    def __init__(self) -> None:
        super().__init__()
        self.ranking, self.looking = asyncio.Event(), asyncio.Event()
        self.steps: list[str] = []
        self.kept: list[str] = []
        self.at_ms = 0
        self.announcer = Announcer((), self, self, self, self, lambda: self.at_ms)  # type: ignore[arg-type]  # what it needs of them

    async def apply(self, page: SignalPage) -> Moved:
        return Moved(set(), set())

    async def rank_prices(self, categories: Sequence[str]) -> list[str]:
        self.steps.append("rank")
        await self.ranking.wait()
        return []

    async def moved(self, limit: int) -> dict[str, int]:
        self.steps.append("mark")
        return {}

    async def unannounced(self, after: int, limit: int) -> dict[str, int]:
        if "rank" not in self.steps or after:
            return {}
        self.steps.append("look")
        await self.looking.wait()
        return {"p": 1}

    async def announced(self, changes: dict[str, int]) -> None:
        self.kept += changes

    async def enqueue(self, entity: str, due: dict[str, int]) -> None: ...

    async def sign(self) -> str:
        self.steps.append("sign")
        return "receipt"

    async def signed(self, receipt: str) -> bool:
        return True


async def test_it_does_not_rest_while_something_is_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would neither hear whether that was kept, nor try again what fails."""
    monkeypatch.setattr(following, "_TICK", 0.001)
    monkeypatch.setattr(following, "_QUIET", 0.001)
    shop = Announced()
    async with background("follow", SignalFollower(shop, shop, shop.announcer).run()):  # type: ignore[arg-type]  # what it needs of them
        await eventually(lambda: "rank" in shop.steps)
        await shop.pages.put(SignalPage([], "c", False, True))
        await eventually(lambda: "look" in shop.steps)
        shop.ranking.set()
        await eventually(lambda: "mark" in shop.steps)
        shop.looking.set()
        await eventually(lambda: "sign" in shop.steps)
        shop.at_ms = 10_000
        await eventually(lambda: shop.kept == ["p"])
