"""Connections of a pool that stay at hand between two statements.

A pool's own lending takes a task and two timers for each, which is more than a small statement does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

# Seconds between two looks: what nobody has needed from one to the next goes back to its pool, to which it was in use,
# and which ends what stays idle. What is needed stays.
_KEEP = 60.0
# After so many a pool ends a connection, whatever of it has grown in the server by then, when it gets that back: here,
# amid a burst. After its own 50,000 that would be every few minutes.
MOST_STATEMENTS = 1_000_000


class Pool(Protocol):
    """What lends connections, as drivers have it; theirs have no types."""

    async def release(self, connection: Any) -> None:
        """Takes back what was lent, ends it if it is of no use any more; nothing if it has it already."""

    async def close(self) -> None:
        """Ends all of them when they are back."""

    def acquire(self, *, timeout: float) -> Any:
        """Awaited: an idle one or a new one; TimeoutError when there is none in time."""

    def terminate(self) -> None:
        """Ends all of them."""


class Lender:
    """Lends what a pool has, and keeps at hand what comes back while nobody waits for it."""

    def __init__(self, pool: Pool, patience: float, fit: Callable[[Any], bool], keep: float = _KEEP) -> None:
        """``patience``: seconds for which a connection is waited for, or made. ``fit``: whether one is open and has
        nothing under way."""
        self._pool = pool
        self._patience = patience
        self._fit = fit
        self._keep = keep
        # Lent by the pool and idle, the last used at the end.
        self._at_hand: list[Any] = []
        # Of these so many, from the beginning, have not been needed since the last look.
        self._unneeded = 0
        # How many wait for the pool to lend them one.
        self._waiting = 0
        self._closing = False
        self._due: asyncio.TimerHandle | None = None
        self._returning: asyncio.Future[Any] | None = None

    async def borrow(self) -> Any:
        """A connection; raises what the pool does when there is none."""
        while self._at_hand:
            connection = self._at_hand.pop()
            self._unneeded = min(self._unneeded, len(self._at_hand))
            if self._fit(connection):
                return connection
            await self._pool.release(connection)
        self._waiting += 1
        try:
            return await self._pool.acquire(timeout=self._patience)
        finally:
            self._waiting -= 1

    async def give_back(self, connection: Any, failed: bool = False) -> None:
        """Where something ``failed``, it may still be at work on what was given up: the pool knows how to wait."""
        if failed or self._waiting or self._closing or not self._fit(connection):
            await self._pool.release(connection)
            return
        self._at_hand.append(connection)
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(self._keep, self._look)

    def _look(self) -> None:
        self._due = None
        unneeded, self._at_hand = self._at_hand[: self._unneeded], self._at_hand[self._unneeded :]
        self._unneeded = len(self._at_hand)
        # What cannot be taken back is ended by the pool.
        self._returning = asyncio.gather(*map(self._pool.release, unneeded), return_exceptions=True)
        if self._at_hand:
            self._due = asyncio.get_running_loop().call_later(self._keep, self._look)

    async def close(self, seconds: float) -> None:
        """Waits so long for what is lent, then ends all; at once where the wait is given up."""
        self._closing = True
        if self._due is not None:
            self._due.cancel()
        try:
            async with asyncio.timeout(seconds):
                while self._at_hand:
                    await self._pool.release(self._at_hand.pop())
                if self._returning is not None:
                    await self._returning
                await self._pool.close()
        except BaseException as error:
            self._pool.terminate()
            if not isinstance(error, TimeoutError):  # else a hung server
                raise
