"""Calls that end in time, and the breaker."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from services.recommender.pipeline.deadline import Breaker, CircuitOpenError, within
from services.runtime.errors import ServiceError, unavailable


class Time:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def breaker(clock: Time | None = None) -> Breaker:
    return Breaker("test", clock=clock or Time())


async def never() -> str:
    await asyncio.Event().wait()
    return "unreachable"


async def failing() -> str:
    raise unavailable("DOWN", "it is down")


async def fine() -> str:
    return "fine"


async def test_a_call_that_does_not_even_stop_when_cancelled_costs_its_deadline_only() -> None:
    released = asyncio.Event()

    async def stubborn() -> str:
        try:
            return await never()
        finally:
            await released.wait()

    with pytest.raises(TimeoutError):
        await within(0.01, stubborn())
    with pytest.raises(TimeoutError):
        await breaker().call(0.01, lambda: within(None, stubborn()))
    released.set()


async def test_a_caller_that_gives_up_takes_its_call_along() -> None:
    cancelled = asyncio.Event()

    async def call() -> None:
        try:
            await never()
        finally:
            cancelled.set()

    caller = asyncio.create_task(within(60, call()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.wait_for(cancelled.wait(), 5)


async def failing_twice(guarded: Breaker, clock: Time, apart: float) -> None:
    for _ in range(2):
        with contextlib.suppress(ServiceError):
            await guarded.call(1, failing)
        clock.now += apart


async def test_a_breaker_opens_when_nothing_succeeds_for_a_while_and_tries_again_after_a_pause() -> None:
    clock = Time()
    guarded = breaker(clock)
    await failing_twice(guarded, clock, 0.6)
    assert guarded.open
    with pytest.raises(CircuitOpenError):
        await guarded.call(1, fine)
    clock.now += 1.1
    assert await guarded.call(1, fine) == "fine"
    assert not guarded.open


async def test_failures_among_successes_open_no_breaker() -> None:
    clock = Time()
    guarded = breaker(clock)
    for _ in range(5):
        await failing_twice(guarded, clock, 0.2)
        await guarded.call(1, fine)
    assert not guarded.open


async def test_many_failures_at_once_open_no_breaker() -> None:
    guarded = breaker()
    for _ in range(100):
        with contextlib.suppress(ServiceError):
            await guarded.call(1, failing)
    assert not guarded.open


async def test_an_open_breaker_lets_one_try_through_per_pause() -> None:
    clock = Time()
    guarded = breaker(clock)
    await failing_twice(guarded, clock, 0.6)
    clock.now += 1.1
    with pytest.raises(TimeoutError):
        await guarded.call(0.01, never)
    with pytest.raises(CircuitOpenError):
        await guarded.call(0.01, never)
