"""What the refresh needs of the due queue beyond what all have of it: to sleep until something is due."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from services.features.ports import DueQueue


class Look(NamedTuple):
    """What is due, and when to look again."""

    lengths: Mapping[str, int]
    """How many are due by entity type, without the types that cannot be reached, where others can."""
    next_ms: int | None
    """When the first of all is due; None: there is none."""
    changed: asyncio.Event | None
    """Set when that may have become untrue; None: nobody tells."""


class WatchedQueue(DueQueue, Protocol):
    """The queue of a worker that watches it. Raises StoreDownError."""

    async def look(self, now_ms: int) -> Look:
        """What is due by now. Of one process one task looks: with each look the event of the one before is void."""
