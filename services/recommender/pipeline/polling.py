"""Reads something again and again, or as soon as somebody asks for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from services.runtime.errors import ServiceError
from services.runtime.logs import get_logger

log = get_logger(__name__)

# How long what another process did may go unnoticed here.
POLL_SECONDS = 1.0


class Poller:
    """Calls ``refresh`` for ever. While it raises ServiceError, what was read before has to do."""

    def __init__(
        self,
        what: str,
        refresh: Callable[[], Awaitable[None]],
        seconds: float = POLL_SECONDS,
        least_seconds: float = 0.0,
    ) -> None:
        """``what`` is read, for the log; ``seconds`` from one end to the next begin, ``least_seconds`` where somebody
        asks."""
        self._what = what
        self._refresh = refresh
        self._seconds = seconds
        self._least_seconds = least_seconds
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """For the next call, right after the one under way."""
        self._asked.set()

    async def follow(self) -> None:
        while True:
            self._asked.clear()
            try:
                await self._refresh()
            except ServiceError:
                log.debug("not_read", what=self._what)
            await asyncio.sleep(self._least_seconds)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds - self._least_seconds):
                    await self._asked.wait()
