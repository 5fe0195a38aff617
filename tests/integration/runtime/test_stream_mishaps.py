"""What goes wrong with one request of an open stream is no other request's affair, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import grpc
import pytest

from services.runtime import exchanges, streams
from tests.integration.runtime.test_streams import ask, calling, echo, new, serving
from tests.support.waiting import eventually

pytestmark = pytest.mark.usefixtures("either_way")


async def test_a_short_wait_is_no_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has a millisecond left does not end the stream of all the others."""
    monkeypatch.setattr(streams, "_SILENCE", 60.0)
    gate = asyncio.Event()

    async def slow(text: str) -> str:
        if text == "slow":
            await gate.wait()
        return text

    servicer = new(slow)
    async with serving(servicer) as (_, port), calling(port, count=1) as calls:
        servicer.unary = 0
        slowly = asyncio.create_task(ask(calls, "slow"))
        await eventually(lambda: calls._lanes[0].waiting)
        with pytest.raises(grpc.aio.AioRpcError):
            await ask(calls, "slow", timeout=0.001)
        gate.set()
        assert await slowly == "slow"
        assert servicer.unary == 0


async def test_a_stream_that_fails_is_made_anew() -> None:
    async with serving(new(echo)) as (_, port), calling(port, count=1) as calls:
        lane = calls._lanes[0]
        stream, failures = lane._stream, [ValueError("a bug"), ValueError("another")]

        def failing(timeout: float) -> Any:
            if failures:
                raise failures.pop()
            return stream(timeout=timeout)

        lane._stream = failing
        lane._call.cancel()
        await eventually(lambda: not failures and lane.open)
        assert await ask(calls, "x") == "x"


def test_a_refused_or_late_request_goes_without_a_collection(either_way: str) -> None:
    """Collections are rare, and a request may be long. In a process of its own: others' tests keep objects, too."""
    program = [sys.executable, "-m", "tests.integration.runtime.refusing", either_way]
    done = subprocess.run(program, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


async def test_requests_that_end_without_an_answer_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanges, "MOST", 2)
    gate = asyncio.Event()

    async def lost(text: str) -> str:
        if text == "lost":
            await gate.wait()
            raise asyncio.CancelledError
        return text

    servicer = new(lost)
    async with serving(servicer) as (_, port), calling(port, count=1) as calls:
        before = servicer.streamed
        waiting = [asyncio.create_task(ask(calls, "lost", timeout=60.0)) for _ in range(2)]
        await eventually(lambda: servicer.streamed == before + 2)
        gate.set()
        assert await ask(calls, "x", timeout=1.0) == "x"
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
