"""The merge: a guest signs in, and what the guest did becomes the user's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from services.features.domain.events import guest
from services.features.domain.features import Entity
from services.features.marking import PRODUCT, USER, Marker
from services.features.metrics import MERGES
from services.features.ports import OnlineStore, StoreDownError
from services.features.subject_ports import ErasureLog, MergeLog, MovedPage
from services.runtime.logs import get_logger

log = get_logger(__name__)


class Merged(NamedTuple):
    """What a call moved, and the events that it removed for they belonged to somebody who was erased."""

    events: int
    lines: int
    erased: int


class Merger:
    """Merges guests into users; a call that failed may be repeated, and finishes the work."""

    def __init__(
        self,
        merges: MergeLog,
        erasure: ErasureLog,
        online: OnlineStore,
        marker: Marker,
        entities: Sequence[Entity],
        clock_us: Callable[[], int],
    ) -> None:
        self._merges = merges
        self._erasure = erasure
        self._online = online
        self._marker = marker
        self._entities = entities
        self._clock_us = clock_us

    async def merge(self, visitor_id: str, user_id: str) -> Merged:
        """All up to now is the user's on return. Raises StoreDownError when the log is down; Redis may be."""
        events = lines = erased = 0
        if await self._merges.begin(visitor_id, user_id, self._clock_us()):
            erased = await self._remove(guest(visitor_id))
        while (page := await self._merges.move(visitor_id)) is not None:
            events, lines = events + page.events, lines + page.lines
            await self._mark(visitor_id, page)
        MERGES.inc()
        log.info("merged", events=events, lines=lines, erased=erased)
        return Merged(events, lines, erased)

    async def _remove(self, subject_id: str) -> int:
        """Removes what a tombstone covers; returns how many events."""
        removed = 0
        while (page := await self._erasure.remove(subject_id)) is not None:
            removed += page.events
            if page.product_ids:
                await self._marker.mark_all({PRODUCT: {product_id: [] for product_id in page.product_ids}})
        return removed

    async def _mark(self, visitor_id: str, page: MovedPage) -> None:
        if page.last:
            with suppress(StoreDownError):  # the mark says the same, a little later
                await self._online.erase(USER, guest(visitor_id), self._clock_us() // 1_000, ())
        # After it: the guest may have new events already, and their place in the queue.
        await self._marker.mark(page.touched, self._entities, page.transaction)
