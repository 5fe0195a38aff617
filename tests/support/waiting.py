"""Waiting on a condition instead of sleeping."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(
    condition: Callable[[], Awaitable[T]], timeout: float = ..., *, interval: float = ..., message: str = ...
) -> T: ...
@overload
async def eventually(
    condition: Callable[[], T], timeout: float = ..., *, interval: float = ..., message: str = ...
) -> T: ...
async def eventually(
    condition: Callable[[], T | Awaitable[T]],
    timeout: float = 10.0,
    *,
    interval: float = 0.02,
    message: str = "",
) -> T:
    """Call `condition` (plain or async) until it returns something true and return that.

    An AssertionError of the condition counts as "not yet", so it may hold several asserts. Raises
    AssertionError with the last reason when `timeout` seconds are over; other exceptions pass at once.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while True:
        reason: object = None
        try:
            answer = condition()
            value: T = await answer if inspect.isawaitable(answer) else answer
            if value:
                return value
            reason = f"last value: {value!r}"
        except AssertionError as error:
            reason = error
        if loop.time() >= deadline:
            raise AssertionError(f"{message or 'condition'} not met in {timeout} s; {reason}")
        await asyncio.sleep(interval)
