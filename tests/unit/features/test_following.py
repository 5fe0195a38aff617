"""What the follower does behind the catalogue's stream, and when it does nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from services.features import following
from services.features.following import SignalFollower
from services.features.ports import Moved, Signal, SignalPage
from services.runtime.lifecycle import background
from tests.support.waiting import eventually


class Shop:
    """The catalogue, our copy of it, and the announcer, which has nothing to do."""

    def __init__(self) -> None:
        self.pages: asyncio.Queue[SignalPage] = asyncio.Queue()
        self.ranked: list[list[str]] = []
        self.rounds = 0
        self.changed = self.moved = False

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
