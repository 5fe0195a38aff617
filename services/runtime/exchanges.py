"""Requests over a stream that stays open, at the server: each is admitted, observed and answered for itself.

The messages of such a stream have `number`, `timeout_ms` and `request_id`; see `streams` for the client.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from typing import Any, Generic, Protocol, TypeVar

import grpc

from services.runtime import errors
from services.runtime.pipes import Intake, Take

# Requests of one stream that are under way or wait to be sent; beyond, none is read, and the client's window fills.
MOST = 256
# Seconds for a request that names none.
_SECONDS = 1.0


class Request(Protocol):
    """What a message says of itself."""

    @property
    def number(self) -> int:
        """Of its sender's choice: no other request under way on the stream has it."""

    @property
    def timeout_ms(self) -> int:
        """Milliseconds that its sender waits; 0: not said."""

    @property
    def request_id(self) -> str:
        """For the logs; may be empty."""


class _Time:
    """Of one request, as asyncio.timeout: cheaper, for the task does nothing else, and is known."""

    __slots__ = ("over", "task")

    def __init__(self) -> None:
        self.over = False
        self.task: asyncio.Task[None] | None = None

    def end(self) -> None:
        """It is over."""
        self.over = True
        if self.task is not None:
            self.task.cancel()


class Observation(Protocol):
    """One request from admission to its log event; see `interceptors`."""

    def begin(self) -> None:
        """Raises RESOURCE_EXHAUSTED when there is no room."""

    def end(self, error: BaseException | None) -> errors.ServiceError | None:
        """What the caller is told of ``error``; None: nothing."""


def _nothing_more(_: bytes) -> bool:
    """Takes no message."""
    return False


class Connection:
    """A stream of requests that are calls of their own for limits, metrics and logs."""

    def __init__(
        self, observe: Callable[[str], Observation], parse: Callable[[bytes], Any], write: Callable[[Any], bytes]
    ) -> None:
        """``observe``: by request id; ``parse`` a message that comes by a pipe, ``write`` one that goes by it."""
        self.observe = observe
        self.parse = parse
        self.write = write
        # Set when the server leaves: what is under way is to be finished, and no more taken.
        self.leaving = asyncio.Event()
        # The client's other way, when it takes it.
        self.pipe: Intake | None = None
        # By a pipe come messages only while the method runs.
        self.take: Take = _nothing_more

    def reached(self, pipe: Intake) -> Take:
        """The client found the pipe."""
        self.pipe = pipe
        return self._hand_on

    def _hand_on(self, message: bytes) -> bool:
        return self.take(message)

    def enter(self) -> None:
        """Makes it that of the running method."""
        _CONNECTION.set(self)


_CONNECTION: ContextVar[Connection] = ContextVar("connection")


Q = TypeVar("Q", bound=Request)
A = TypeVar("A")


async def answers(
    requests: AsyncIterator[Q],
    answer: Callable[[Q, float], Awaitable[A]],
    refuse: Callable[[Q, bytes], A],
    left: Callable[[Q], bool] | None = None,
) -> AsyncIterator[A]:
    """What a method with streams both ways gives back: ``answer(request, seconds)`` of each request, as they are done.

    ``refuse(request, status)`` is the answer to one that failed, with a serialized google.rpc.Status. Of a message that
    has ``left`` only the number counts: the request of that number is cancelled, and not answered. Ends when the
    client sends no more or the server leaves, and all that was taken is answered.
    """
    exchange = _Exchange(_CONNECTION.get(), answer, refuse, left)
    reading = asyncio.create_task(exchange.read(requests))
    try:
        async for response in exchange.responses():
            yield response
    finally:
        exchange.end()
        reading.cancel()


