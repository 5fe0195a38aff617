"""The recommender's catalogue as a running gRPC server on a database of its own, and products to fill it with."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import grpc
import numpy as np
from numpy.typing import NDArray
from windowshop.recommender.v1 import catalog_pb2 as pb
from windowshop.recommender.v1 import catalog_pb2_grpc as rpc

from services.recommender.app import MIGRATIONS
from services.recommender.indexing import TextIndexer
from services.recommender.servicer.catalog import SERVICE, CatalogServicer
from services.recommender.stores.catalog import PostgresCatalog
from services.recommender.stores.embeddings import PostgresEmbeddings
from services.recommender.stores.postgres import Database
from services.recommender.stores.signals import PostgresChangeLog
from services.runtime.lifecycle import background
from services.runtime.migrations import migrate
from services.runtime.server import Server


class Clock:
    """The real time, moved by what a test adds to ``ahead``."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


class HashEmbedder:
    """Equal texts get equal vectors of length 1, different texts different ones; counts what it is asked for."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.texts += texts
        return np.stack([self.vector(text) for text in texts])

    @staticmethod
    def vector(text: str) -> NDArray[np.float32]:
        values = np.random.default_rng(zlib.crc32(text.encode())).standard_normal(256)
        return (values / np.linalg.norm(values)).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A running catalogue: from outside by ``stub``, from inside by the rest."""

    stub: rpc.CatalogServiceAsyncStub
    port: int
    database: Database
    store: PostgresCatalog
    changes: PostgresChangeLog
    indexer: TextIndexer
    embedder: HashEmbedder
    clock: Clock


@contextlib.asynccontextmanager
async def open_database(dsn: str, pool_size: int = 8) -> AsyncIterator[Database]:
    """A migrated database."""
    await asyncio.to_thread(migrate, dsn, MIGRATIONS)
    database = await Database.connect(dsn, pool_size)
    try:
        yield database
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def running_catalogue(dsn: str) -> AsyncIterator[Catalogue]:
    """The CatalogService on a free port, with its change log running; the text index does not repair by itself."""
    async with contextlib.AsyncExitStack() as closers:
        database = await closers.enter_async_context(open_database(dsn))
        store, changes, clock = PostgresCatalog(database), PostgresChangeLog(database), Clock()
        embedder = HashEmbedder()
        indexer = TextIndexer(PostgresEmbeddings(database), changes, embedder)
        servicer = CatalogServicer(store, changes, indexer, clock)
        server = Server(0, [SERVICE], lambda s: rpc.add_CatalogServiceServicer_to_server(servicer, s))
        closers.push_async_callback(server.stop, 1.0)
        port = await server.start()
        await closers.enter_async_context(background("change log", changes.run()))
        channel = await closers.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
        yield Catalogue(rpc.CatalogServiceStub(channel), port, database, store, changes, indexer, embedder, clock)


def product(product_id: str, **values: object) -> pb.Product:
    """A small valid product in stock."""
    fields = {"title": f"Title of {product_id}", "available_quantity": 10, "categories": ["Home > Kitchen"]}
    return pb.Product(id=product_id, **(fields | values))  # type: ignore[arg-type]  # each value has its field's type


async def import_products(
    stub: rpc.CatalogServiceAsyncStub, *chunks: Sequence[pb.Product], mode: pb.ImportMode.ValueType = pb.INCREMENTAL
) -> pb.ImportProductsResponse:
    """Sends each chunk as one message."""

    async def requests() -> AsyncIterator[pb.ImportProductsRequest]:
        for number, chunk in enumerate(chunks):
            yield pb.ImportProductsRequest(mode=mode if number == 0 else pb.IMPORT_MODE_UNSPECIFIED, products=chunk)

    return await stub.ImportProducts(requests(), timeout=60)


async def ids_of(stub: rpc.CatalogServiceAsyncStub) -> list[str]:
    """Ids of the whole catalogue, which must fit on one page."""
    page = await stub.ListProducts(pb.ListProductsRequest(page_size=1000), timeout=10)
    assert not page.next_page_token
    return [found.id for found in page.products]
