"""When the log tail queues everything, and when not."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from services.features.definitions import load
from services.features.domain.features import Entity, Feature
from services.features.ports import NO_COUNTERS, Arrival, Counters, LoggedEvent, Touched
from services.features.tailing import LogTail

ENTITIES = list(load().entities.values())


class World:
    """A log, an online store and a clock, as the log tail sees them."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.end = 10
        self.place: int | None = 10
        self.queued: list[str] = []
        self.levels: list[str] = []
        self.marked: list[str] = []
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

    async def cursor(self) -> int | None:
        return self.place

    async def renew(self) -> None:
        self.place = None

    async def advance(self, cursor: int) -> None:
        self.place = cursor

    async def confirmed(self, transactions: Sequence[int]) -> set[int]:
        return set(transactions)

    async def arrived(self, now_ms: int, limit: int) -> list[Arrival]:
        return []

    async def mark(
        self, touched: Touched, now_ms: int, transactions: Sequence[int], some: Counters = NO_COUNTERS
    ) -> None:
        self.marked += [entity_id for ids in touched.values() for entity_id in ids]

    async def active(self, entity: Entity, after: str, now_ms: int, limit: int) -> list[str]:
        if after:
            return []
        self.queued.append(entity.name)
        return []

    async def listed(self, feature: Feature, after: str, before_ms: int, limit: int) -> list[str]:
        return [] if after else self.levels

    def tail(self) -> LogTail:
        world: Any = self
        entities = [dataclasses.replace(entity) for entity in ENTITIES]
        return LogTail(entities, world, world, world, world, world, lambda: self.now_ms)


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


async def test_an_emptied_store_queues_also_what_has_a_level_and_no_evidence_any_more() -> None:
    world = World()
    world.levels = ["was-popular"]
    tail = world.tail()
    await tail.step()
    assert world.marked == []
    world.place = None
    await tail.step()
    assert world.marked == ["was-popular"]
