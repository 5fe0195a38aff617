"""Follows the catalogue's changes for what is kept of it in memory: also those made through other processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from services.recommender.domain.change import Cursor, ProductChange
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
    """Tells each change, for ever; ``begun`` is called when from then on none is missed: once, and again whenever the
    catalogue is another one, or was set back by a restored backup."""
    cursor: Cursor | None = None
    while True:
        try:
            # When nothing was told for a while, or the store was away.
            epoch, head = await changes.position()
            if cursor is None or not cursor.continues(epoch, head):
                cursor = Cursor(epoch, head)
                begun()
            while await changes.wait_past(cursor.change_seq, _WAIT_SECONDS):
                for change in await changes.changes(cursor.change_seq, _CHUNK):
                    told(change)
                    cursor = Cursor(epoch, change.change_seq)
        except ServiceError:
            await asyncio.sleep(_RETRY_SECONDS)
