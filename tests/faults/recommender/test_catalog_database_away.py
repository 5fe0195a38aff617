"""PostgreSQL killed, restarted, hung or absent: bounded answers that say so, and a recovery without help."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import grpc
import pytest
from windowshop.recommender.v1 import catalog_pb2 as pb

from services.recommender.stores import postgres as stores
from services.runtime.errors import from_rpc
from services.runtime.lifecycle import background
from tests.support.catalogue import Catalogue, import_products, product, running_catalogue
from tests.support.follower import following
from tests.support.proxy import Proxy, running_proxy
from tests.support.stack import PostgresServer, free_port
from tests.support.waiting import eventually

Call = Callable[[Catalogue], Awaitable[object]]
Factory = Callable[[], Awaitable[PostgresServer]]


async def first_signals(catalogue: Catalogue) -> None:
    stream = catalogue.stub.StreamProductSignals(pb.StreamProductSignalsRequest(), timeout=30)
    try:
        assert await stream.read() is not grpc.aio.EOF
    finally:
        stream.cancel()


CALLS: dict[str, Call] = {
    "get": lambda c: c.stub.GetProduct(pb.GetProductRequest(id="a"), timeout=30),
    "list": lambda c: c.stub.ListProducts(pb.ListProductsRequest(), timeout=30),
    "update": lambda c: c.stub.UpdateProduct(pb.UpdateProductRequest(product=product("a")), timeout=30),
    "delete": lambda c: c.stub.DeleteProduct(pb.DeleteProductRequest(id="b"), timeout=30),
    "inventory": lambda c: c.stub.SetInventory(pb.SetInventoryRequest(id="a", available_quantity=1), timeout=30),
    "import": lambda c: import_products(c.stub, [product("a")]),
    "signals": first_signals,
}


async def fails_as_unavailable(catalogue: Catalogue, call: Call, within: float) -> None:
    """The call fails as it should. It may succeed a few times before: a backend outlives its killed server briefly."""

    async def refusal() -> grpc.aio.AioRpcError | None:
        try:
            await call(catalogue)
        except grpc.aio.AioRpcError as error:
            return None if error.code() is grpc.StatusCode.NOT_FOUND else error  # deleted already
        return None

    started = time.monotonic()
    refused = await eventually(refusal)
    assert refused is not None
    error = from_rpc(refused)
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")
    assert error.retry_after is not None
    assert error.message == "the catalogue's database does not answer"
    assert time.monotonic() - started < within


async def all_fail(catalogue: Catalogue, within: float) -> None:
    async with asyncio.TaskGroup() as calls:
        for call in CALLS.values():
            calls.create_task(fails_as_unavailable(catalogue, call, within))


async def all_work(catalogue: Catalogue) -> bool:
    """Whether every call succeeds; one may still get a connection that broke, and says so. Anything else is raised."""
    for call in CALLS.values():
        try:
            await call(catalogue)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                return False
            if error.code() is not grpc.StatusCode.NOT_FOUND:  # deleted already
                raise
    return True


async def test_killed_and_started_again(postgres_factory: Factory) -> None:
    server = await postgres_factory()
    async with running_catalogue(await server.create_database()) as catalogue:
        await import_products(catalogue.stub, [product("a"), product("b")])
        async with following(catalogue.stub) as follower:
            await eventually(lambda: len(follower.products) == 2)
            await server.kill()

            await all_fail(catalogue, within=5)
            await eventually(lambda: follower.failures)
            assert set(follower.failures) == {grpc.StatusCode.UNAVAILABLE}
            await server.start()

            await eventually(lambda: all_work(catalogue), 20)
            await import_products(catalogue.stub, [product("after")])
            await eventually(lambda: "after" in follower.products and "b" not in follower.products, 20)
            assert follower.restarts == 1, "it went on from its cursor"


@contextlib.asynccontextmanager
async def behind_a_proxy(server: PostgresServer) -> AsyncIterator[tuple[Proxy, str]]:
    url = urlsplit(await server.create_database())
    assert url.port is not None
    async with running_proxy(url.port) as proxy:
        credentials = url.netloc.rpartition("@")[0]
        yield proxy, urlunsplit(url._replace(netloc=f"{credentials}@127.0.0.1:{proxy.port}"))


async def test_hung(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "STATEMENT_SECONDS", 0.5)
    monkeypatch.setattr(stores, "ACQUIRE_SECONDS", 0.5)
    async with behind_a_proxy(postgres) as (proxy, dsn), running_catalogue(dsn) as catalogue:
        await import_products(catalogue.stub, [product("a"), product("b")])
        proxy.stall()
        await all_fail(catalogue, within=8)
        proxy.flow()
        await eventually(lambda: all_work(catalogue), 20)


async def test_connections_cut(postgres: PostgresServer) -> None:
    async with behind_a_proxy(postgres) as (proxy, dsn), running_catalogue(dsn) as catalogue:
        await import_products(catalogue.stub, [product("a"), product("b")])
        async with following(catalogue.stub) as follower:
            await eventually(lambda: len(follower.products) == 2)
            proxy.cut()
            await eventually(lambda: all_work(catalogue))
            await import_products(catalogue.stub, [product("after")])
            await eventually(lambda: "after" in follower.products)


async def test_a_writer_that_stands_still_does_not_hold_the_others_for_long(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(stores._SERVER_SETTINGS, "lock_timeout", "200ms")
    async with running_catalogue(await postgres.create_database()) as catalogue:
        await import_products(catalogue.stub, [product("a"), product("b")])
        async with catalogue.database.transaction() as connection:
            await connection.execute("SELECT lock_catalogue()")
            for name in ("update", "delete", "inventory", "import"):
                await fails_as_unavailable(catalogue, CALLS[name], within=2)
            for name in ("get", "list", "signals"):
                await CALLS[name](catalogue)
        assert await all_work(catalogue)


async def test_embeddings_that_a_crash_left_out_are_made_later(postgres: PostgresServer) -> None:
    async with running_catalogue(await postgres.create_database()) as catalogue:
        await import_products(catalogue.stub, [product("a"), product("b")])
        async with catalogue.database.connection() as connection:
            await connection.execute("DELETE FROM text_embeddings")
            count = "SELECT count(*) FROM text_embeddings"
            async with background("text index", catalogue.indexer.run()):

                async def embedded() -> bool:
                    return bool(await connection.fetchval(count) == 2)

                await eventually(embedded)


def service(**environment: str) -> Coroutine[Any, Any, asyncio.subprocess.Process]:
    """`python -m services.recommender` as a process."""
    return asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.recommender",
        env={"PATH": "", "RECOMMENDER_PORT": str(free_port()), "RECOMMENDER_OPS_PORT": str(free_port()), **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def test_a_start_without_a_database_waits_and_then_gives_up() -> None:
    url = f"postgresql://shop:s3cret@127.0.0.1:{free_port()}/catalogue"
    process = await service(RECOMMENDER_DATABASE_URL=url, RECOMMENDER_START_SECONDS="1")
    output, _ = await process.communicate()

    assert process.returncode == 1
    assert b"waiting for the database" in output
    assert b"the database did not answer within 1 s" in output
    assert b"s3cret" not in output


async def test_a_start_without_settings_names_them() -> None:
    process = await service(RECOMMENDER_TRAIN_EVERY="often")
    output, _ = await process.communicate()

    assert process.returncode == 2
    assert b"RECOMMENDER_DATABASE_URL" in output
    assert b"RECOMMENDER_TRAIN_EVERY" in output


async def test_a_start_before_the_database_succeeds_once_it_is_there(postgres_factory: Factory) -> None:
    server = await postgres_factory()
    dsn = await server.create_database()
    await server.stop()
    process = await service(RECOMMENDER_DATABASE_URL=dsn, RECOMMENDER_START_SECONDS="30")
    assert process.stdout is not None
    try:
        assert b"waiting for the database" in await process.stdout.readline()
        await server.start()
        line = b"-"
        while line and b'"ready"' not in line:
            line = await process.stdout.readline()
        assert line, "it ended instead"
    finally:
        process.terminate()
        await process.communicate()
    assert process.returncode == 0
