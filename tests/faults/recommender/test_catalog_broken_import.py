"""A FULL import deletes what it did not name; a stream that breaks must never pass for one that ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from datetime import datetime

import grpc
import pytest
from windowshop.recommender.v1 import catalog_pb2 as pb
from windowshop.recommender.v1 import catalog_pb2_grpc as rpc

from services.runtime.metrics import GRPC_HANDLED
from tests.support.catalogue import Catalogue, import_products, product, running_catalogue
from tests.support.proxy import running_proxy
from tests.support.stack import PostgresServer
from tests.support.waiting import eventually

Call = grpc.aio.StreamUnaryCall[pb.ImportProductsRequest, pb.ImportProductsResponse]

SHOP = [product(f"p{number:03}") for number in range(50)]
BATCH = [product(f"new{number:04}") for number in range(1000)]


@pytest.fixture
async def catalogue(postgres: PostgresServer) -> AsyncIterator[Catalogue]:
    async with running_catalogue(await postgres.create_database("recommender")) as running:
        await import_products(running.stub, SHOP)
        yield running


@pytest.fixture
def deletions(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the service asked its store to keep while deleting the others. Begun is bad enough: that the
    cancellation usually arrives before the database is done is luck."""
    asked: list[object] = []
    delete_others = catalogue.store.delete_others

    async def recorded(named: Collection[str], created_until: datetime) -> int:
        asked.append(named)
        return await delete_others(named, created_until)

    monkeypatch.setattr(catalogue.store, "delete_others", recorded)
    return asked


async def half_sent(
    catalogue: Catalogue, stub: rpc.CatalogServiceAsyncStub, breaking: Callable[[Call], object]
) -> None:
    """Starts a FULL import, breaks it after the first products, and waits until both sides are done with it."""
    before = handled()
    call = stub.ImportProducts(timeout=30)
    await call.write(pb.ImportProductsRequest(mode=pb.FULL, products=BATCH))
    # A full batch is stored at once: the server is in the middle of the stream now.
    await eventually(lambda: catalogue.store.get(BATCH[-1].id))
    breaking(call)
    with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
        await call
    await eventually(lambda: handled() > before)


def handled() -> float:
    """How many imports this process finished, well or not."""
    samples = [s for metric in GRPC_HANDLED.collect() for s in metric.samples if s.name.endswith("_total")]
    return sum(s.value for s in samples if s.labels["grpc_method"] == "ImportProducts")


@pytest.mark.parametrize("attempt", range(5))
async def test_cancelled_by_the_sender(catalogue: Catalogue, deletions: list[object], attempt: int) -> None:
    await half_sent(catalogue, catalogue.stub, lambda call: call.cancel())

    assert deletions == []
    assert len(await catalogue.store.page("", 2_000)) == len(SHOP) + len(BATCH)


@pytest.mark.parametrize("attempt", range(5))
async def test_connection_cut(catalogue: Catalogue, deletions: list[object], attempt: int) -> None:
    async with (
        running_proxy(catalogue.port) as proxy,
        grpc.aio.insecure_channel(f"127.0.0.1:{proxy.port}") as channel,
    ):
        await half_sent(catalogue, rpc.CatalogServiceStub(channel), lambda _: proxy.cut())

    assert deletions == []
    assert len(await catalogue.store.page("", 2_000)) == len(SHOP) + len(BATCH)


async def test_a_whole_stream_deletes(catalogue: Catalogue, deletions: list[object]) -> None:
    summary = await import_products(catalogue.stub, SHOP[:20], [*SHOP[20:40]], mode=pb.FULL)

    assert (summary.unchanged, summary.deleted, len(deletions)) == (40, 10, 1)
