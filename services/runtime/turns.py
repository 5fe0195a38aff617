"""Long work in pieces, between which the event loop comes to the others who wait for it; and much work at once."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

# Items of some 10 to 50 microseconds each make a piece of one to five milliseconds.
PIECE = 100


async def pieces(items: Sequence[T], size: int = PIECE) -> AsyncIterator[Sequence[T]]:
    """``items`` in their order, ``size`` at a time, with a turn for the others before each but the first."""
    for start in range(0, len(items), size):
        if start:
            await asyncio.sleep(0)
        yield items[start : start + size]


async def mapped(function: Callable[[T], R], items: Sequence[T], size: int = PIECE) -> list[R]:
    """``function`` of each item, piece by piece."""
    return [result async for piece in pieces(items, size) for result in map(function, piece)]


class Turns:
    """For work of a few milliseconds that many are ready for at once: it begins in this turn of the event loop while
    there is time left of it, else in a later one, in the order of asking. Together they hold the loop no longer."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
        """``seconds`` of a turn, after which no other work begins in it."""
        self._seconds = seconds
        self._clock = clock
        # When the first one began in this turn.
        self._began: float | None = None
        # Who is ready and has not begun.
        self._ready: deque[object] = deque()

    async def begin(self) -> None:
        """Returns when work may begin."""
        if self._ready or self._is_over():
            place = object()
            self._ready.append(place)
            try:
                # The loop's own order would not do: who comes in a turn before its end is noted does so in each.
                while self._ready[0] is not place or self._is_over():  # noqa: ASYNC110 - for a turn
                    await asyncio.sleep(0)
            finally:
                self._ready.remove(place)
        if self._began is None:
            self._began = self._clock()
            asyncio.get_running_loop().call_soon(self._end)

    def _is_over(self) -> bool:
        """Whether there is no time left of this turn."""
        return self._began is not None and self._clock() - self._began >= self._seconds

    def _end(self) -> None:
        self._began = None
