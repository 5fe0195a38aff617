"""Composition roots: settings, logs, stores, service, start; closed in reverse order."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from windowshop.features.v1 import features_pb2, features_pb2_grpc

from services.features import definitions, transcoding
from services.features.announcing import Announcer
from services.features.clients import StreamProductSignals
from services.features.committing import GroupCommit
from services.features.definitions import Definitions
from services.features.domain.features import Entity, OnEvent
from services.features.erasing import Eraser
from services.features.following import SignalFollower
from services.features.levelling import Levelling
from services.features.marking import Marker
from services.features.maxima import Maxima
from services.features.merging import Merger
from services.features.reading import Reader
from services.features.refreshing import Refresher
from services.features.retaining import Retention
from services.features.servicer import FeatureServicer
from services.features.settings import FeatureSettings
from services.features.stores import postgres, redis_cluster
from services.features.stores.computing import PostgresComputer
from services.features.stores.erasure import PostgresErasure
from services.features.stores.event_log import PostgresEventLog
from services.features.stores.levels import PostgresLevels
from services.features.stores.merging import PostgresMerges
from services.features.stores.online import RedisOnlineStore
from services.features.stores.postgres import Database
from services.features.stores.queue import RedisDueQueue
from services.features.stores.redis import RedisStore
from services.features.stores.retention import PostgresLogKeeper
from services.features.stores.signals import PostgresSignals
from services.features.stores.training import PostgresTraining
from services.features.tailing import LogTail
from services.features.training import TrainingReader
from services.features.worker import Worker
from services.features.writing import Writer
from services.runtime import logs
from services.runtime.client import channel
from services.runtime.lifecycle import background, freeze, serve_until, unless_stopped
from services.runtime.logs import get_logger
from services.runtime.migrations import migrate_beside
from services.runtime.ops import OpsServer
from services.runtime.server import Server

log = get_logger(__name__)

MIGRATIONS = Path(__file__).with_name("migrations")
SERVICE_NAME = features_pb2.DESCRIPTOR.services_by_name["FeatureService"].full_name
# Seconds between tries to repeat marks that did not reach the online store.
_SETTLE_EVERY = 0.2
# Seconds. Nobody waits for the worker, and its calls are large.
_WORKER_PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What server and worker share."""

    definitions: Definitions
    database: Database
    redis: RedisStore
    log: PostgresEventLog
    computer: PostgresComputer
    levels: PostgresLevels
    training: PostgresTraining
    online: RedisOnlineStore
    queue: RedisDueQueue

    @property
    def entities(self) -> list[Entity]:
        """The entity types."""
        return list(self.definitions.entities.values())


async def serve(settings: FeatureSettings, stopping: asyncio.Event, closers: AsyncExitStack) -> None:
    """The server, until ``stopping``."""
    logs.configure("features", settings.log_level, settings.log_format)
    parts = await open_parts(settings, closers)
    marker = Marker(parts.online, clock_ms)
    group = GroupCommit(parts.log, marker, parts.entities)
    closers.push_async_callback(group.close)
    settling = await closers.enter_async_context(background("settle marks", _settle(marker)))
    maxima = Maxima(parts.queue, parts.levels, parts.computer, clock_ms)
    closers.push_async_callback(maxima.close)
    reader = Reader(
        parts.online, parts.queue, parts.computer, maxima, marker, clock_ms, random.random, transcoding.FOLD
    )
    erasure = PostgresErasure(parts.database)
    eraser = Eraser(erasure, parts.online, marker, clock_us)
    merger = Merger(PostgresMerges(parts.database), erasure, parts.online, marker, parts.entities, clock_us)
    training = TrainingReader(parts.training)
    servicer = FeatureServicer(
        parts.definitions, reader, Writer(group, clock_us, settings.retention_days), eraser, merger, training, clock_ms
    )
    server = Server(
        settings.port,
        [SERVICE_NAME],
        lambda grpc_server: features_pb2_grpc.add_FeatureServiceServicer_to_server(servicer, grpc_server),
    )
    ops = OpsServer(settings.ops_port, lambda: server.health.serving)
    await ops.start()
    closers.push_async_callback(ops.stop)
    await server.start()
    closers.push_async_callback(server.stop, settings.drain_seconds)
    await unless_stopped(stopping, prepare(settings, parts))
    freeze()
    await server.health.set_serving(True)
    await serve_until(stopping, settling)


