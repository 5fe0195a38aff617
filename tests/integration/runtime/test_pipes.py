"""Messages beside a stream: whole, no more than there is room for, only from the stream's own client."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import sys
import weakref
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from windowshop.features.v1 import features_pb2 as pb
from windowshop.features.v1 import features_pb2_grpc as rpc

from services.runtime import exchanges, pipes, streams
from services.runtime.client import channel
from services.runtime.pipes import Intake, Listener, Pipe, reach
from tests.integration.runtime.test_streams import ask, calling, echo, new, serving
from tests.support.stack import free_port
from tests.support.waiting import eventually

MESSAGES = [b"", b"a", b"bc" * 500, b"", b"d" * 70_000, b"e"]


def framed(messages: list[bytes]) -> bytes:
    return b"".join(len(message).to_bytes(4, "big") + message for message in messages)


class Transport(asyncio.Transport):
    """Notes what is done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.reading, self.ended = True, False

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.ended

    def close(self) -> None:
        self.ended = True

    abort = close


@pytest.mark.parametrize("length", [1, 3, 4, 5, 504, 100_000])
def test_messages_are_whole_however_they_come(length: int) -> None:
    heard = list[bytes]()
    pipe, data = Pipe(heard.append, lambda: None), framed(MESSAGES)
    for start in range(0, len(data), length):
        pipe.data_received(data[start : start + length])
    assert heard == MESSAGES


def test_a_message_without_end_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "_LONGEST", 10)
    transport, heard = Transport(), list[bytes]()
    pipe = Pipe(heard.append, lambda: None)
    pipe.connection_made(transport)
    pipe.data_received(framed([b"0123456789"]))
    assert (heard, transport.ended) == ([b"0123456789"], False)
    pipe.data_received(framed([b"0123456789a"])[:6])
    assert transport.ended


def test_what_is_no_message_ends_the_pipe_and_nothing_else() -> None:
    transport = Transport()
    pipe = Pipe(pb.ReadFeaturesResponse.FromString, lambda: None)
    pipe.connection_made(transport)
    pipe.data_received(framed([b"\xff", b"\xff"]))
    assert transport.ended


async def test_messages_wait_in_their_order_for_room() -> None:
    room, taken, transport = 2, list[bytes](), Transport()

    def take(message: bytes) -> bool:
        if len(taken) >= room:
            return False
        taken.append(message)
        return True

    intake = Intake(lambda _, key: take if key == b"key" else None)
    intake.connection_made(transport)
    intake.data_received(framed([b"key", b"1", b"2", b"3", b"4"]))
    assert (taken, transport.reading) == ([b"1", b"2"], False)
    room = 3
    intake.go_on()
    assert (taken, transport.reading) == ([b"1", b"2", b"3"], False)
    room = 9
    intake.pause_writing()  # the answers are not fetched
    intake.go_on()
    assert len(taken) == 3
    intake.resume_writing()
    assert (taken, transport.reading) == ([b"1", b"2", b"3", b"4"], True)
    intake.pause_writing()
    intake.data_received(framed([b"5"]))
    assert (len(taken), transport.reading) == (4, False)
    intake.connection_lost(None)


async def test_a_pipe_is_the_stream_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    listener, heard = Listener(), list[bytes]()

    def reached(pipe: Intake) -> pipes.Take:
        pipe.send(b"welcome")
        return lambda _: True

    async def tried(metadata: Any) -> Pipe:
        pipe = await reach(metadata, heard.append, lambda: None)
        assert pipe is not None
        return pipe

    await listener.start()
    try:
        with listener.offered(reached) as metadata:
            ((name, offer),) = metadata
            await asyncio.wait_for((await tried([(name, offer[:-1] + "-")])).gone.wait(), 5)
            assert not heard
            pipe = await tried(metadata)
            await eventually(lambda: heard == [b"welcome"])
            await asyncio.wait_for((await tried(metadata)).gone.wait(), 5)  # a second one
            pipe.close()
        with listener.offered(reached) as metadata:
            pass
        await asyncio.wait_for((await tried(metadata)).gone.wait(), 5)  # when the stream has ended
        monkeypatch.setattr(pipes, "_PATIENCE", 0.01)
        silent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with silent:
            silent.connect(pipes._address(offer.partition(" ")[0]))
            silent.settimeout(5)
            assert await asyncio.to_thread(silent.recv, 1) == b""
        assert heard == [b"welcome"]
    finally:
        listener.stop()
    assert await reach(metadata, heard.append, lambda: None) is None
    assert await reach(None, heard.append, lambda: None) is None


async def test_no_more_is_under_way_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanges, "MOST", 2)
    gate, most, under_way = asyncio.Event(), 0, 0

    async def answering(text: str) -> str:
        nonlocal most, under_way
        under_way += 1
        most = max(most, under_way)
        await gate.wait()
        under_way -= 1
        return text

    gate.set()
    async with serving(new(answering)) as (_, port), calling(port, count=1) as calls:
        assert calls._lanes[0]._pipe is not None
        gate.clear()
        asked = [asyncio.create_task(ask(calls, f"{n}")) for n in range(20)]
        await eventually(lambda: under_way == 2)
        gate.set()
        assert await asyncio.gather(*asked) == [f"{n}" for n in range(20)]
        assert most == 2


