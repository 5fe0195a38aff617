"""Calls that end in time, whatever the other side does, and a breaker that stops asking what is down."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from services.runtime.logs import get_logger

log = get_logger(__name__)

T = TypeVar("T")

# Calls that were given up on and are still unwinding; held so that they are not collected half way.
_abandoned: set[asyncio.Task[Any]] = set()


async def within(seconds: float | None, call: Coroutine[Any, Any, T]) -> T:
    """The result of ``call``; raises TimeoutError when it takes longer (None: its caller looks after the time).

    Unlike ``asyncio.timeout`` this does not wait for the cancelled call to clean up, not either where its caller is
    cancelled: a driver may need seconds for that when its server hangs, and the request has no seconds.
    """
    task = asyncio.create_task(call)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        _abandon(task)
        raise
    if not done:
        _abandon(task)
        raise TimeoutError
    return task.result()


def _abandon(task: asyncio.Task[Any]) -> None:
    _abandoned.add(task)
    task.add_done_callback(_forget)
    task.cancel()


def _forget(task: asyncio.Task[Any]) -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()  # retrieved: nobody is left to care


class CircuitOpenError(Exception):
    """The dependency failed often just now and is not asked for the moment."""


class Breaker:
    """Once nothing has succeeded for ``patience`` seconds of failures, calls fail at once, but for one try every
    ``pause`` seconds.

    So a dependency that hangs costs its timeout once in a while, not on every request; and a busy moment, in which
    some calls are late and others are not, does not count as an outage.
    """

    def __init__(
        self,
        dependency: str,
        *,
        patience: float = 0.5,
        pause: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dependency = dependency
        self._patience = patience
        self._pause = pause
        self._clock = clock
        # When the first call since the last success failed.
        self._failing_since: float | None = None
        self._next_try = 0.0
        self.open = False

    async def call(self, seconds: float, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of ``call()`` within ``seconds``; raises CircuitOpenError without asking while open.

        What in it may take its time when it is cancelled is to be in a :func:`within`.
        """

        async def in_time() -> T:
            async with asyncio.timeout(seconds):
                return await call()

        return await self.watch(in_time)

    async def watch(self, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The same of a call that ends in time by itself, whatever happens: a task less."""
        if self.open:
            now = self._clock()
            if now < self._next_try:
                raise CircuitOpenError(self._dependency)
            self._next_try = now + self._pause
        begun = self._clock()
        try:
            result = await call()
        except Exception:
            self._fail(begun)
            raise
        self._succeed()
        return result

    def _fail(self, begun: float) -> None:
        now = self._clock()
        if self._failing_since is None:
            self._failing_since = now
        # A call that began before the first failure tells nothing new.
        if not self.open and begun >= self._failing_since and now - self._failing_since >= self._patience:
            self.open = True
            self._next_try = now + self._pause
            log.warning("dependency_down", dependency=self._dependency)

    def _succeed(self) -> None:
        if self.open:
            log.info("dependency_up", dependency=self._dependency)
        self.open = False
        self._failing_since = None
