"""Keeps callers from waiting for a store that is known to be down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from services.features.ports import StoreDownError
from services.runtime.lifecycle import background
from services.runtime.logs import get_logger
from services.runtime.metrics import DEPENDENCY_UP

log = get_logger(__name__)

# One slow answer on a busy machine is no outage; the second in a row is taken for one.
_FAILURES = 2
# Seconds between probes of a store that is down: the longest it stays unused after it is back.
_PROBE_EVERY = 0.2


class Breaker:
    """Opens after failures in a row; closes when a probe in the background succeeds, so no caller pays for trying.

    Only transitions are logged.
    """

    def __init__(self, store: str, name: str = "") -> None:
        """``name`` tells servers of one store apart, in the log and in metrics."""
        self._store = store
        self._name = name or store
        self._failures = 0
        self._opened = asyncio.Event()
        DEPENDENCY_UP.labels(self._name).set(1)

    @property
    def open(self) -> bool:
        """Whether the store is known to be down."""
        return self._opened.is_set()

    def check(self) -> None:
        """Raises StoreDownError at once when open."""
        if self._opened.is_set():
            raise StoreDownError(self._store, "known to be down")

    def failed(self, cause: str) -> None:
        """Counts a failure."""
        self._failures += 1
        if self._failures >= _FAILURES and not self._opened.is_set():
            self._opened.set()
            DEPENDENCY_UP.labels(self._name).set(0)
            log.warning("store is down", store=self._name, cause=cause)

    def succeeded(self) -> None:
        """Forgets failures; late answers do not close an open breaker, only a probe does."""
        if not self._opened.is_set():
            self._failures = 0

    @asynccontextmanager
    async def probing(self, ping: Callable[[], Awaitable[bool]]) -> AsyncIterator[None]:
        """Probes while open, for as long as the block lasts."""
        async with background(f"probe {self._name}", self._probe(ping)):
            yield

    async def _probe(self, ping: Callable[[], Awaitable[bool]]) -> None:
        while True:
            await self._opened.wait()
            await asyncio.sleep(_PROBE_EVERY)
            if await ping():
                self._failures = 0
                self._opened.clear()
                DEPENDENCY_UP.labels(self._name).set(1)
                log.info("store is back", store=self._name)