async def test_a_pipe_that_breaks_is_a_stream_that_breaks() -> None:
    gate = asyncio.Event()

    async def answering(text: str) -> str:
        if text == "slow":
            await gate.wait()
        return text

    servicer = new(answering)
    async with serving(servicer) as (_, port), calling(port, count=1) as calls:
        lane = calls._lanes[0]
        pipe, call = lane._pipe, lane._call
        assert pipe is not None
        assert pipe._transport is not None
        servicer.unary = 0
        slow = asyncio.create_task(ask(calls, "slow"))
        await eventually(lambda: lane.waiting)
        pipe._transport.abort()
        gate.set()
        assert await slow == "slow"
        assert servicer.unary == 1
        await eventually(lambda: lane.open)
        assert lane._pipe not in {None, pipe}
        assert lane._call is not call
        assert await ask(calls, "x") == "x"


async def test_nothing_of_a_stream_that_ended_waits_for_a_collection() -> None:
    """Streams end every second, and a collection of what grew old holds up every request."""

    def there() -> list[weakref.ref[object]]:
        kinds = (Pipe, exchanges.Connection, exchanges._Exchange)
        return [weakref.ref(one) for one in gc.get_objects() if isinstance(one, kinds)]

    gc.collect()
    before = len(there())
    gc.disable()
    try:
        async with serving(new(echo)) as (_, port):
            async with calling(port, count=1) as calls:
                assert await ask(calls, "x") == "x"
                assert len(there()) >= before + 4
            assert await eventually(lambda: len(there()) == before)
    finally:
        gc.enable()


async def test_messages_go_over_the_stream_where_the_socket_is_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipes, "_THERE", False)
    servicer = new(echo)
    async with serving(servicer) as (_, port), calling(port, count=1) as calls:
        servicer.unary = 0
        assert calls._lanes[0]._pipe is None
        assert await ask(calls, "x") == "x"
        assert servicer.unary == 0


async def serve_until_killed(port: int) -> None:
    """A process's only work: answers all but "slow"."""
    async with serving(new(slow_or_echo), port):
        await asyncio.Event().wait()


async def ask_until_killed(port: int) -> None:
    """A process's only work: to wait for an answer that does not come."""
    async with calling(port, count=1) as calls:
        assert calls._lanes[0]._pipe is not None
        await ask(calls, "slow", timeout=60)


async def slow_or_echo(text: str) -> str:
    if text == "slow":
        await asyncio.Event().wait()
    return text


@contextlib.asynccontextmanager
async def process(work: str) -> AsyncIterator[asyncio.subprocess.Process]:
    code = f"import asyncio; from tests.integration.runtime import test_pipes as t; asyncio.run(t.{work})"
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def test_what_a_killed_server_leaves_is_asked_of_another() -> None:
    other = new(echo)
    doomed = free_port()
    async with process(f"serve_until_killed({doomed})") as child, serving(other) as (_, port):
        assert child.stdout is not None
        await child.stdout.readline()  # it listens
        async with calling(doomed, count=1) as calls, channel(f"127.0.0.1:{port}") as healthy:
            calls._unary = rpc.FeatureServiceStub(healthy).BatchGetFeatures
            assert calls._lanes[0]._pipe is not None
            waiting = asyncio.create_task(ask(calls, "slow"))
            await eventually(lambda: calls._lanes[0].waiting)
            child.kill()
            assert await waiting == "slow"
            assert other.unary == 1
            assert await ask(calls, "x") == "x"


async def test_what_a_killed_client_asked_for_ends() -> None:
    entered, ended = list[str](), list[str]()

    async def answering(text: str) -> str:
        entered.append(text)
        try:
            return await slow_or_echo(text)
        except asyncio.CancelledError:
            ended.append(text)
            raise

    async with serving(new(answering)) as (_, port), process(f"ask_until_killed({port})") as child:
        await eventually(lambda: "slow" in entered, timeout=30)
        child.kill()
        await eventually(lambda: ended == ["slow"])


async def test_what_nobody_waits_for_any_more_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server without room does not fetch; when it has some, it finds what is asked then."""
    monkeypatch.setattr(exchanges, "MOST", 1)
    monkeypatch.setattr(streams, "_SILENCE", 60.0)
    gate = asyncio.Event()

    async def answering(text: str) -> str:
        await gate.wait()
        return text[:5]

    gate.set()
    servicer = new(answering)
    async with serving(servicer) as (_, port), calling(port, count=1) as calls:
        gate.clear()
        before, lane = servicer.streamed, calls._lanes[0]
        pipe, text = lane._pipe, "x" * 50_000
        given_up = await asyncio.gather(*(ask(calls, text, 0.3) for _ in range(200)), return_exceptions=True)
        assert {type(error) for error in given_up} == {grpc.aio.AioRpcError}
        gate.set()
        assert await ask(calls, "alive") == "alive"
        assert lane._pipe is pipe
        assert servicer.streamed - before < 100
        await eventually(lambda: pipe is not None and not pipe.full)


async def test_an_end_that_is_told_late_ends_no_other_stream() -> None:
    async with serving(new(echo)) as (_, port), calling(port, count=1) as calls:
        lane = calls._lanes[0]
        before, call = lane._pipe, lane._call
        lane._retire()
        await eventually(lambda: lane.open and lane._call is not call)
        assert before is not None
        before.connection_lost(None)
        assert lane.open
