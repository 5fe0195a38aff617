"""The state machine: what is drawn happens to real parts, and every answer is judged."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from services.features.signal_ports import Signal, SignalPage
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
from tests.property.features.driver import Driver
from tests.property.features.world import LEASE_MS, SERVERS, World

T = TypeVar("T")

servers = st.integers(0, SERVERS - 1)
entities = st.sampled_from(("User", "Product"))
doings = st.lists(
    st.sampled_from(("write", "write", "follow", "follow", "rank", "refresh", "tail")), min_size=1, max_size=4
)
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
        self.driver = Driver(world)

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(step, self._loop).result(_STEP)

    @initialize(page=pages)
    def begin(self, page: list[Signal]) -> None:
        self.run(self.world.reset())
        self.driver.send(page)
        self.run(self.driver.follow())

    # Events

    @rule(server=servers, batch=batches)
    def write(self, server: int, batch: list[Draft]) -> None:
        self.run(self.driver.write(server, batch))

    @rule(server=servers, batch=batches)
    def write_and_lose_the_marks(self, server: int, batch: list[Draft]) -> None:
        async def lossy() -> None:
            online = self.world.servers[server].online
            online.lose_marks = True
            try:
                await self.driver.write(server, batch)
            finally:
                online.lose_marks = False

        self.run(lossy())

    @rule(server=servers, batch=batches)
    def die_after_the_commit(self, server: int, batch: list[Draft]) -> None:
        """Durable, but neither marked nor acknowledged."""

        async def dying() -> None:
            await self.world.change()
            drafts = [draft for draft in batch if draft.in_time]
            events = [draft.event(self.driver.new_id(), self.world.clock.us()) for draft in drafts]
            events = [e._replace(event_time_us=e.event_time_us or self.world.clock.us()) for e in events]
            if events:
                await self.world.parts.log.append(events)
            self.driver.judge.unacknowledged |= {e.event_id for e in events}
            self.driver.stored |= {e.event_id for e in events}
            self.driver.restart_server(server)

        self.run(dying())

    # Reads

    @rule(server=servers, entity=entities, data=st.data(), fresh=st.sampled_from((False, False, False, True)))
    def read(self, server: int, entity: str, data: st.DataObject, fresh: bool) -> None:
        found = self.world.entities[entity]
        ids = data.draw(st.lists(st.sampled_from(SUBJECTS if entity == "User" else PRODUCTS), min_size=1, max_size=3))
        names = data.draw(st.lists(st.sampled_from(sorted(found.features)), min_size=1, max_size=4, unique=True))
        self.run(self.driver.read(server, found, ids, [found.features[name] for name in names], fresh=fresh))

    @rule(server=servers)
    def read_everything(self, server: int) -> None:
        self.run(self.driver.read_everything(server))

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
        self.driver.send(page)

    @rule(without=st.sampled_from(("", *LISTED)))
    def catalogue_restarts(self, without: str) -> None:
        self.driver.catalogue.pop(without, None)
        self.driver.cursor += 1
        signals = whole_catalogue(list(self.driver.catalogue.values()), without)
        self.driver.pages.append(SignalPage(signals, str(self.driver.cursor), restart=True, caught_up=True))

    @rule()
    def worker_follows(self) -> None:
        self.run(self.driver.follow())

    @rule()
    def worker_ranks(self) -> None:
        self.run(self.driver.rank())

    # The worker

    @rule(entity=entities)
    def worker_refreshes(self, entity: str) -> None:
        self.run(self.driver.unless_down(self.world.worker.refresher.refresh(self.world.entities[entity])))

    @rule()
    def worker_reads_the_log(self) -> None:
        self.run(self.driver.unless_down(self.world.worker.tail.step()))

    @rule(server=servers)
    def server_settles(self, server: int) -> None:
        self.run(self.driver.settle(server))

    @precondition(lambda self: self.world.redis_up)
    @rule(entity=entities)
    def worker_dies_at_work(self, entity: str) -> None:
        async def dying() -> None:
            claims = await self.world.parts.queue.claim(entity, self.world.clock.ms, 3)
            if claims:
                self.driver.leased_until_ms = self.world.clock.ms + LEASE_MS
            self.driver.restart_worker()

        self.run(dying())

    @rule()
    def worker_restarts(self) -> None:
        self.driver.restart_worker()

    @rule(server=servers)
    def server_restarts(self, server: int) -> None:
        self.driver.restart_server(server)

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
        self.run(self.driver.wipe())

    @precondition(lambda self: self.world.redis_up)
    @rule(server=servers, doings=doings, batch=batches, page=pages)
    def redis_loses_its_last_second(
        self, server: int, doings: list[str], batch: list[Draft], page: list[Signal]
    ) -> None:
        async def lost() -> None:
            kept, self.driver.touched = await self.world.keep(), set()
            for doing in doings:
                await self.driver.do(doing, server, batch, page)
            await self.world.throw_back(kept)
            self.driver.lost |= self.driver.touched
            # What was done is leased again.
            self.driver.leased_until_ms = max(self.driver.leased_until_ms, self.world.clock.ms + LEASE_MS)

        self.run(lost())

    @precondition(lambda self: self.world.redis_up)
    @rule(server=servers, doings=doings, batch=batches, page=pages)
    def redis_is_away_for_a_moment(
        self, server: int, doings: list[str], batch: list[Draft], page: list[Signal]
    ) -> None:
        async def away() -> None:
            await self.world.redis_away()
            for doing in doings:
                await self.driver.do(doing, server, batch, page)
            await self.world.redis_back()

        self.run(away())

    @rule(entity=st.sampled_from(("User", "Product", "marks")), which=st.integers(0, 7))
    def redis_evicts(self, entity: str, which: int) -> None:
        self.run(self.driver.evict(entity, which))

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
        self.run(self.driver.between(point, outer, self.world.entities[entity], inner, batch))

    @precondition(lambda self: self.world.redis_up)
    @rule(batch=batches, entity=entities, worker=st.booleans())
    def something_comes_between_commit_and_mark(self, batch: list[Draft], entity: str, worker: bool) -> None:
        async def reading() -> None:
            if worker:
                await self.world.worker.refresher.refresh(self.world.entities[entity])
            else:
                await self.driver.read_everything(1, disturbed=True)

        async def writing() -> None:
            self.world.servers[0].hooks.at("mark", reading)
            await self.driver.blurred(self.driver.write(0, batch))
            self.world.servers[0].hooks.clear()

        self.run(writing())

    @precondition(lambda self: self.world.redis_up)
    @rule(one=batches, two=batches, three=batches)
    def much_happens_at_once(self, one: list[Draft], two: list[Draft], three: list[Draft]) -> None:
        async def crowd() -> None:
            done = await asyncio.gather(
                self.driver.write(0, new(one)),
                self.driver.read_everything(0, disturbed=True),
                self.driver.write(1, new(two)),
                self.driver.read_everything(1, disturbed=True),
                self.world.worker.refresher.refresh(self.world.entities["Product"]),
                self.world.worker.refresher.refresh(self.world.entities["User"]),
                self.world.worker.tail.step(),
                self.driver.write(0, new(three)),
                return_exceptions=True,
            )
            for failure in done:
                if isinstance(failure, BaseException):
                    raise failure

        self.run(self.driver.blurred(crowd(), crowd=True))

    @rule()
    def worker_keeps_levels(self) -> None:
        self.run(self.driver.unless_down(self.world.worker.levelling.step()))

    # What must hold

    @rule()
    def worker_catches_up(self) -> None:
        self.run(self.driver.catch_up())

    def teardown(self) -> None:
        if self.world.servers:
            self.run(self.driver.catch_up())
