"""The feature service's own parts on real stores, under a clock that a test turns, with faults where they hurt."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from redis.asyncio import Redis

from services.features.announcing import Announcer
from services.features.app import MIGRATIONS, Parts, open_parts
from services.features.committing import GroupCommit
from services.features.domain.features import Entity, Entry, Feature, Outcome, Record
from services.features.following import SignalFollower
from services.features.levelling import Levelling
from services.features.marking import Marker
from services.features.maxima import Maxima
from services.features.ports import (
    NO_COUNTERS,
    ONLINE_STORE,
    Counters,
    Erased,
    Meanwhile,
    OnlineStore,
    Standing,
    StoreDownError,
    Touched,
)
from services.features.reading import Reader
from services.features.refreshing import Refresher
from services.features.signal_ports import SignalPage, SourceDownError
from services.features.stores.signals import PostgresSignals
from services.features.tailing import LogTail
from services.features.writing import Writer
from services.runtime.migrations import migrate
from tests.property.features.truth import Truth
from tests.support.features import settings
from tests.support.folding import fold
from tests.support.proxy import Proxy
from tests.support.stack import ValkeyServer
from tests.support.waiting import eventually

START_MS = 1_790_000_000_000
SERVERS = 2
LEASE_MS = 30_000
# For so long announcements of the catalogue are kept, to be repeated.
HOLD_MS = 3_000
CONNECTIONS = 16
# Far above every answer of a busy machine: the only outages are those that the test makes.
PATIENCE = 20.0


class Clock:
    """Milliseconds since 1970; stands still unless it is moved."""

    def __init__(self) -> None:
        self.ms = START_MS

    def __call__(self) -> int:
        return self.ms

    def us(self) -> int:
        return self.ms * 1_000


class Line(Proxy):
    """The way to Redis. Down: connections break, new ones too."""

    up = True

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.up:
            await super().serve(reader, writer)
        else:
            writer.transport.abort()


class Hooks:
    """What is to happen, once, when a process comes to a point between two of its steps."""

    def __init__(self) -> None:
        self._actions: dict[str, Callable[[], Awaitable[None]]] = {}

    def at(self, point: str, action: Callable[[], Awaitable[None]]) -> None:
        self._actions[point] = action

    async def reach(self, point: str) -> None:
        action = self._actions.pop(point, None)
        if action is not None:
            await action()

    def clear(self) -> None:
        self._actions.clear()


class HookedOnline:
    """An online store whose marks can be lost, and whose calls can be preceded by something else."""

    def __init__(self, inner: OnlineStore, hooks: Hooks) -> None:
        self._inner = inner
        self._hooks = hooks
        self.lose_marks = False

    async def read(self, entity: str, ids: Sequence[str]) -> list[Record]:
        return await self._inner.read(entity, ids)

    async def packed(self, entity: str, ids: Sequence[str], meanwhile: Meanwhile | None = None) -> list[bytes | None]:
        return await self._inner.packed(entity, ids, meanwhile)

    def unpack(self, packed: bytes | None, only: Collection[int] | None = None) -> Record:
        return self._inner.unpack(packed, only)

    async def begin(self, entity: str, ids: Sequence[str]) -> list[Record]:
        return await self._inner.begin(entity, ids)

    async def write(
        self, entity: str, ttl_ms: int, entries: Mapping[str, tuple[Record, Mapping[int, Entry]]]
    ) -> set[str]:
        await self._hooks.reach("write-back")
        return await self._inner.write(entity, ttl_ms, entries)

    async def forget(self, entity: str, ids: Sequence[str]) -> None:
        await self._hooks.reach("forget")
        await self._inner.forget(entity, ids)

    async def erase(self, entity: str, entity_id: str, now_ms: int, later: Sequence[int]) -> Erased:
        return await self._inner.erase(entity, entity_id, now_ms, later)

    async def mark(
        self, touched: Touched, now_ms: int, transactions: Sequence[int], some: Counters = NO_COUNTERS
    ) -> None:
        await self._hooks.reach("mark")
        if self.lose_marks:
            raise StoreDownError(ONLINE_STORE, "lost")
        await self._inner.mark(touched, now_ms, transactions, some)


class HookedComputer:
    """The statements; something else can happen between a record's read and its statement."""

    def __init__(self, parts: Parts, hooks: Hooks) -> None:
        self._inner = parts.computer
        self._hooks = hooks

    async def compute(self, feature: Feature, ids: Sequence[str], now_ms: int) -> dict[str, Outcome]:
        await self._hooks.reach("compute")
        return await self._inner.compute(feature, ids, now_ms)

    async def maximum(self, feature: Feature, instants: Sequence[int]) -> dict[int, float]:
        return await self._inner.maximum(feature, instants)

    async def known(self, entity: Entity, ids: Sequence[str]) -> set[str]:
        await self._hooks.reach("known")
        return await self._inner.known(entity, ids)

    async def active(self, entity: Entity, after: str, now_ms: int, limit: int) -> list[str]:
        return await self._inner.active(entity, after, now_ms, limit)

    async def standing(self, entity: Entity, ids: Sequence[str], now_ms: int) -> Standing:
        await self._hooks.reach("known")
        return await self._inner.standing(entity, ids, now_ms)

    async def of_products(self, entity: Entity, product_ids: Sequence[str], now_ms: int) -> list[str]:
        return await self._inner.of_products(entity, product_ids, now_ms)


class NoSource:
    """A catalogue that is followed by hand."""

    def follow(self, cursor: str) -> AsyncIterator[SignalPage]:
        raise SourceDownError("followed by hand")


