"""The runtime's server and client against each other: what a caller sees of errors, overload and a drain."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from windowshop.features.v1 import features_pb2 as pb
from windowshop.features.v1 import features_pb2_grpc as rpc

from services.runtime import errors
from services.runtime.client import channel, target
from services.runtime.interceptors import current_request_id
from services.runtime.server import Server

Behaviour = Callable[[], Awaitable[pb.GetFeaturesResponse]]
NAME = "windowshop.features.v1.FeatureService"


class Servicer(rpc.FeatureServiceServicer):
    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour

    async def GetFeatures(self, request: pb.GetFeaturesRequest, context: object) -> pb.GetFeaturesResponse:
        return await self.behaviour()

    async def ReadTrainingRows(
        self, request: pb.ReadTrainingRowsRequest, context: object
    ) -> AsyncIterator[pb.ReadTrainingRowsResponse]:
        yield pb.ReadTrainingRowsResponse(user_ids=["u"])
        await self.behaviour()


def new_server(port: int, behaviour: Behaviour, max_in_flight: int = 10) -> Server:
    servicer = Servicer(behaviour)  # type: ignore[abstract]  # these tests call two of its methods
    return Server(port, [NAME], lambda s: rpc.add_FeatureServiceServicer_to_server(servicer, s), max_in_flight)


@contextlib.asynccontextmanager
async def serving(
    behaviour: Behaviour, max_in_flight: int = 10, once: Iterable[str] = ()
) -> AsyncIterator[tuple[Server, grpc.aio.Channel]]:
    server = new_server(0, behaviour, max_in_flight)
    port = await server.start()
    await server.health.set_serving(True)
    try:
        async with channel(f"localhost:{port}", once=once) as connected:
            yield server, connected
    finally:
        await server.stop(1)


async def call(connected: grpc.aio.Channel) -> pb.GetFeaturesResponse:
    stub = rpc.FeatureServiceStub(connected)
    return await stub.GetFeatures(pb.GetFeaturesRequest(), timeout=5)


async def failure_of(behaviour: Behaviour) -> errors.ServiceError:
    async with serving(behaviour) as (_, connected):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(connected)
    return errors.from_rpc(caught.value)


async def test_a_designed_error_reaches_the_caller_whole() -> None:
    async def fail() -> pb.GetFeaturesResponse:
        raise errors.invalid_field("ids[3]", "is empty", reason="INVALID_ID")

    error = await failure_of(fail)
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ID")
    assert error.violations == (errors.FieldViolation("ids[3]", "is empty"),)


async def test_retry_info_and_metadata_survive() -> None:
    async def busy() -> pb.GetFeaturesResponse:
        raise errors.unavailable("STORE_DOWN", "try again", retry_after=2.5)

    assert (await failure_of(busy)).retry_after == 2.5

    async def missing() -> pb.GetFeaturesResponse:
        raise errors.not_found("ENTITY_NOT_FOUND", "no such user", entity="User")

    assert (await failure_of(missing)).metadata == {"entity": "User"}


async def test_a_bug_is_masked_but_can_be_found() -> None:
    async def bug() -> pb.GetFeaturesResponse:
        raise KeyError("password=hunter2")

    error = await failure_of(bug)
    assert error.code is grpc.StatusCode.INTERNAL
    assert "hunter2" not in str(error)
    assert error.metadata["errorHash"] in error.message


async def test_a_stream_that_fails_half_way_says_why() -> None:
    async def fail() -> pb.GetFeaturesResponse:
        raise errors.unavailable("STORE_DOWN", "try again")

    async with serving(fail) as (_, connected):
        rows = rpc.FeatureServiceStub(connected).ReadTrainingRows(pb.ReadTrainingRowsRequest(), timeout=5)
        received = []
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async for row in rows:
                received.append(row)
    assert len(received) == 1
    assert errors.from_rpc(caught.value).reason == "STORE_DOWN"


async def test_overload_is_refused_while_health_answers() -> None:
    release, entered = asyncio.Event(), asyncio.Event()

    async def slow() -> pb.GetFeaturesResponse:
        entered.set()
        await release.wait()
        return pb.GetFeaturesResponse(id="done")

    async with serving(slow, max_in_flight=1) as (_, connected):
        first = asyncio.create_task(call(connected))
        await entered.wait()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(connected)
        error = errors.from_rpc(caught.value)
        assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        health = await health_pb2_grpc.HealthStub(connected).Check(health_pb2.HealthCheckRequest(), timeout=5)
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        release.set()
        assert (await first).id == "done"


async def test_a_drain_finishes_what_is_in_flight() -> None:
    release, entered = asyncio.Event(), asyncio.Event()

    async def slow() -> pb.GetFeaturesResponse:
        entered.set()
        await release.wait()
        return pb.GetFeaturesResponse(id="done")

    async with serving(slow) as (server, connected):
        first = asyncio.create_task(call(connected))
        await entered.wait()
        stopping = asyncio.create_task(server.stop(5))
        while server.health.serving:
            await asyncio.sleep(0)
        release.set()
        assert (await first).id == "done"
        await stopping


async def test_a_server_that_leaves_is_left_before_it_refuses() -> None:
    """By clients that watch its health: they name both servers, and only one is there in the end."""
    answered: list[str] = []

    def behaviour(name: str) -> Behaviour:
        async def answer() -> pb.GetFeaturesResponse:
            await asyncio.sleep(0.002)  # calls are under way when the server leaves
            answered.append(name)
            return pb.GetFeaturesResponse()

        return answer

    servers = {name: new_server(0, behaviour(name), 100) for name in ("a", "b")}
    ports = [await server.start() for server in servers.values()]
    for server in servers.values():
        await server.health.set_serving(True)
    # Nothing is tried twice: a refused call would fail the test.
    async with channel(",".join(f"localhost:{port}" for port in ports), once=[f"/{NAME}/GetFeatures"]) as connected:
        left = asyncio.Event()

        async def caller() -> None:
            while not left.is_set():
                await call(connected)

        callers = [asyncio.create_task(caller()) for _ in range(40)]
        while min(answered.count("a"), answered.count("b")) < 40:
            await asyncio.sleep(0)
        await servers["a"].stop(5)
        left.set()
        await asyncio.gather(*callers)
        answered.clear()
        await asyncio.gather(*(call(connected) for _ in range(20)))
    await servers["b"].stop(0)
    assert set(answered) == {"b"}


async def test_a_channel_is_not_held_back_by_one_that_looked_too_early() -> None:
    async def answer() -> pb.GetFeaturesResponse:
        return pb.GetFeaturesResponse()

    server = new_server(0, answer)
    port = await server.start()
    await server.stop(0)
    async with channel(f"localhost:{port}") as early:
        with pytest.raises(grpc.aio.AioRpcError):
            await call(early)
        await asyncio.sleep(0.5)  # it looks again, and after a longer pause each time
        server = new_server(port, answer)
        await server.start()
        await server.health.set_serving(True)
        # Nothing is tried twice: a refused call would fail the test.
        async with channel(f"localhost:{port}", once=[f"/{NAME}/GetFeatures"]) as connected:
            await call(connected)
    await server.stop(0)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("features:50051", "features:50051"),
        ("dns:///features:50051", "dns:///features:50051"),
        ("localhost:1, 10.0.0.2:2", "ipv4:127.0.0.1:1,10.0.0.2:2"),
    ],
)
def test_addresses(address: str, expected: str) -> None:
    assert target(address) == expected


@pytest.mark.parametrize("address", ["a:1,b:2", "10.0.0.1:1,", "10.0.0.1:1,10.0.0.2:x", "10.0.0.1,10.0.0.2"])
def test_addresses_that_cannot_be_meant(address: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        target(address)


async def test_a_taken_port_is_an_error_that_names_it() -> None:
    async def nothing() -> pb.GetFeaturesResponse:
        return pb.GetFeaturesResponse()

    first = new_server(0, nothing)
    port = await first.start()
    second = new_server(port, nothing)
    with pytest.raises(OSError, match=str(port)):
        await second.start()
    await first.stop(0)


async def test_the_request_id_travels() -> None:
    seen: list[str | None] = []

    async def note() -> pb.GetFeaturesResponse:
        seen.append(current_request_id())
        return pb.GetFeaturesResponse()

    async with serving(note) as (_, connected):
        stub = rpc.FeatureServiceStub(connected)
        await stub.GetFeatures(pb.GetFeaturesRequest(), timeout=5, metadata=(("x-request-id", "abc.1"),))
        await stub.GetFeatures(pb.GetFeaturesRequest(), timeout=5, metadata=(("x-request-id", "no good!"),))
    assert seen[0] == "abc.1"
    assert seen[1] not in (None, "no good!")


@pytest.mark.parametrize(("once", "calls"), [((), 3), ((f"/{NAME}/GetFeatures",), 1), ((f"/{NAME}/WriteEvents",), 3)])
async def test_what_must_happen_once_is_not_tried_again(once: tuple[str, ...], calls: int) -> None:
    seen = []

    async def fail() -> pb.GetFeaturesResponse:
        seen.append(1)
        raise errors.unavailable("STORE_DOWN", "try again")

    async with serving(fail, once=once) as (_, connected):
        with pytest.raises(grpc.aio.AioRpcError):
            await call(connected)
    assert len(seen) == calls
