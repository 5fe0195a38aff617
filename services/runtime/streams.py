"""Calls over streams that stay open, at the client: a quarter of the cost of a unary call, and nothing is lost by it.

A gRPC call costs its head, its end and half a dozen events on both sides; a message on an open stream costs one event
each. The messages carry what a call has in its head; see `exchanges` for the server. Only for methods that may be
repeated: what a stream leaves open when it breaks or its server leaves is asked again by a unary call.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import random
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Generic, TypeVar

import grpc

from services.runtime import errors
from services.runtime.affinity import server_for
from services.runtime.interceptors import SERVER_HEADER, current_request_id
from services.runtime.lifecycle import cancel_and_wait
from services.runtime.logs import get_logger
from services.runtime.pipes import Pipe, reach

log = get_logger(__name__)

# Streams of a channel, which goes to its servers in turn: enough that two or three servers get their shares, and that
# the others carry on while one is made anew.
STREAMS = 6
# Seconds after which a stream is made anew, give or take half: then servers that came meanwhile get their shares. The
# first ones live shorter: after a start, and when a server has gone, not all are reached at once. Each is followed by
# one of twice its life.
RENEW = 20.0
RENEW_FIRST = 1.0
# Seconds beyond that for what is still under way; a stream has a deadline as every call.
_GRACE = 20.0
# Seconds until the next try to open one, doubled with each failure up to the second one.
_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
# Seconds between the first streams: opened in a burst, they held the first calls up by a second now and then.
_APART = 0.05
# Seconds in which what goes beside a stream and the stream itself end, one after the other.
_MOMENT = 0.1
# Seconds without a word on a stream, since something was asked, after which one that gets no answer in its time leaves
# it: its server may hang. Who waits a moment only, because that is what is left of its time, cannot tell.
_SILENCE = 0.05
_DICE = random.Random()  # noqa: S311  # no secret
# In the place of an answer that did not come in time. An error would keep the request until a collection: it has the
# frame that has the future that has it.
_LATE = object()
# Another server may know better, and gRPC tries unary calls of these outcomes again.
_ELSEWHERE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED})

Q = TypeVar("Q")
A = TypeVar("A")

# A request and its number=, timeout_ms= and request_id= to the message that the stream takes.
Wrap = Callable[..., Any]
# A number to the message that says that nobody waits for its answer any more.
Leave = Callable[[int], Any]
# The bytes of the server's message to it.
Parse = Callable[[bytes], Any]
# A request to what it has in common with others that one server had best answer all; empty: nothing.
Affinity = Callable[[Any], str]


class StreamedCalls(Generic[Q, A]):
    """Called as a unary stub's callable is; raises what that raises."""

    def __init__(
        self,
        stream: Callable[..., Any],
        unary: Callable[..., Awaitable[A]],
        wrap: Wrap,
        unwrap: Callable[[Any], A],
        streams: int = STREAMS,
        leave: Leave | None = None,
        parse: Parse | None = None,
        affinity: Affinity | None = None,
    ) -> None:
        """``stream`` and ``unary``: the callables of the two methods. Nothing is opened before the first call. With
        ``leave`` the server learns of callers that give up: for answers that cost it much. With ``parse`` messages go
        beside the stream where its server is on this machine. ``affinity``: for servers that remember what they
        answered."""
        self._unary = unary
        self._affinity = affinity
        self._wrap = wrap
        self._unwrap = unwrap
        self._lanes = [_Lane(stream, leave, parse) for _ in range(streams)]
        self._running: list[asyncio.Task[None]] = []
        self._turn = 0
        self._closed = False

    async def __call__(self, request: Q, *, timeout: float, written: bytes = b"", **fields: Any) -> A:
        """The answer within ``timeout`` seconds. ``fields``: what else the message on a stream is to say.

        ``written``: the bytes of a message with nothing but the request, of who has them.
        """
        if not self._running and not self._closed:
            self._start()
        lane = self._next(self._affinity(request) if self._affinity is not None else "")
        if lane is None:
            return await self._unary(request, timeout=timeout)
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout
        response = await lane.ask(partial(self._wrap, **fields) if fields else self._wrap, request, written, timeout)
        if response is not None:
            if not response.error:
                return self._unwrap(response)
            error = errors.from_bytes(response.error)
            if error.code() not in _ELSEWHERE:
                try:
                    raise error
                finally:
                    del error  # it has this frame: together they would keep the request until a collection
        return await self._unary(request, timeout=max(0.001, end - loop.time()))

    def _start(self) -> None:
        # In nobody's context: streams outlive the request that is first.
        self._running = [
            contextvars.Context().run(asyncio.create_task, lane.run(place * _APART))
            for place, lane in enumerate(self._lanes)
        ]

    def _next(self, affinity: str) -> _Lane | None:
        """The open stream with the least to do, of those to the server of ``affinity``; of equals, each in its turn."""
        self._turn += 1
        at = self._turn % len(self._lanes)
        lanes = [lane for lane in (*self._lanes[at:], *self._lanes[:at]) if lane.open]
        if affinity:
            under_way = dict.fromkeys([lane.server for lane in lanes], 0)
            for lane in lanes:
                under_way[lane.server] += lane.under_way()
            server = server_for(affinity, under_way)
            lanes = [lane for lane in lanes if lane.server == server]
        return min(lanes, key=_Lane.under_way, default=None)

    async def close(self) -> None:
        """Ends the streams; what is still asked then goes by unary calls."""
        self._closed = True
        running, self._running = self._running, []
        await cancel_and_wait(*running)


