"""The composition root: opens everything the recommender needs, in order, and serves until told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from threadpoolctl import threadpool_limits
from windowshop.recommender.v1.catalog_pb2_grpc import add_CatalogServiceServicer_to_server

from services.recommender import ranking
from services.recommender.clients import FeatureClient
from services.recommender.embeddings import WordLlamaEmbedder
from services.recommender.indexing import TextIndexer
from services.recommender.ports import Clock, Embedder
from services.recommender.servicer.catalog import SERVICE as CATALOG_SERVICE
from services.recommender.servicer.catalog import CatalogServicer
from services.recommender.settings import RecommenderSettings
from services.recommender.stores.catalog import PostgresCatalog
from services.recommender.stores.embeddings import PostgresEmbeddings
from services.recommender.stores.postgres import Database, wait_until_reachable
from services.recommender.stores.signals import PostgresChangeLog
from services.runtime.client import channel
from services.runtime.lifecycle import background, freeze, serve_until, unless_stopped
from services.runtime.migrations import migrate_beside
from services.runtime.ops import OpsServer
from services.runtime.server import Server

MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True)
class Parts:
    """What is open and ready when the servicers are built."""

    settings: RecommenderSettings
    database: Database
    embedder: Embedder
    features: FeatureClient
    clock: Clock


@dataclass(frozen=True, slots=True)
class Assembly:
    """Full proto names and registrations of the servicers, and what runs beside them, by name."""

    servicers: dict[str, Callable[[grpc.aio.Server], None]]
    background: dict[str, Callable[[], Coroutine[Any, Any, None]]]


async def assemble(parts: Parts, closers: AsyncExitStack) -> Assembly:
    """Every servicer and every background task of this process: the catalogue's here, the others in ``ranking``."""
    changes = PostgresChangeLog(parts.database)
    indexer = TextIndexer(PostgresEmbeddings(parts.database), changes, parts.embedder)
    store = PostgresCatalog(parts.database)
    ranked = await ranking.assemble(
        parts.settings, parts.database, store, changes, parts.features, parts.clock, closers
    )
    catalog = CatalogServicer(ranked.catalog, changes, indexer, parts.clock)
    return Assembly(
        servicers={CATALOG_SERVICE: partial(add_CatalogServiceServicer_to_server, catalog), **ranked.servicers},
        background={"change log": changes.run, "text index": indexer.run, **ranked.background},
    )


def now() -> datetime:
    """The clock of a running service."""
    return datetime.now(UTC)


async def run(settings: RecommenderSettings, stopping: asyncio.Event, closers: AsyncExitStack) -> None:
    """Opens stores and clients, serves, and leaves the closing, in reverse order, to ``closers``."""
    parts = await unless_stopped(stopping, open_parts(settings, closers))
    assembly = await unless_stopped(stopping, assemble(parts, closers))

    def register(server: grpc.aio.Server) -> None:
        for add in assembly.servicers.values():
            add(server)

    server = Server(settings.port, tuple(assembly.servicers), register)
    ops = OpsServer(settings.ops_port, lambda: server.health.serving)
    closers.push_async_callback(ops.stop)
    await ops.start()
    closers.push_async_callback(server.stop, settings.drain_seconds)
    await server.start()
    tasks = [await closers.enter_async_context(background(name, work())) for name, work in assembly.background.items()]
    closers.push_async_callback(_cancel, tasks)
    freeze()
    await server.health.set_serving(True)
    await serve_until(stopping, *tasks)


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    """All together, for each may take seconds to let go of a store that hangs. What they failed with is told later."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def open_parts(settings: RecommenderSettings, closers: AsyncExitStack) -> Parts:
    """Waits for the database, migrates it, loads the embedding model beside that, opens the channels."""
    # A product of matrices that a page needs is done before a second thread has woken; that one then waits for the next
    # in a busy loop: up to two fifths of a core for nothing.
    closers.enter_context(threadpool_limits(1, "blas"))
    dsn = settings.database_url.get_secret_value()
    embedder = WordLlamaEmbedder()
    closers.callback(embedder.close)
    loading = asyncio.create_task(embedder.load())
    await wait_until_reachable(dsn, settings.start_seconds)
    await migrate_beside(dsn, MIGRATIONS)
    database = await Database.connect(dsn, settings.pool_size)
    closers.push_async_callback(database.close)
    to_features = channel(settings.features_address)
    closers.push_async_callback(to_features.close)
    features = FeatureClient(to_features)
    closers.push_async_callback(features.close)
    await loading
    return Parts(settings, database, embedder, features, now)
