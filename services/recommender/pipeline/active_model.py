"""Which model version serves: one id, read once per request, changed between requests."""

from __future__ import annotations

import asyncio

from services.recommender.ranking_ports import ModelStore
from services.runtime.errors import ServiceError
from services.runtime.logs import get_logger

log = get_logger(__name__)

# How long another replica's activation may go unnoticed here.
_POLL_SECONDS = 1.0


class ActiveModel:
    """Follows the store; this process's own activations are told directly."""

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._id = ""

    @property
    def id(self) -> str:
        """The active version; empty when there is none."""
        return self._id

    def switch(self, model_id: str) -> None:
        """From the next request on."""
        if model_id != self._id:
            log.info("model_active", model=model_id, before=self._id)
            self._id = model_id

    async def refresh(self) -> None:
        """Reads the store. Raises UNAVAILABLE when it is away; the version stays as it was then."""
        active = await self._store.active()
        self.switch(active.id if active else "")

    async def follow(self) -> None:
        """Refreshes for ever."""
        while True:
            try:
                await self.refresh()
            except ServiceError:
                log.debug("model_unknown")
            await asyncio.sleep(_POLL_SECONDS)
