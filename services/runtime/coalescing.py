"""Concurrent calls for the same thing share one execution."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")


class SingleFlight(Generic[T]):
    """Joins concurrent calls with equal keys; a finished result is not kept.

    The shared execution is a task of its own: a caller that gives up does not take the others down,
    and when the last one gives up the execution is cancelled.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, tuple[asyncio.Task[T], list[int]]] = {}

    async def run(self, key: Hashable, call: Callable[[], Awaitable[T]]) -> T:
        """The result of ``call()``, or of the equal call that is under way already."""
        flight = self._flights.get(key)
        if flight is None:
            task = asyncio.ensure_future(self._execute(call))
            flight = (task, [0])
            self._flights[key] = flight
            task.add_done_callback(lambda done: self._forget(key, done))
        task, waiters = flight
        waiters[0] += 1
        try:
            return await asyncio.shield(task)
        finally:
            waiters[0] -= 1
            if waiters[0] == 0 and not task.done():
                self._forget(key, task)
                task.cancel()

    @staticmethod
    async def _execute(call: Callable[[], Awaitable[T]]) -> T:
        return await call()

    def _forget(self, key: Hashable, task: asyncio.Future[T]) -> None:
        flight = self._flights.get(key)
        if flight is not None and flight[0] is task:
            del self._flights[key]
        if task.done() and not task.cancelled():
            task.exception()  # retrieved, so that a failure nobody waits for is not reported as lost