class Server:
    """What a server process holds in memory."""

    def __init__(self, parts: Parts, clock: Clock) -> None:
        self.hooks = Hooks()
        self.online = HookedOnline(parts.online, self.hooks)
        self.marker = Marker(self.online, clock)
        self.group = GroupCommit(parts.log, self.marker, parts.entities)
        self.writer = Writer(self.group, clock.us)
        computer = HookedComputer(parts, self.hooks)
        # An example must do the same each time it runs: the newest maximum, the middle of the jitter.
        maxima = Maxima(parts.queue, parts.levels, computer, clock, keep_ms=0, rest=0, patience=PATIENCE)
        self.reader = Reader(self.online, parts.queue, computer, maxima, self.marker, clock, lambda: 0.5, fold)


class WorkerProcess:
    """What a worker process holds in memory."""

    def __init__(self, parts: Parts, clock: Clock) -> None:
        self.hooks = Hooks()
        self.online = HookedOnline(parts.online, self.hooks)
        computer = HookedComputer(parts, self.hooks)
        levels = parts.levels
        self.refresher = Refresher(parts.entities, self.online, parts.queue, computer, levels, clock, lambda: 0.5, 1.0)
        self.tail = LogTail(parts.entities, parts.log, parts.queue, self.online, computer, levels, clock)
        self.levelling = Levelling(parts.entities, levels, parts.queue, computer, clock)
        self.signals = PostgresSignals(parts.database)
        self.announcer = Announcer(parts.entities, self.signals, self.online, parts.queue, computer, clock)
        self.follower = SignalFollower(NoSource(), self.signals, self.announcer)
        self._ranked = False

    # The follower's loop waits in real time; these are its steps, in its order.

    async def apply(self, page: SignalPage) -> None:
        await self.follower._apply(page)

    async def announce(self) -> None:
        with contextlib.suppress(StoreDownError):
            await self.announcer.announce()

    async def confirm(self) -> None:
        await self.announcer.confirm()

    async def rank(self) -> None:
        """Nothing to rank is no work for it either."""
        if not self._ranked:
            self.follower._note(await self.signals.categories())
            self._ranked = True
        if self.unranked:
            await self.follower._rank()

    @property
    def unranked(self) -> bool:
        return bool(self.follower._categories or self.announcer.moved)


class Stored(NamedTuple):
    """A key of Redis as it was."""

    key: bytes
    left_ms: int
    dump: bytes


class World:
    """Two servers and a worker; each can be restarted, Redis can be cut off, emptied and thrown back."""

    def __init__(self, parts: Parts, truth: Truth, line: Line, direct: Redis) -> None:
        self.parts = parts
        self.truth = truth
        self.clock = Clock()
        self.entities: Mapping[str, Entity] = parts.definitions.entities
        self._line = line
        self.redis = direct
        self.servers: list[Server] = []
        self.worker = WorkerProcess(parts, self.clock)

    async def reset(self) -> None:
        """As if nothing had ever happened."""
        if not self._line.up:
            await self.redis_back()
        await self.redis.flushall()
        self.clock.ms = START_MS
        await self.truth.reset(START_MS)
        self.servers = [Server(self.parts, self.clock) for _ in range(SERVERS)]
        self.worker = WorkerProcess(self.parts, self.clock)

    def restart_server(self, place: int) -> None:
        self.servers[place] = Server(self.parts, self.clock)

    def restart_worker(self) -> None:
        self.worker = WorkerProcess(self.parts, self.clock)

    async def change(self) -> None:
        """Called right before each change of the log or of the catalogue's copy: each has an instant of its own."""
        self.clock.ms += 1
        await self.truth.at(self.clock.ms)

    # Redis

    @property
    def redis_up(self) -> bool:
        return self._line.up

    async def redis_away(self) -> None:
        self._line.up = False
        self._line.cut()

    async def redis_back(self) -> None:
        self._line.up = True

        async def answers() -> bool:
            try:  # on all the connections that were cut
                return all(await asyncio.gather(*(self.parts.redis.execute("PING") for _ in range(CONNECTIONS))))
            except StoreDownError:
                return False

        await eventually(answers, PATIENCE, interval=0.01)

    async def keep(self) -> list[Stored]:
        """All of Redis as it is now."""
        keys = sorted([key async for key in self.redis.scan_iter()])
        return [Stored(key, max(0, await self.redis.pttl(key)), await self.redis.dump(key) or b"") for key in keys]

    async def throw_back(self, stored: Sequence[Stored]) -> None:
        """What a power cut leaves: what was written since is lost."""
        await self.redis.flushall()
        for key, left_ms, dump in stored:
            await self.redis.restore(key, left_ms, dump)


@asynccontextmanager
async def running_world(dsn: str, valkey: ValkeyServer) -> AsyncIterator[World]:
    """One for all examples; each begins with a reset."""
    await asyncio.to_thread(migrate, dsn, MIGRATIONS)
    async with AsyncExitStack() as closers:
        line = Line(valkey.port)
        listener = await asyncio.start_server(line.serve, "127.0.0.1", 0)
        closers.push_async_callback(line.close)
        listener = await closers.enter_async_context(listener)
        port = listener.sockets[0].getsockname()[1]
        configured = settings(dsn, f"redis://127.0.0.1:{port}/0", FEATURES_REDIS_TIMEOUT=PATIENCE)
        parts = await open_parts(configured, closers)
        truth = await closers.enter_async_context(Truth.opened(dsn))
        direct = await closers.enter_async_context(Redis.from_url(valkey.url))
        yield World(parts, truth, line, direct)