class _Lane:
    """One stream at a time, made anew for ever."""

    def __init__(self, stream: Callable[..., Any], leave: Leave | None, parse: Parse | None) -> None:
        self._stream = stream
        self._leave = leave
        self._parse = parse
        self._call: Any = None
        self._pipe: Pipe | None = None
        self._number = 0
        # Since when, in the loop's time, something that was asked has been followed by no word.
        self._silent_since: float | None = None
        self._queue: deque[Any] = deque()
        # Messages that say that somebody left.
        self._left: deque[Any] = deque()
        self._wake = asyncio.Event()
        # Whether it takes requests, and whose they are then: a server's name for itself, which an older one has not.
        self.open = False
        self.server = ""
        # By number, the answers that are awaited; None: there will be none.
        self.waiting: dict[int, asyncio.Future[Any]] = {}

    def under_way(self) -> int:
        """How many answers are awaited."""
        return len(self.waiting)

    async def ask(self, wrap: Wrap, request: Any, written: bytes, timeout: float) -> Any | None:
        """The response, or None when the stream broke; raises DEADLINE_EXCEEDED as a call does."""
        self._number += 1
        number, loop = self._number, asyncio.get_running_loop()
        beside = self._pipe if self._pipe is not None and not self._pipe.full else None
        message = wrap(
            None if beside is not None and written else request,
            number=number,
            timeout_ms=max(1, int(timeout * 1_000)),
            request_id=current_request_id() or "",
        )
        future: asyncio.Future[Any] = loop.create_future()
        self.waiting[number] = future
        # Cheaper than asyncio.timeout, which cancels the caller's task and has to tell that from others' cancelling.
        end = loop.call_later(timeout, _give_up, future)
        if beside is not None:
            self._asks()
            beside.send(written + message.SerializeToString())  # to a reader, one message
        else:  # in the queue it ends with its caller's time
            self._queue.append(message)
            self._wake.set()
        try:
            response = await future
        except asyncio.CancelledError:
            if self._leave is not None and self.open:
                self._say_left(self._leave(number))
            raise
        finally:
            end.cancel()
            self.waiting.pop(number, None)
        if response is not _LATE:
            return response
        since = self._silent_since
        if since is not None and loop.time() - since >= _SILENCE and self._call is not None:
            self._call.cancel()  # the next one's server may be another
        raise _late()

    def _say_left(self, message: Any) -> None:
        if self._pipe is not None and not self._pipe.full:
            self._pipe.send(message.SerializeToString())
        else:
            self._left.append(message)
            self._wake.set()

    def _asks(self) -> None:
        if self._silent_since is None:
            self._silent_since = asyncio.get_running_loop().time()

    async def run(self, delay: float) -> None:
        """From ``delay`` seconds on, until cancelled or the channel is closed."""
        await asyncio.sleep(delay)
        pause, life = _PAUSE, RENEW_FIRST
        while True:
            try:
                await self._once(life * _DICE.uniform(0.5, 1.5))
                pause, life = _PAUSE, min(2 * life, RENEW)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
                log.debug("stream broke", error=str(error))
                pause, life = min(2 * pause, _LONGEST_PAUSE), RENEW_FIRST
            except grpc.aio.UsageError:
                return
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise  # else it is the stream that was cancelled, by `ask`
            except Exception as error:
                log.error("stream failed", exc_info=error)
                pause, life = min(2 * pause, _LONGEST_PAUSE), RENEW_FIRST
            await asyncio.sleep(pause * _DICE.uniform(0.5, 1.5))

    async def _once(self, life: float) -> None:
        """One stream from its beginning to its end, after ``life`` seconds."""
        call = self._call = self._stream(timeout=life + _GRACE)
        self._silent_since = None
        renewing = asyncio.get_running_loop().call_later(life, self._retire)
        writing: asyncio.Task[None] | None = None
        try:
            metadata = await call.initial_metadata()  # the server has taken it
            self.server = str(next((value for name, value in metadata or () if name == SERVER_HEADER), ""))
            if self._parse is not None:
                parse = self._parse
                self._pipe = await reach(
                    metadata, lambda message: self._hear(parse(message)), partial(self._lost, call)
                )
            self.open = not call.done()
            writing = asyncio.create_task(self._write(call))
            while (response := await call.read()) is not grpc.aio.EOF:
                self._hear(response)
            await self._hear_out()
        finally:
            self.open = False
            renewing.cancel()
            if writing is not None:
                writing.cancel()
            if self._pipe is not None:
                self._pipe.abort()
                self._pipe = None
            call.cancel()
            self._queue.clear()
            self._left.clear()
            for future in self.waiting.values():
                if not future.done():
                    future.set_result(None)

    def _hear(self, response: Any) -> None:
        self._silent_since = None
        future = self.waiting.get(response.number)
        if future is not None and not future.done():
            future.set_result(response)

    def _lost(self, call: Any) -> None:
        """The server closed the pipe: the stream's end follows, or else something is wrong."""
        if call is self._call:  # else told late, and its stream is gone
            self._retire()
            asyncio.get_running_loop().call_later(_MOMENT, call.cancel)

    async def _hear_out(self) -> None:
        """The server has answered all that it took; what of it came beside the stream may be read later."""
        if self._pipe is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_MOMENT):
                    await self._pipe.gone.wait()

    async def _write(self, call: Any) -> None:
        """What is asked, one message at a time; says that it was all when the stream retires."""
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):  # the reader learns why
            while self.open or self._queue:
                while self._queue:
                    message = self._queue.popleft()
                    if message.number in self.waiting:  # else its caller has left
                        self._asks()
                        await call.write(message)
                while self._left:
                    await call.write(self._left.popleft())
                self._wake.clear()
                if self.open and not (self._queue or self._left):
                    await self._wake.wait()
            if self._pipe is not None and self.waiting:  # the server takes no more when it hears of the end
                await asyncio.wait(list(self.waiting.values()))
            await call.done_writing()

    def _retire(self) -> None:
        """Takes no more; the server ends the stream when it has answered."""
        self.open = False
        self._wake.set()


def _give_up(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_result(_LATE)


def _late() -> grpc.aio.AioRpcError:
    code = grpc.StatusCode.DEADLINE_EXCEEDED
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details="Deadline Exceeded")
