"""How many pages are made at once: what comes on top waits a little for its turn, or is refused."""

from __future__ import annotations

import asyncio

from services.runtime.errors import ServiceError, resource_exhausted

# Callers wait a second for a page; one that starts later than this would come too late for them.
PATIENCE = 0.5
# Waiting beside each one that is at work; more would only be refused later.
WAITING = 4


class Admission:
    """Keeps overload from looking like an outage: a page that has begun meets its deadlines."""

    def __init__(self, at_once: int, patience: float = PATIENCE) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._patience = patience
        self._room = at_once * WAITING
        self._waiting = 0

    async def __aenter__(self) -> None:
        """A place for the length of the block; raises RESOURCE_EXHAUSTED when there is none in time."""
        if not self._places.locked():
            await self._places.acquire()
        elif self._waiting < self._room:
            await self._wait()
        else:
            raise self._refused()

    async def __aexit__(self, *_: object) -> None:
        self._places.release()

    async def _wait(self) -> None:
        self._waiting += 1
        try:
            async with asyncio.timeout(self._patience):
                await self._places.acquire()
        except TimeoutError:
            raise self._refused() from None
        finally:
            self._waiting -= 1

    def _refused(self) -> ServiceError:
        return resource_exhausted("OVERLOADED", "too many recommendations at once", retry_after=self._patience)