class _Exchange(Generic[Q, A]):
    def __init__(
        self,
        connection: Connection,
        answer: Callable[[Q, float], Awaitable[A]],
        refuse: Callable[[Q, bytes], A],
        left: Callable[[Q], bool] | None,
    ) -> None:
        # Kept: CPython 3.11 asks the system for the process's number each time that the running loop is looked up.
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._answer = answer
        self._refuse = refuse
        self._left = left
        # And the number of each; one who gives two the same can call back only the second.
        self._under_way: dict[asyncio.Task[None], int] = {}
        self._by_number: dict[int, asyncio.Task[None]] = {}
        self._done: deque[A] = deque()
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._reading = True
        connection.take = self._take_message
        self._make_room()

    async def read(self, requests: AsyncIterator[Q]) -> None:
        """Takes requests until there are no more, or none are to be taken."""
        taking = asyncio.ensure_future(self._take(requests))
        leaving = asyncio.ensure_future(self._connection.leaving.wait())
        try:
            await asyncio.wait((taking, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            taking.cancel()
            leaving.cancel()
            self._reading = False
            self._changed.set()

    async def _take(self, requests: AsyncIterator[Q]) -> None:
        async for request in requests:
            self._begin(request, self._done.append)
            while len(self._under_way) + len(self._done) >= MOST:
                self._room.clear()
                await self._room.wait()

    def _take_message(self, message: bytes) -> bool:
        """By the pipe, if it is to be taken now."""
        if not self._reading or self._connection.leaving.is_set() or len(self._under_way) >= MOST:
            return False
        self._begin(self._connection.parse(message), self._send)
        return True

    def _send(self, response: A) -> None:
        if self._connection.pipe is not None:
            self._connection.pipe.send(self._connection.write(response))

    def _begin(self, request: Q, reply: Callable[[A], None]) -> None:
        if self._left is not None and self._left(request):
            self._call_back(request.number)
            return
        time = _Time()
        task = time.task = self._loop.create_task(self._handle(request, reply, time))
        self._under_way[task] = request.number
        self._by_number[request.number] = task
        task.add_done_callback(self._leave)

    def _call_back(self, number: int) -> None:
        task = self._by_number.get(number)
        if task is not None:
            task.cancel()

    def _leave(self, task: asyncio.Task[None]) -> None:
        number = self._under_way.pop(task)
        if self._by_number.get(number) is task:
            del self._by_number[number]
        # As a rule its answer went by the pipe, and there is nothing to be woken for.
        if self._done or not (self._reading or self._under_way):
            self._changed.set()
        self._room.set()  # if it ended without an answer, none makes room
        self._make_room()

    def _make_room(self) -> None:
        if self._connection.pipe is not None:
            self._connection.pipe.go_on()

    async def responses(self) -> AsyncIterator[A]:
        """Answers, as soon as they are there."""
        while self._reading or self._under_way or self._done:
            while self._done:
                yield self._done.popleft()
                self._room.set()
            self._changed.clear()
            if self._done or not (self._reading or self._under_way):
                continue
            await self._changed.wait()

    async def _handle(self, request: Q, reply: Callable[[A], None], time: _Time) -> None:
        observation = self._connection.observe(request.request_id)
        seconds = request.timeout_ms / 1_000 or _SECONDS
        end = self._loop.call_later(seconds, time.end)
        try:
            observation.begin()
            response = await self._answer(request, seconds)
        except (Exception, asyncio.CancelledError) as error:
            status = _status(observation, error, time.over)
            if status is None:
                raise
            response = self._refuse(request, status)
        else:
            try:
                reply(response)  # first: who waits for it goes on meanwhile
            finally:
                observation.end(None)
            return
        finally:
            end.cancel()
        reply(response)

    def end(self) -> None:
        """All is answered, or whoever asked is gone."""
        for task in self._under_way:
            task.cancel()
        self._reading = False
        self._connection.take = _nothing_more  # else each holds the other, and only a collection lets go of them
        if self._connection.pipe is not None:
            self._connection.pipe.close()


def _status(observation: Observation, error: BaseException, late: bool) -> bytes | None:
    """What the caller is told, None: nothing. ``late``: its time is over.

    Not where the error was caught: named there, it would keep the request until a collection, of which there are few.
    """
    if late:
        code = grpc.StatusCode.DEADLINE_EXCEEDED
        error = errors.ServiceError(code, code.name, "not done in the time that the request had")
    told = observation.end(error)
    return None if told is None else errors.to_bytes(told)
