"""Requests over streams that stay open: what a caller sees is what a unary call would have shown."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import pytest
import structlog
from windowshop.features.v1 import features_pb2 as pb
from windowshop.features.v1 import features_pb2_grpc as rpc

from services.runtime import errors, exchanges, metrics, streams
from services.runtime.client import channel
from services.runtime.interceptors import current_request_id
from services.runtime.server import Server
from services.runtime.streams import StreamedCalls
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("either_way")

NAME = "windowshop.features.v1.FeatureService"
Answering = Callable[[str], Awaitable[str]]
Calls = StreamedCalls[pb.BatchGetFeaturesRequest, pb.BatchGetFeaturesResponse]


class Servicer(rpc.FeatureServiceServicer):
    """Answers the first id of a request with a text; counts which way requests came."""

    def __init__(self, answering: Answering, with_streams: bool = True) -> None:
        self.answering = answering
        self.with_streams = with_streams
        self.streamed = 0
        self.unary = 0

    async def BatchGetFeatures(
        self, request: pb.BatchGetFeaturesRequest, context: object
    ) -> pb.BatchGetFeaturesResponse:
        self.unary += 1
        return pb.BatchGetFeaturesResponse(entity=await self.answering(request.ids[0]))

    async def ReadFeatures(
        self, request_iterator: AsyncIterator[pb.ReadFeaturesRequest], context: Any
    ) -> AsyncIterator[pb.ReadFeaturesResponse]:
        if not self.with_streams:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "an older server")
        async for response in exchanges.answers(
            request_iterator, self._read, lambda request, error: pb.ReadFeaturesResponse(
                number=request.number, error=error
            ),
            lambda request: not request.HasField("read"),
        ):  # fmt: skip
            yield response

    async def _read(self, request: pb.ReadFeaturesRequest, seconds: float) -> pb.ReadFeaturesResponse:
        self.streamed += 1
        answer = pb.BatchGetFeaturesResponse(entity=await self.answering(request.read.ids[0]))
        return pb.ReadFeaturesResponse(number=request.number, answer=answer)


def new(answering: Answering, with_streams: bool = True) -> Servicer:
    return Servicer(answering, with_streams)  # type: ignore[abstract]  # these tests call two of its methods


@contextlib.asynccontextmanager
async def serving(servicer: Servicer, port: int = 0, max_in_flight: int = 100) -> AsyncIterator[tuple[Server, int]]:
    server = Server(port, [NAME], lambda s: rpc.add_FeatureServiceServicer_to_server(servicer, s), max_in_flight)
    bound = await server.start()
    await server.health.set_serving(True)
    try:
        yield server, bound
    finally:
        await server.stop(0.5)


@contextlib.asynccontextmanager
async def calling(*ports: int, count: int = 2, affinity: streams.Affinity | None = None) -> AsyncIterator[Calls]:
    """Calls whose streams are open."""
    async with channel(",".join(f"127.0.0.1:{port}" for port in ports)) as connected:
        stub = rpc.FeatureServiceStub(connected)

        def wrap(request: pb.BatchGetFeaturesRequest, **fields: int | str) -> pb.ReadFeaturesRequest:
            return pb.ReadFeaturesRequest(read=request, **fields)  # type: ignore[arg-type]  # number, timeout_ms, request_id

        calls: Calls = StreamedCalls(
            stub.ReadFeatures, stub.BatchGetFeatures, wrap, lambda response: response.answer, count,
            lambda number: pb.ReadFeaturesRequest(number=number), pb.ReadFeaturesResponse.FromString, affinity,
        )  # fmt: skip
        try:
            with contextlib.suppress(grpc.aio.AioRpcError):
                await ask(calls, "warm")
            await eventually(lambda: all(lane.open for lane in calls._lanes))
            yield calls
        finally:
            await calls.close()


async def ask(calls: Calls, text: str, timeout: float = 5.0) -> str:
    return (await calls(pb.BatchGetFeaturesRequest(ids=[text]), timeout=timeout)).entity


async def echo(text: str) -> str:
    return text


async def failure_of(answering: Answering, timeout: float = 5.0) -> errors.ServiceError:
    async with serving(new(answering)) as (_, port), calling(port) as calls:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(calls, "x", timeout)
    return errors.from_rpc(caught.value)


async def test_requests_go_over_the_stream_and_come_back_as_they_are_done() -> None:
    gate, order = asyncio.Event(), list[str]()

    async def answering(text: str) -> str:
        if text == "slow":
            await gate.wait()
        order.append(text)
        return text

    servicer = new(answering)
    async with serving(servicer) as (_, port), calling(port, count=1) as calls:
        before, servicer.unary = servicer.streamed, 0
        slow = asyncio.create_task(ask(calls, "slow"))
        assert await asyncio.gather(*(ask(calls, f"{n}") for n in range(50))) == [f"{n}" for n in range(50)]
        gate.set()
        assert await slow == "slow"
        assert order[-1] == "slow"
        assert (servicer.streamed - before, servicer.unary) == (51, 0)


async def test_a_designed_error_arrives_whole_and_the_stream_goes_on() -> None:
    async def answering(text: str) -> str:
        if text == "bad":
            raise errors.invalid_field("ids[0]", "is bad", reason="INVALID_ID")
        if text == "busy":
            raise errors.resource_exhausted("OVERLOADED", "too much", retry_after=2.5)
        return text

    servicer = new(answering)
    async with serving(servicer) as (_, port), calling(port, count=1) as calls:
        servicer.unary = 0
        failures = []
        for text in ("bad", "busy"):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await ask(calls, text)
            failures.append(errors.from_rpc(caught.value))
        assert await ask(calls, "good") == "good"
        assert servicer.unary == 0
    bad, busy = failures
    assert (bad.code, bad.reason, bad.message) == (
        grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ID", "ids[0]: is bad",
    )  # fmt: skip
    assert bad.violations == (errors.FieldViolation("ids[0]", "is bad"),)
    assert (busy.code, busy.retry_after) == (grpc.StatusCode.RESOURCE_EXHAUSTED, 2.5)


async def test_a_bug_is_masked_but_can_be_found() -> None:
    async def bug(_: str) -> str:
        raise KeyError("password=hunter2")

    error = await failure_of(bug)
    assert (error.code, error.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    assert "hunter2" not in str(error)
    assert error.metadata["errorHash"] in error.message


async def test_what_takes_too_long_is_out_of_time_and_ends_at_the_server() -> None:
    ended = list[str]()

    async def hang(text: str) -> str:
        if text == "warm":
            return text
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(text)
        return text

    late = metrics.GRPC_HANDLED.labels(NAME, "ReadFeatures", "DEADLINE_EXCEEDED")._value
    before = late.get()
    error = await failure_of(hang, timeout=0.2)
    assert error.code is grpc.StatusCode.DEADLINE_EXCEEDED
    await eventually(lambda: "x" in ended)
    await eventually(lambda: late.get() - before == 1)


async def test_whoever_leaves_takes_their_request_along_and_no_other() -> None:
    entered, ended, gate = list[str](), list[str](), asyncio.Event()

    async def slow(text: str) -> str:
        entered.append(text)
        try:
            await (gate if text == "stays" else asyncio.Event()).wait()
        except asyncio.CancelledError:
            ended.append(text)
            raise
        return text

    async def answering(text: str) -> str:
        return text if text in ("warm", "after") else await slow(text)

    cancelled = metrics.GRPC_HANDLED.labels(NAME, "ReadFeatures", "CANCELLED")._value
    before = cancelled.get()
    async with serving(new(answering)) as (_, port), calling(port, count=1) as calls:
        stays, leaves = asyncio.create_task(ask(calls, "stays")), asyncio.create_task(ask(calls, "leaves"))
        await eventually(lambda: len(entered) == 2)
        leaves.cancel()
        await eventually(lambda: ended == ["leaves"])
        await eventually(lambda: metrics.GRPC_IN_FLIGHT._value.get() == 1)
        assert cancelled.get() - before == 1
        gate.set()
        assert await stays == "stays"
        assert await ask(calls, "after") == "after"
        assert not calls._lanes[0].waiting


async def test_overload_is_refused_by_message() -> None:
    gate, entered = asyncio.Event(), asyncio.Event()

    async def slow(text: str) -> str:
        if text == "slow":
            entered.set()
            await gate.wait()
        return text

    async with serving(new(slow), max_in_flight=1) as (_, port), calling(port) as calls:
        first = asyncio.create_task(ask(calls, "slow"))
        await entered.wait()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(calls, "more")
        error = errors.from_rpc(caught.value)
        assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        gate.set()
        assert await first == "slow"
        assert await ask(calls, "again") == "again"


async def test_unavailable_is_asked_again_by_a_call() -> None:
    tried = list[str]()

    async def answering(text: str) -> str:
        tried.append(text)
        if tried == ["warm", "x"]:
            raise errors.unavailable("STORE_DOWN", "try again")
        return text

    async with serving(new(answering)) as (_, port), calling(port) as calls:
        assert await ask(calls, "x") == "x"
    assert tried == ["warm", "x", "x"]


async def test_the_request_id_and_the_metrics_are_the_messages() -> None:
    seen = list[str | None]()

    async def note(text: str) -> str:
        seen.append(current_request_id())
        return text

    def handled() -> Any:
        return metrics.GRPC_HANDLED.labels(NAME, "ReadFeatures", "OK")._value.get()

    before = handled()
    async with serving(new(note)) as (_, port), calling(port) as calls:
        with structlog.contextvars.bound_contextvars(request_id="abc.1"):
            await ask(calls, "x")
        await ask(calls, "y")
        assert handled() - before == 2
        assert metrics.GRPC_IN_FLIGHT._value.get() == 0
    assert seen[1] == "abc.1"
    assert seen[2] not in {None, "", "abc.1"}


async def test_a_server_without_the_stream_is_called() -> None:
    servicer = new(echo, with_streams=False)
    async with serving(servicer) as (_, port), channel(f"localhost:{port}") as connected:
        stub = rpc.FeatureServiceStub(connected)
        # A stream may look open for a moment, until its refusal is there.
        calls: Calls = StreamedCalls(
            stub.ReadFeatures, stub.BatchGetFeatures,
            lambda request, **fields: pb.ReadFeaturesRequest(read=request, **fields), lambda r: r.answer,
        )  # fmt: skip
        for n in range(20):
            assert await ask(calls, f"{n}") == f"{n}"
            await asyncio.sleep(0.005)  # streams are tried meanwhile
        await calls.close()
    assert (servicer.unary, servicer.streamed) == (20, 0)


async def test_servers_share_the_streams_and_a_drain_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "RENEW_FIRST", 0.1)
    answered = list[str]()

    def answering(name: str) -> Answering:
        async def answer(text: str) -> str:
            await asyncio.sleep(0.002)  # requests are under way when the server leaves
            answered.append(name)
            return text

        return answer

    async with serving(new(answering("b"))) as (_, b), contextlib.AsyncExitStack() as leaving:
        _, a = await leaving.enter_async_context(serving(new(answering("a"))))
        async with calling(a, b, count=6) as calls:
            left = asyncio.Event()

            async def caller(name: int) -> int:
                count = 0
                while not left.is_set():
                    assert await ask(calls, f"{name}.{count}") == f"{name}.{count}"
                    count += 1
                return count

            callers = [asyncio.create_task(caller(n)) for n in range(20)]
            await eventually(lambda: min(answered.count("a"), answered.count("b")) > 40)
            await leaving.aclose()
            answered.clear()
            await eventually(lambda: len(answered) > 40)
            left.set()
            assert min(await asyncio.gather(*callers)) > 0
    assert set(answered) == {"b"}


async def test_a_server_that_dies_is_replaced_by_calls() -> None:
    """Its streams break with requests under way: unary calls ask these again, of the server that is there."""
    entered = asyncio.Event()

    async def stuck(text: str) -> str:
        entered.set()
        await asyncio.Event().wait()
        return text

    other = new(echo)
    async with serving(other) as (_, b), contextlib.AsyncExitStack() as dying:
        server, a = await dying.enter_async_context(serving(new(stuck)))
        async with channel(f"127.0.0.1:{a}") as doomed, channel(f"127.0.0.1:{b}") as healthy:
            calls: Calls = StreamedCalls(
                rpc.FeatureServiceStub(doomed).ReadFeatures, rpc.FeatureServiceStub(healthy).BatchGetFeatures,
                lambda request, **fields: pb.ReadFeaturesRequest(read=request, **fields), lambda r: r.answer, streams=1,
            )  # fmt: skip
            assert await ask(calls, "first") == "first"
            await eventually(lambda: calls._lanes[0].open)
            waiting = asyncio.create_task(ask(calls, "x"))
            await entered.wait()
            await server.stop(0)
            assert await waiting == "x"
            assert other.unary == 2
            await calls.close()


async def test_streams_are_made_anew_and_nobody_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "RENEW_FIRST", 0.05)
    monkeypatch.setattr(streams, "RENEW", 0.05)
    servicer = new(echo)
    made = 0
    async with serving(servicer) as (_, port), calling(port) as calls:
        before = {lane._call for lane in calls._lanes}
        while made < 10:
            assert await ask(calls, f"{made}") == f"{made}"
            now = {lane._call for lane in calls._lanes}
            made += len(now - before)
            before = now


async def test_a_stream_without_a_word_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(text: str) -> str:
        if text == "hang":
            await asyncio.Event().wait()
        return text

    async with serving(new(hang)) as (_, port), calling(port, count=1) as calls:
        before = calls._lanes[0]._call
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(calls, "hang", timeout=0.1)
        await eventually(lambda: calls._lanes[0].open and calls._lanes[0]._call is not before)
        assert await ask(calls, "x") == "x"


async def test_who_leaves_leaves_nothing_behind() -> None:
    gate = asyncio.Event()

    async def slow(text: str) -> str:
        if text == "slow":
            await gate.wait()
        return text

    async with serving(new(slow)) as (_, port), calling(port, count=1) as calls:
        gone = asyncio.create_task(ask(calls, "slow"))
        await eventually(lambda: calls._lanes[0].waiting)
        gone.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await gone
        assert not calls._lanes[0].waiting
        assert await ask(calls, "x") == "x"
        gate.set()
