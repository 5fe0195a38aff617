"""Long work in pieces, between which the event loop comes to the others who wait for it."""

from __future__ import annotations

import asyncio
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
