"""Does to the parts what was drawn, keeps account of what the service promised meanwhile, and asks the judge."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from services.features.domain.features import Entity, Feature
from services.features.ports import StoreDownError
from services.features.reading import Answer
from services.features.signal_ports import Signal, SignalPage
from tests.property.features.actions import PRODUCTS, SUBJECTS, Draft
from tests.property.features.judge import Asked, Judge, Span
from tests.property.features.world import HOLD_MS, SERVERS, World
from tests.support.folding import columns_of


class Driver:
    """The account of one example."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.judge = Judge(world)
        self.numbers = 0
        self.reads = 0
        self.sent: list[str] = []
        self.stored: set[str] = set()
        # Marks that a server still owes, and marks that nobody remembers but the log.
        self.owed: list[set[str]] = [set() for _ in range(SERVERS)]
        self.lost: set[str] = set()
        self.leased_until_ms = 0
        # Whom events named since somebody began to count.
        self.touched: set[str] = set()
        self.catalogue: dict[str, Signal] = {}
        self.pages: list[SignalPage] = []
        self.cursor = 0

    def new_id(self) -> str:
        self.numbers += 1
        return f"e{self.numbers}"

    async def write(self, server: int, batch: Sequence[Draft]) -> None:
        await self.world.change()
        catalogue = await self.world.truth.catalogue()
        events, accepted, duplicates, rejected, unknown = [], set[str](), 0, [], 0
        for place, draft in enumerate(batch):
            repeats = draft.repeats is not None and self.sent
            event_id = self.sent[(draft.repeats or 0) % len(self.sent)] if repeats else self.new_id()
            events.append(draft.event(event_id, self.world.clock.us()))
            if not draft.in_time:
                rejected.append(place)
            elif event_id in self.stored or event_id in accepted:
                duplicates += 1
            else:
                accepted.add(event_id)
                unknown += not set(draft.products) <= catalogue
        self.sent += [event.event_id for event in events]
        self.stored |= accepted  # others may send them again meanwhile
        process = self.world.servers[server]
        self.judge.unacknowledged |= accepted
        written = await process.writer.write(events)
        self.judge.unacknowledged -= accepted
        assert (written.accepted, written.duplicates) == (len(accepted), duplicates)
        assert [place for place, _ in written.rejected] == rejected
        assert written.unknown_products == unknown
        touched = {e.subject_id for e in events if e.event_id in accepted}
        self.touched |= touched
        if process.marker.in_debt:
            self.owed[server] |= touched
        self.paid()

    async def read(
        self, server: int, entity: Entity, ids: Sequence[str], features: Sequence[Feature], fresh: bool = False,
        caught_up: bool = False, disturbed: bool = False,
    ) -> None:  # fmt: skip
        others = [owed for place, owed in enumerate(self.owed) if place != server]
        asked = Asked(
            entity,
            ids,
            features,
            self.world.clock.ms,
            await self.judge.known(entity),
            frozenset(self.judge.unacknowledged),
            frozenset(self.lost.union(*others)) if not caught_up else frozenset(),
            caught_up,
            disturbed,
        )
        reader = self.world.servers[server].reader
        self.reads += 1
        if fresh or self.reads % 3:
            answer = await reader.read(entity, ids, features, fresh)
        else:  # the other form
            found, degraded = await reader.read_rows(entity, ids, features, None, lambda answer: answer)
            answer = Answer(columns_of(features, found), degraded)
        if fresh:
            computed = {at_ms for column in answer.columns.values() for at_ms in column.computed_ms if at_ms}
            assert all(instant >= asked.began_ms for instant in computed)
        await self.judge.check(asked, answer)

    async def read_everything(self, server: int, caught_up: bool = False, disturbed: bool = False) -> None:
        for entity, ids in (("User", SUBJECTS), ("Product", PRODUCTS)):
            found = self.world.entities[entity]
            await self.read(server, found, ids, list(found.features.values()), caught_up=caught_up, disturbed=disturbed)

    def paid(self) -> None:
        for place, process in enumerate(self.world.servers):
            if not process.marker.in_debt:
                self.owed[place].clear()

    async def settle(self, server: int) -> None:
        await self.world.servers[server].marker.settle()
        self.paid()

    def restart_server(self, server: int) -> None:
        self.lost |= self.owed[server]
        self.owed[server] = set()
        self.world.restart_server(server)

    def restart_worker(self) -> None:
        self.world.restart_worker()

    def send(self, page: Sequence[Signal]) -> None:
        for signal in page:
            self.catalogue[signal.product_id] = signal
        self.cursor += 1
        self.pages.append(SignalPage(page, str(self.cursor), restart=False, caught_up=True))

    async def follow(self) -> None:
        while self.pages:
            await self.world.change()
            await self.world.worker.apply(self.pages.pop(0))
        await self.world.worker.announce()

    async def rank(self) -> None:
        await self.world.change()
        await self.unless_down(self.world.worker.rank())

    async def do(self, doing: str, server: int, batch: Sequence[Draft], page: Sequence[Signal]) -> None:
        """One of what goes on all the time."""
        worker = self.world.worker
        if doing == "write":
            await self.write(server, batch)
        elif doing == "follow":
            self.send(page)
            await self.follow()
        elif doing == "rank":
            await self.rank()
        elif doing == "refresh":
            for entity in self.world.entities.values():
                await self.unless_down(worker.refresher.refresh(entity))
        else:
            await self.unless_down(worker.tail.step())

    async def unless_down(self, step: Awaitable[object]) -> None:
        try:
            await step
        except StoreDownError:
            assert not self.world.redis_up

    async def wipe(self) -> None:
        await self.world.redis.flushall()
        self.lost.clear()

    async def evict(self, entity: str, which: int) -> None:
        pattern = "ws:1:marks:*" if entity == "marks" else f"ws:1:{{{entity}*"
        keys = sorted([key async for key in self.world.redis.scan_iter(pattern)])
        if keys:
            await self.world.redis.delete(keys[which % len(keys)])

    async def blurred(self, step: Coroutine[Any, Any, None], catalogue: bool = False, crowd: bool = False) -> None:
        self.judge.now_blurred = span = Span(self.world.clock.ms, self.world.clock.ms, catalogue, crowd)
        try:
            await step
        finally:
            self.judge.now_blurred = None
            self.judge.blurred.append(span._replace(end_ms=self.world.clock.ms))

    async def between(self, point: str, outer: str, entity: Entity, inner: str, batch: Sequence[Draft]) -> None:
        process, worker = self.world.servers[0], self.world.worker
        other = type(worker)(self.world.parts, self.world.clock)
        actions: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "write": lambda: self.write(1, batch),
            "refresh": lambda: other.refresher.refresh(entity),
            "tail": other.tail.step,
            "follow": self.follow,
            "read": lambda: self.read_everything(1, disturbed=True),
        }

        async def act() -> None:
            await actions[inner]()

        hooks = process.hooks if outer == "read" else worker.hooks
        hooks.at(point, act)
        ids = SUBJECTS if entity.name == "User" else PRODUCTS
        steps: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "read": lambda: self.read(0, entity, ids, list(entity.features.values()), disturbed=True),
            "refresh": lambda: worker.refresher.refresh(entity),
            "repeat": worker.tail.step,
        }

        async def both() -> None:
            await steps[outer]()

        await self.blurred(both(), inner == "follow")
        hooks.clear()

    async def catch_up(self) -> None:
        """All that lets the worker do its work; then everything must be right and fresh."""
        world = self.world
        if not world.redis_up:
            await world.redis_back()
        for server in range(SERVERS):
            await self.settle(server)
        world.clock.ms = max(world.clock.ms + HOLD_MS, self.leased_until_ms)
        await world.worker.confirm()
        await self.follow()
        await self.rank()
        for _ in range(3):  # what had ended at one look is read at the next
            while await world.worker.tail.step():
                pass
        while sum([await world.worker.refresher.refresh(entity) for entity in world.entities.values()]):
            pass
        self.lost.clear()
        self.judge.unacknowledged.clear()
        assert {event.event_id for event in await world.truth.log()} == self.stored
        for server in range(SERVERS):
            await self.read_everything(server, caught_up=True)
