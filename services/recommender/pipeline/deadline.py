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


async def within(seconds: float, call: Coroutine[Any, Any, T]) -> T:
    """The result of ``call``; raises TimeoutError when it takes longer.

    Unlike ``asyncio.timeout`` this does not wait for the cancelled call to clean up: a driver may need
    seconds for that when its server hangs, and the request has no seconds.
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
    """After ``threshold`` failures in a row, calls fail at once, but for one try every ``pause`` seconds.

    So a dependency that hangs costs its timeout once in a while, not on every request.
    """

    def __init__(
        self,
        dependency: str,
        *,
        threshold: int,
        pause: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dependency = dependency
        self._threshold = threshold
        self._pause = pause
        self._clock = clock
        self._failures = 0
        self._next_try = 0.0

    @property
    def open(self) -> bool:
        """Whether the dependency counts as down."""
        return self._failures >= self._threshold

    async def call(self, seconds: float, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of ``call()`` within ``seconds``; raises CircuitOpenError without asking while open."""
        if self.open:
            now = self._clock()
            if now < self._next_try:
                raise CircuitOpenError(self._dependency)
            self._next_try = now + self._pause
        try:
            result = await within(seconds, call())
        except Exception:
            self._fail()
            raise
        self._succeed()
        return result

    def _fail(self) -> None:
        self._failures += 1
        if self._failures == self._threshold:
            self._next_try = self._clock() + self._pause
            log.warning("dependency_down", dependency=self._dependency)

    def _succeed(self) -> None:
        if self.open:
            log.info("dependency_up", dependency=self._dependency)
        self._failures = 0
