"""When the log tail queues everything, and when not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from services.features.definitions import load
from services.features.domain.features import Entity
from services.features.ports import Arrival, LoggedEvent, Touched
from services.features.tailing import LogTail

ENTITIES = list(load().entities.values())


class World:
    """A log, an online store and a clock, as the log tail sees them."""

    def __init__(self, products: int = 0) -> None:
        self.now_ms = 1_000_000
        self.end = 10
        self.place: int | None = 10
        self.history = False
        self.products = products
        self.queued: list[str] = []
        # What another worker does while we ask the log for its end.
        self.meanwhile: Any = lambda: None

    async def horizon(self) -> int:
        end = self.end
        self.meanwhile()
        return end

    async def transactions(self, first: int, horizon: int, limit: int) -> list[int]:
        return list(range(first, horizon))

    async def events_of(self, transaction: int) -> list[LoggedEvent]:
        return []

    async def future_events(self, now_ms: int) -> list[LoggedEvent]:
        return []

    async def has_history(self, first: int, horizon: int) -> bool:
        return self.history

    async def cursor(self) -> int | None:
        return self.place

    async def advance(self, cursor: int) -> None:
        self.place = cursor

    async def confirmed(self, transactions: Sequence[int]) -> set[int]:
        return set(transactions)

    async def arrived(self, now_ms: int, limit: int) -> list[Arrival]:
        return []

    async def mark(self, touched: Touched, now_ms: int, transactions: Sequence[int]) -> None:
        pass

    async def active(self, entity: Entity, after: str, now_ms: int, limit: int) -> list[str]:
        if after:
            return []
        self.queued.append(entity.name)
        return [f"{n}" for n in range(self.products)]

    def tail(self) -> LogTail:
        world: Any = self
        entities = [dataclasses.replace(entity) for entity in ENTITIES]
        return LogTail(entities, world, world, world, world, lambda: self.now_ms)

    async def pass_(self, tail: LogTail, seconds: int) -> None:
        """A transaction a second, of old events when there is history."""
        for _ in range(seconds):
            self.now_ms += 1_000
            self.end += 1
            await tail.step()


async def test_another_worker_that_is_ahead_is_no_older_log() -> None:
    world = World()
    tail = world.tail()
    await tail.step()

    def other() -> None:
        world.end += 5
        world.place = world.end

    world.meanwhile = other
    for _ in range(3):
        await tail.step()
    assert world.queued == []
    world.place, world.meanwhile = 10_000, lambda: None
    await tail.step()
    assert world.queued == ["User", "Product"]


async def test_loaded_history_is_followed_by_one_renewal_at_once() -> None:
    world = World(products=100)
    tail = world.tail()
    world.history = True
    await world.pass_(tail, 30)
    assert world.queued == []  # the load goes on
    world.history = False
    await world.pass_(tail, 5)
    assert world.queued == ["Product"]
    await world.pass_(tail, 600)
    assert world.queued == ["Product"]


async def test_events_that_drip_in_late_renew_in_proportion_to_what_that_costs() -> None:
    """Every third second one from a phone that was offline, for two hours."""
    renewals = {}
    for products in (100, 50_000, 1_000_000):
        world = World(products)
        tail = world.tail()
        for _ in range(1_440):
            world.history = True
            await world.pass_(tail, 1)
            world.history = False
            await world.pass_(tail, 4)
        renewals[products] = len(world.queued)
    assert 100 <= renewals[100] <= 121
    assert 6 <= renewals[50_000] <= 8  # every 1,000 seconds
    assert 1 <= renewals[1_000_000] <= 2
