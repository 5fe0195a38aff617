"""Follows the catalogue's changes for what is kept of it in memory: also those made through other processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from services.recommender.domain.change import ProductChange
from services.recommender.ports import ChangeLog
from services.runtime.errors import ServiceError

_RETRY_SECONDS = 0.5
# Nothing depends on it: a wait that ends without a change begins anew.
_WAIT_SECONDS = 15.0
# Small enough to be no stall of the event loop.
_CHUNK = 100


async def follow_catalogue(
    changes: ChangeLog, begun: Callable[[], None], told: Callable[[ProductChange], None]
) -> None:
    """Tells each change, for ever; ``begun`` is called once, from when on none is missed."""
    position: int | None = None
    while True:
        try:
            if position is None:
                _, position = await changes.position()
                begun()
            if await changes.wait_past(position, _WAIT_SECONDS):
                for change in await changes.changes(position, _CHUNK):
                    told(change)
                    position = change.change_seq
        except ServiceError:
            await asyncio.sleep(_RETRY_SECONDS)
