"""StreamProductSignals: the whole catalogue first, then every change, whatever the follower does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
import pytest
from windowshop.recommender.v1 import catalog_pb2 as pb
from windowshop.recommender.v1 import catalog_pb2_grpc as rpc

from services.recommender.servicer import signals
from services.runtime.errors import from_rpc
from tests.support.catalogue import Catalogue, import_products, product, running_catalogue
from tests.support.follower import following
from tests.support.stack import PostgresServer
from tests.support.waiting import eventually


@pytest.fixture
async def catalogue(postgres: PostgresServer) -> AsyncIterator[Catalogue]:
    async with running_catalogue(await postgres.create_database("recommender")) as running:
        yield running


class Stream:
    """One stream, read message by message."""

    def __init__(self, catalogue: Catalogue, cursor: str = "") -> None:
        self._call = catalogue.stub.StreamProductSignals(pb.StreamProductSignalsRequest(cursor=cursor), timeout=60)

    async def read(self) -> pb.StreamProductSignalsResponse:
        message = await self._call.read()
        assert isinstance(message, pb.StreamProductSignalsResponse)
        return message

    async def __aenter__(self) -> Stream:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._call.cancel()


async def set_stock(catalogue: Catalogue, product_id: str, quantity: int) -> None:
    request = pb.SetInventoryRequest(id=product_id, available_quantity=quantity)
    await catalogue.stub.SetInventory(request, timeout=10)


async def test_signals_of_a_product(catalogue: Catalogue) -> None:
    rich = product("a", brand="Acme", price=2.5, low_stock_threshold=0, rating_average=4.5, rating_count=3)
    await import_products(catalogue.stub, [rich, product("b", categories=[])])

    async with Stream(catalogue) as stream:
        message = await stream.read()
    assert list(message.signals) == [
        pb.ProductSignal(
            product_id="a",
            top_category="Home",
            price=2.5,
            available_quantity=10,
            low_stock_threshold=0,
            rating_average=4.5,
            rating_count=3,
            brand="Acme",
        ),
        pb.ProductSignal(product_id="b", available_quantity=10, low_stock_threshold=5),
    ]
    assert (message.restart, message.caught_up) == (True, True)


async def test_an_empty_catalogue(catalogue: Catalogue) -> None:
    async with Stream(catalogue) as stream:
        first = await stream.read()
        assert (len(first.signals), first.restart, first.caught_up) == (0, True, True)
        await import_products(catalogue.stub, [product("a")])
        assert [signal.product_id for signal in (await stream.read()).signals] == ["a"]


async def test_the_snapshot_comes_in_pages(catalogue: Catalogue) -> None:
    shop = [product(f"p{number}") for number in range(2_000)]
    await import_products(catalogue.stub, shop[:1_000], shop[1_000:])

    async with Stream(catalogue) as stream:
        pages = [await stream.read() for _ in range(3)]
    assert [(len(page.signals), page.restart, page.caught_up) for page in pages] == [
        (1_000, True, False),
        (1_000, False, False),
        (0, False, True),
    ]
    async with Stream(catalogue, pages[0].cursor) as stream:
        rest = await stream.read()
    assert (len(rest.signals), rest.restart) == (1_000, False)
    assert {s.product_id for page in (pages[0], rest) for s in page.signals} == {p.id for p in shop}


async def test_changes_arrive_at_once(catalogue: Catalogue) -> None:
    await import_products(catalogue.stub, [product("a"), product("b")])
    async with Stream(catalogue) as stream:
        await stream.read()
        delays = []
        for quantity in (3, 0, 7):
            started = time.monotonic()
            await set_stock(catalogue, "a", quantity)
            message = await stream.read()
            delays.append(time.monotonic() - started)
            assert [(s.product_id, s.available_quantity) for s in message.signals] == [("a", quantity)]
            assert (message.caught_up, message.restart) == (True, False)
        await catalogue.stub.DeleteProduct(pb.DeleteProductRequest(id="b"), timeout=5)
        assert list((await stream.read()).signals) == [pb.ProductSignal(product_id="b", deleted=True)]
    # Told by the notification: the poll, which is only the safety net, would take up to a second each.
    assert min(delays) < 0.5


async def test_a_follower_continues_where_it_was(catalogue: Catalogue) -> None:
    await import_products(catalogue.stub, [product("a"), product("b"), product("c")])
    async with Stream(catalogue) as stream:
        cursor = (await stream.read()).cursor
    await set_stock(catalogue, "b", 1)
    await catalogue.stub.DeleteProduct(pb.DeleteProductRequest(id="c"), timeout=5)

    async with Stream(catalogue, cursor) as stream:
        message = await stream.read()
    assert [(s.product_id, s.deleted) for s in message.signals] == [("b", False), ("c", True)]
    assert not message.restart


@pytest.mark.parametrize("case", ["another epoch", "ahead"])
async def test_a_cursor_that_does_not_fit_starts_over(catalogue: Catalogue, case: str) -> None:
    await import_products(catalogue.stub, [product("a")])
    async with Stream(catalogue) as stream:
        epoch, _, seq = (await stream.read()).cursor.partition(".")
    cursor = f"{'0' * 32}.{seq}" if case == "another epoch" else f"{epoch}.{int(seq) + 1}"

    async with Stream(catalogue, cursor) as stream:
        message = await stream.read()
    assert message.restart
    assert [signal.product_id for signal in message.signals] == ["a"]


async def test_nonsense_is_no_cursor(catalogue: Catalogue) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with Stream(catalogue, "nonsense") as stream:
            await stream.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert from_rpc(caught.value).reason == "INVALID_CURSOR"


async def test_heartbeats(catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    assert signals.HEARTBEAT_SECONDS <= 10
    monkeypatch.setattr(signals, "HEARTBEAT_SECONDS", 0.05)
    await import_products(catalogue.stub, [product("a")])

    async with Stream(catalogue) as stream:
        first, second, third = [await stream.read() for _ in range(3)]
    for beat in (second, third):
        assert (len(beat.signals), beat.cursor, beat.caught_up, beat.restart) == (0, first.cursor, True, False)


async def test_many_followers_and_one_that_does_not_read(catalogue: Catalogue) -> None:
    shop = [product(f"p{number}", brand="B" * 100) for number in range(5_000)]
    await import_products(catalogue.stub, *(shop[start : start + 1_000] for start in range(0, 5_000, 1_000)))
    # Takes nothing after its first message; what is on its way to it fills its window and no more.
    async with Stream(catalogue) as lazy:
        await lazy.read()
        channels = [grpc.aio.insecure_channel(f"127.0.0.1:{catalogue.port}") for _ in range(4)]
        streams = [following(rpc.CatalogServiceStub(channel)) for channel in channels for _ in range(5)]
        followers = [await stream.__aenter__() for stream in streams]
        try:
            await eventually(lambda: all(len(f.products) == 5_000 and f.caught_up for f in followers), 30)
            await set_stock(catalogue, "p7", 1)
            await eventually(lambda: all(f.products["p7"].available_quantity == 1 for f in followers), 5)
        finally:
            for stream in streams:
                await stream.__aexit__(None, None, None)
            await asyncio.gather(*(channel.close() for channel in channels))


async def test_a_stopping_server_lets_its_followers_go(postgres: PostgresServer) -> None:
    async with AsyncExitStack() as server:
        catalogue = await server.enter_async_context(running_catalogue(await postgres.create_database("recommender")))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{catalogue.port}") as channel:
            call = rpc.CatalogServiceStub(channel).StreamProductSignals(pb.StreamProductSignalsRequest(), timeout=60)
            await call.read()
            started = time.monotonic()
            stopping = asyncio.create_task(server.aclose())
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call.read()
            await stopping
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert from_rpc(caught.value).reason == "DRAINING"
    assert time.monotonic() - started < 3, "no drain waits for a stream that never ends"
