"""Concurrent calls for the same thing, or of the same moment, share one execution."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(slots=True, eq=False)
class _Flight(Generic[K, T]):
    """An execution under way, what it is for, and how many wait for it."""

    task: asyncio.Task[Mapping[K, T]]
    keys: Sequence[K]
    waiters: int = 0


class SharedBatches(Generic[K, T]):
    """Executes for many keys at once; a key that is under way already is waited for, not executed again.

    No result is kept once it is there. An execution is a task of its own: a caller that gives up does not take the
    others down, and when the last one of all that wait for it gives up the execution is cancelled.
    """

    def __init__(self) -> None:
        self._flights: dict[K, _Flight[K, T]] = {}

    async def run(self, keys: Sequence[K], call: Callable[[Sequence[K]], Awaitable[Mapping[K, T]]]) -> dict[K, T]:
        """The result of each key, those that are not under way from one ``call`` of them all, in their order.

        ``call`` returns a result for every key. A failure is every waiting caller's.
        """
        new = [key for key in dict.fromkeys(keys) if key not in self._flights]
        if new:
            self._start(new, call)
        joined = {key: self._flights[key] for key in keys}
        waiting = list(dict.fromkeys(joined.values()))
        for flight in waiting:
            flight.waiters += 1
        try:
            results = [await asyncio.shield(flight.task) for flight in waiting]
        finally:
            for flight in waiting:
                self._leave(flight)
        by_flight = dict(zip(waiting, results, strict=True))
        return {key: by_flight[flight][key] for key, flight in joined.items()}

    def _start(self, keys: Sequence[K], call: Callable[[Sequence[K]], Awaitable[Mapping[K, T]]]) -> None:
        flight = _Flight(asyncio.ensure_future(_execute(call, keys)), keys)
        self._flights.update(dict.fromkeys(keys, flight))
        flight.task.add_done_callback(lambda _: self._forget(flight))

    def _leave(self, flight: _Flight[K, T]) -> None:
        flight.waiters -= 1
        if flight.waiters == 0 and not flight.task.done():
            self._forget(flight)
            flight.task.cancel()

    def _forget(self, flight: _Flight[K, T]) -> None:
        for key in flight.keys:
            if self._flights.get(key) is flight:
                del self._flights[key]
        if flight.task.done() and not flight.task.cancelled():
            flight.task.exception()  # retrieved, so that a failure nobody waits for is not reported as lost


async def _execute(call: Callable[[Sequence[K]], Awaitable[Mapping[K, T]]], keys: Sequence[K]) -> Mapping[K, T]:
    return await call(keys)


class SingleFlight(Generic[T]):
    """Joins concurrent calls with equal keys; see SharedBatches."""

    def __init__(self) -> None:
        self._batches: SharedBatches[Hashable, T] = SharedBatches()

    async def run(self, key: Hashable, call: Callable[[], Awaitable[T]]) -> T:
        """The result of ``call()``, or of the equal call that is under way already."""

        async def execute(_: Sequence[Hashable]) -> dict[Hashable, T]:
            return {key: await call()}

        return (await self._batches.run([key], execute))[key]


class Together(Generic[K, T]):
    """Calls of one turn of the event loop are executed as one: a message or a statement costs little more for some.

    An execution is a task of its own: a caller that gives up takes nobody along. A failure is every caller's in it.
    """

    def __init__(self, call: Callable[[Sequence[K]], Awaitable[Mapping[K, T]]], most: int) -> None:
        """``call`` is given distinct keys; from ``most`` of them on it is called at once."""
        self._call = call
        self._most = most
        self._keys: dict[K, None] = {}
        self._waiting: list[asyncio.Future[Mapping[K, T]]] = []
        self._sent: set[asyncio.Task[None]] = set()

    async def run(self, keys: Sequence[K]) -> Mapping[K, T]:
        """What ``call`` said of these keys, and of others perhaps; not to be changed."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._send)
        self._keys.update(dict.fromkeys(keys))
        answer: asyncio.Future[Mapping[K, T]] = loop.create_future()
        self._waiting.append(answer)
        if len(self._keys) >= self._most:
            self._send()
        return await answer

    def _send(self) -> None:
        if self._waiting:
            keys, self._keys = self._keys, {}
            waiting, self._waiting = self._waiting, []
            task = waiting[0].get_loop().create_task(self._execute(list(keys), waiting))
            self._sent.add(task)
            task.add_done_callback(self._sent.discard)

    async def _execute(self, keys: Sequence[K], waiting: Sequence[asyncio.Future[Mapping[K, T]]]) -> None:
        try:
            found = await self._call(keys)
        except asyncio.CancelledError:  # the loop ends
            for answer in waiting:
                answer.cancel()
            raise
        except Exception as error:
            for answer in waiting:
                if not answer.done():
                    answer.set_exception(error)
        else:
            for answer in waiting:
                if not answer.done():  # whoever gave up has no use for it
                    answer.set_result(found)