async def work(settings: FeatureSettings, stopping: asyncio.Event, closers: AsyncExitStack) -> None:
    """The worker, until ``stopping``."""
    logs.configure("features-worker", settings.log_level, settings.log_format)
    parts = await open_parts(settings, closers, _WORKER_PATIENCE)
    ready = asyncio.Event()
    ops = OpsServer(settings.worker_ops_port, lambda: ready.is_set() and not stopping.is_set())
    await ops.start()
    closers.push_async_callback(ops.stop)
    await unless_stopped(stopping, prepare(settings, parts))
    recommender = await closers.enter_async_context(channel(settings.recommender_address))
    signals = PostgresSignals(parts.database)
    announcer = Announcer(parts.entities, signals, parts.online, parts.queue, parts.computer, clock_ms)
    worker = Worker(
        refresher=Refresher(
            parts.entities,
            parts.online,
            parts.queue,
            parts.computer,
            parts.levels,
            clock_ms,
            random.random,
            settings.worker_duty,
        ),
        tail=LogTail(parts.entities, parts.log, parts.queue, parts.online, parts.computer, parts.levels, clock_ms),
        levelling=Levelling(parts.entities, parts.levels, parts.queue, parts.computer, clock_ms),
        retention=Retention(
            PostgresLogKeeper(parts.database),
            parts.online,
            settings.retention_days,
            max(feature.ttl_ms for feature in parts.definitions.features) * 1_000,
            clock_us,
        ),
        follower=SignalFollower(StreamProductSignals(recommender), signals, announcer),
    )
    freeze()
    working = await closers.enter_async_context(background("worker", worker.run()))
    ready.set()
    log.info("working")
    await serve_until(stopping, working)


async def open_parts(settings: FeatureSettings, closers: AsyncExitStack, patience: float = 0.0) -> Parts:
    """Definitions and stores; connects to nothing yet.

    Redis has at least ``patience`` seconds to answer,
    PostgreSQL ten times as long.
    """
    declared = definitions.load(settings.definitions)
    database = await closers.enter_async_context(
        postgres.connect(
            settings.database_url.get_secret_value(),
            settings.database_connections,
            max(settings.database_timeout, 10 * patience),
        )
    )
    store = await closers.enter_async_context(
        redis_cluster.connect(
            settings.redis_url.get_secret_value(),
            max(settings.redis_timeout, patience),
        )
    )
    read_through = frozenset(f.entity for f in declared.features if f.on_event is OnEvent.READ_THROUGH)
    return Parts(
        definitions=declared,
        database=database,
        redis=store,
        log=PostgresEventLog(database),
        computer=PostgresComputer(database),
        levels=PostgresLevels(database),
        training=PostgresTraining(database),
        online=RedisOnlineStore(store, read_through),
        queue=RedisDueQueue(store, declared.entities, int(settings.worker_lease * 1_000)),
    )


async def prepare(settings: FeatureSettings, parts: Parts) -> None:
    """Migrates the database, waiting for it to come up, and checks every statement against it."""
    await parts.database.wait(settings.start_seconds)
    await migrate_beside(settings.database_url.get_secret_value(), MIGRATIONS)
    await parts.computer.check(parts.entities)


def clock_us() -> int:
    """Microseconds since 1970 UTC."""
    return time.time_ns() // 1_000


def clock_ms() -> int:
    """Milliseconds since 1970 UTC, rounded up: a feature's now is not before an event that has happened."""
    return -(-time.time_ns() // 1_000_000)


async def _settle(marker: Marker) -> None:
    while True:
        await asyncio.sleep(_SETTLE_EVERY)
        await marker.settle()
