"""The state machine: what is drawn happens to real parts, and every answer is judged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from services.features.domain.features import Entity, Feature
from services.features.ports import Signal, SignalPage, StoreDownError
from tests.property.features.actions import (
    LISTED,
    PRODUCTS,
    SUBJECTS,
    WINDOWS_MS,
    Draft,
    batches,
    pages,
    steps_ms,
    whole_catalogue,
)
from tests.property.features.judge import Asked, Judge, Span
from tests.property.features.world import LEASE_MS, SERVERS, Stored, World

T = TypeVar("T")

servers = st.integers(0, SERVERS - 1)
entities = st.sampled_from(("User", "Product"))
# Seconds of real time for one step; a machine that is busy takes one.
_STEP = 60.0


def new(batch: Sequence[Draft]) -> list[Draft]:
    """Without repetitions: of two that come at once nobody can say which is the duplicate."""
    return [replace(draft, repeats=None) for draft in batch]


class Shop(RuleBasedStateMachine):
    """Runs in a thread of its own; what it does runs in the loop of the world."""

    def __init__(self, world: World, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self.world = world
        self._loop = loop
        self.judge = Judge(world)
        self.numbers = 0
        self.sent: list[str] = []
        self.stored: set[str] = set()
        # Marks that a server still owes, and marks that nobody remembers but the log.
        self.owed: list[set[str]] = [set() for _ in range(SERVERS)]
        self.lost: set[str] = set()
        self.leased_until_ms = 0
        self.kept: list[Stored] | None = None
        self.since_kept: set[str] = set()
        self.catalogue: dict[str, Signal] = {}
        self.pages: list[SignalPage] = []
        self.cursor = 0
        self.catalogue_lost = False

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result(_STEP)

    @initialize(page=pages)
    def begin(self, page: list[Signal]) -> None:
        self.run(self.world.reset())
        self._send(page)
        self.run(self._follow())

    # Events

    @rule(server=servers, batch=batches)
    def write(self, server: int, batch: list[Draft]) -> None:
        self.run(self._write(server, batch))

    @rule(server=servers, batch=batches)
    def write_and_lose_the_marks(self, server: int, batch: list[Draft]) -> None:
        async def lossy() -> None:
            online = self.world.servers[server].online
            online.lose_marks = True
            try:
                await self._write(server, batch)
            finally:
                online.lose_marks = False

        self.run(lossy())

    @rule(server=servers, batch=batches)
    def die_after_the_commit(self, server: int, batch: list[Draft]) -> None:
        """Durable, but neither marked nor acknowledged."""

        async def dying() -> None:
            await self.world.change()
            drafts = [draft for draft in batch if draft.in_time]
            events = [draft.event(self._new_id(), self.world.clock.us()) for draft in drafts]
            events = [e._replace(event_time_us=e.event_time_us or self.world.clock.us()) for e in events]
            if events:
                await self.world.parts.log.append(events)
            self.judge.unacknowledged |= {e.event_id for e in events}
            self.stored |= {e.event_id for e in events}
            self._restart_server(server)

        self.run(dying())

    # Reads

    @rule(server=servers, entity=entities, data=st.data(), fresh=st.sampled_from((False, False, False, True)))
    def read(self, server: int, entity: str, data: st.DataObject, fresh: bool) -> None:
        found = self.world.entities[entity]
        ids = data.draw(st.lists(st.sampled_from(SUBJECTS if entity == "User" else PRODUCTS), min_size=1, max_size=3))
        names = data.draw(st.lists(st.sampled_from(sorted(found.features)), min_size=1, max_size=4, unique=True))
        self.run(self._read(server, found, ids, [found.features[name] for name in names], fresh=fresh))

    @rule(server=servers)
    def read_everything(self, server: int) -> None:
        self.run(self._read_everything(server))

    # Time

    @rule(by_ms=steps_ms)
    def time_passes(self, by_ms: int) -> None:
        self.world.clock.ms += by_ms

    @rule(data=st.data(), window=st.sampled_from((0, *WINDOWS_MS)), by=st.sampled_from((-1, 0, 1)))
    def an_event_comes_to_an_edge(self, data: st.DataObject, window: int, by: int) -> None:
        log = self.run(self.world.truth.log())
        edges = sorted({event.event_ms + window + by for event in log})
        edges = [edge for edge in edges if edge > self.world.clock.ms]
        if edges:
            self.world.clock.ms = data.draw(st.sampled_from(edges))

    # The catalogue

    @rule(page=pages)
    def catalogue_changes(self, page: list[Signal]) -> None:
        self._send(page)

    @rule(without=st.sampled_from(("", *LISTED)))
    def catalogue_restarts(self, without: str) -> None:
        self.catalogue.pop(without, None)
        self.cursor += 1
        signals = whole_catalogue(list(self.catalogue.values()), without)
        self.pages.append(SignalPage(signals, str(self.cursor), restart=True, caught_up=True))

    @rule()
    def worker_follows(self) -> None:
        self.run(self._follow())

    @rule()
    def worker_ranks(self) -> None:
        self.run(self._rank())

    # The worker

    @rule(entity=entities)
    def worker_refreshes(self, entity: str) -> None:
        self.run(self._unless_down(self.world.worker.refresher.refresh(self.world.entities[entity])))

    @rule()
    def worker_reads_the_log(self) -> None:
        self.run(self._unless_down(self.world.worker.tail.step()))

    @rule(server=servers)
    def server_settles(self, server: int) -> None:
        self.run(self._settle(server))

    @precondition(lambda self: self.world.redis_up)
    @rule(entity=entities)
    def worker_dies_at_work(self, entity: str) -> None:
        async def dying() -> None:
            claims = await self.world.parts.queue.claim(entity, self.world.clock.ms, 3)
            if claims:
                self.leased_until_ms = self.world.clock.ms + LEASE_MS
            self._restart_worker()

        self.run(dying())

    @rule()
    def worker_restarts(self) -> None:
        self._restart_worker()

    @rule(server=servers)
    def server_restarts(self, server: int) -> None:
        self._restart_server(server)

    # Redis

    @precondition(lambda self: self.world.redis_up)
    @rule()
    def redis_goes_away(self) -> None:
        self.run(self.world.redis_away())

    @precondition(lambda self: not self.world.redis_up)
    @rule()
    def redis_comes_back(self) -> None:
        self.run(self.world.redis_back())

    @rule()
    def redis_is_wiped(self) -> None:
        self.run(self._wipe())

    @rule()
    def redis_reaches_the_disk(self) -> None:
        self.kept = self.run(self.world.keep())
        self.since_kept = set()

    @precondition(lambda self: self.kept is not None)
    @rule()
    def redis_loses_what_was_not_on_the_disk(self) -> None:
        self.run(self.world.throw_back(self.kept or []))
        self.lost |= self.since_kept
        self.leased_until_ms = max(self.leased_until_ms, self.world.clock.ms + LEASE_MS)

    @rule(entity=entities, which=st.integers(0, 3))
    def redis_evicts(self, entity: str, which: int) -> None:
        self.run(self._evict(entity, which))

    # At once

    @precondition(lambda self: self.world.redis_up)
    @rule(
        point=st.sampled_from(("known", "compute", "write-back", "forget")),
        outer=st.sampled_from(("read", "refresh", "repeat")),
        entity=entities,
        inner=st.sampled_from(("write", "write", "write", "refresh", "follow", "tail", "read")),
        batch=batches,
    )
    def something_comes_between(self, point: str, outer: str, entity: str, inner: str, batch: list[Draft]) -> None:
        """Server 0 or the worker stands between two of its steps while server 1 or another worker acts."""
        self.run(self._between(point, outer, self.world.entities[entity], inner, batch))

    @precondition(lambda self: self.world.redis_up)
    @rule(batch=batches, entity=entities, worker=st.booleans())
    def something_comes_between_commit_and_mark(self, batch: list[Draft], entity: str, worker: bool) -> None:
        async def reading() -> None:
            if worker:
                await self.world.worker.refresher.refresh(self.world.entities[entity])
            else:
                await self._read_everything(1, disturbed=True)

        async def writing() -> None:
            self.world.servers[0].hooks.at("mark", reading)
            await self._blurred(self._write(0, batch))
            self.world.servers[0].hooks.clear()

        self.run(writing())

    @precondition(lambda self: self.world.redis_up)
    @rule(one=batches, two=batches, three=batches)
    def much_happens_at_once(self, one: list[Draft], two: list[Draft], three: list[Draft]) -> None:
        async def crowd() -> None:
            done = await asyncio.gather(
                self._write(0, new(one)),
                self._read_everything(0, disturbed=True),
                self._write(1, new(two)),
                self._read_everything(1, disturbed=True),
                self.world.worker.refresher.refresh(self.world.entities["Product"]),
                self.world.worker.refresher.refresh(self.world.entities["User"]),
                self.world.worker.tail.step(),
                self._write(0, new(three)),
                return_exceptions=True,
            )
            for failure in done:
                if isinstance(failure, BaseException):
                    raise failure

        self.run(self._blurred(crowd(), crowd=True))

    # What must hold

    @rule()
    def worker_catches_up(self) -> None:
        self.run(self._catch_up())

    def teardown(self) -> None:
        if self.world.servers:
            self.run(self._catch_up())

    # Steps

    def _new_id(self) -> str:
        self.numbers += 1
        return f"e{self.numbers}"

    async def _write(self, server: int, batch: Sequence[Draft]) -> None:
        await self.world.change()
        catalogue = await self.world.truth.catalogue()
        events, accepted, duplicates, rejected, unknown = [], set[str](), 0, [], 0
        for place, draft in enumerate(batch):
            repeats = draft.repeats is not None and self.sent
            event_id = self.sent[(draft.repeats or 0) % len(self.sent)] if repeats else self._new_id()
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
        written = await process.writer.write(events)
        assert (written.accepted, written.duplicates) == (len(accepted), duplicates)
        assert [place for place, _ in written.rejected] == rejected
        assert written.unknown_products == unknown
        touched = {e.subject_id for e in events if e.event_id in accepted}
        self.since_kept |= touched
        if process.marker.in_debt:
            self.owed[server] |= touched
        self._paid()

    async def _read(
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
            frozenset(self.lost.union(*others)) if not caught_up else frozenset(),
            caught_up,
            self.catalogue_lost,
            disturbed,
        )
        answer = await self.world.servers[server].reader.read(entity, ids, features, fresh)
        if fresh:
            computed = {r.computed_ms for column in answer.readings.values() for r in column if r.computed_ms}
            assert all(instant >= asked.began_ms for instant in computed)
        await self.judge.check(asked, answer)

    async def _read_everything(self, server: int, caught_up: bool = False, disturbed: bool = False) -> None:
        for entity, ids in (("User", SUBJECTS), ("Product", PRODUCTS)):
            found = self.world.entities[entity]
            await self._read(
                server, found, ids, list(found.features.values()), caught_up=caught_up, disturbed=disturbed
            )

    def _paid(self) -> None:
        for place, process in enumerate(self.world.servers):
            if not process.marker.in_debt:
                self.owed[place].clear()

    async def _settle(self, server: int) -> None:
        await self.world.servers[server].marker.settle()
        self._paid()

    def _restart_server(self, server: int) -> None:
        self.lost |= self.owed[server]
        self.owed[server] = set()
        self.world.restart_server(server)

    def _restart_worker(self) -> None:
        self.world.restart_worker()

    def _send(self, page: Sequence[Signal]) -> None:
        for signal in page:
            self.catalogue[signal.product_id] = signal
        self.cursor += 1
        self.pages.append(SignalPage(page, str(self.cursor), restart=False, caught_up=True))

    async def _follow(self) -> None:
        while self.pages:
            await self.world.change()
            await self.world.worker.apply(self.pages.pop(0))
        await self.world.worker.announce()

    async def _rank(self) -> None:
        await self.world.change()
        await self._unless_down(self.world.worker.rank())

    async def _unless_down(self, step: Awaitable[object]) -> None:
        try:
            await step
        except StoreDownError:
            assert not self.world.redis_up

    async def _wipe(self) -> None:
        await self.world.redis.flushall()
        self.lost.clear()

    async def _evict(self, entity: str, which: int) -> None:
        keys = sorted([key async for key in self.world.redis.scan_iter(f"ws:1:{{{entity}*")])
        if keys:
            await self.world.redis.delete(keys[which % len(keys)])

    async def _blurred(self, step: Coroutine[Any, Any, None], catalogue: bool = False, crowd: bool = False) -> None:
        self.judge.now_blurred = span = Span(self.world.clock.ms, self.world.clock.ms, catalogue, crowd)
        try:
            await step
        finally:
            self.judge.now_blurred = None
            self.judge.blurred.append(span._replace(end_ms=self.world.clock.ms))

    async def _between(self, point: str, outer: str, entity: Entity, inner: str, batch: Sequence[Draft]) -> None:
        process, worker = self.world.servers[0], self.world.worker
        other = type(worker)(self.world.parts, self.world.clock)
        actions: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "write": lambda: self._write(1, batch),
            "refresh": lambda: other.refresher.refresh(entity),
            "tail": other.tail.step,
            "follow": self._follow,
            "read": lambda: self._read_everything(1, disturbed=True),
        }

        async def act() -> None:
            await actions[inner]()

        hooks = process.hooks if outer == "read" else worker.hooks
        hooks.at(point, act)
        ids = SUBJECTS if entity.name == "User" else PRODUCTS
        steps: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "read": lambda: self._read(0, entity, ids, list(entity.features.values()), disturbed=True),
            "refresh": lambda: worker.refresher.refresh(entity),
            "repeat": worker.tail.step,
        }

        async def both() -> None:
            await steps[outer]()

        await self._blurred(both(), inner == "follow")
        hooks.clear()

    async def _catch_up(self) -> None:
        """All that lets the worker do its work; then everything must be right and fresh."""
        world = self.world
        if not world.redis_up:
            await world.redis_back()
        for server in range(SERVERS):
            await self._settle(server)
        world.clock.ms = max(world.clock.ms, self.leased_until_ms)
        await self._follow()
        await self._rank()
        for _ in range(3):  # what had ended at one look is read at the next
            while await world.worker.tail.step():
                pass
        while sum([await world.worker.refresher.refresh(entity) for entity in world.entities.values()]):
            pass
        self.lost.clear()
        self.judge.unacknowledged.clear()
        assert {event.event_id for event in await world.truth.log()} == self.stored
        for server in range(SERVERS):
            await self._read_everything(server, caught_up=True)
