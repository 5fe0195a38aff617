"""When requests start: the two ways in which every driver asks.

Paced: at appointed times, whether earlier ones are answered or not, and latency counts from these: a stall is seen by
every request that it delays. Closed: each of N askers asks again when it has its answer; gives the most that N get.
"""

import asyncio
from collections.abc import Callable, Coroutine
from time import perf_counter
from typing import Any

_STEP = 0.001
"""Seconds; timers are no finer, so requests that are appointed within it start at once."""


async def paced(rate: float, count: int, ask: Callable[[int, float], Coroutine[Any, Any, Any]]) -> float:
    """`ask(number, start)` `rate` times a second. Returns the seconds it took, the last answer included."""
    begin = perf_counter()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            appointed = begin + number / rate
            wait = appointed - perf_counter()
            # A driver that is late must not keep answers from being read.
            await asyncio.sleep(wait if wait > _STEP else 0.0)
            # What starts a little early counts from there: nothing looks faster than it was.
            group.create_task(ask(number, min(appointed, perf_counter())))
    return perf_counter() - begin


async def closed(askers: int, seconds: float, ask: Callable[[float], Coroutine[Any, Any, Any]]) -> float:
    """`ask(start)` by each of the askers, one after the other. Returns the seconds it took."""
    begin = perf_counter()

    async def one() -> None:
        while (now := perf_counter()) < begin + seconds:
            await ask(now)

    async with asyncio.TaskGroup() as group:
        for _ in range(askers):
            group.create_task(one())
    return perf_counter() - begin
