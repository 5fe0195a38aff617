"""The erasure: a person leaves the log, the online store and the queues, and does not come back by a late event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from services.features.marking import PRODUCT, USER, Marker
from services.features.metrics import ERASURES
from services.features.ports import OnlineStore
from services.features.subject_ports import ErasureLog
from services.runtime.logs import get_logger

log = get_logger(__name__)


class Eraser:
    """Erases persons; a call that failed may be repeated, and finishes the work."""

    def __init__(self, erasure: ErasureLog, online: OnlineStore, marker: Marker, clock_us: Callable[[], int]) -> None:
        self._erasure = erasure
        self._online = online
        self._marker = marker
        self._clock_us = clock_us

    async def erase(self, subject_id: str) -> dict[str, int]:
        """What was removed, by kind: events, lines, records, queued. Raises StoreDownError."""
        # A first time before the log: with the online store down nothing is begun.
        before = await self._online.erase(USER, subject_id, self._now_ms(), ())
        guests = await self._erasure.bury(subject_id, self._clock_us())
        removed = Counter(events=0, lines=0, records=int(before.record), queued=before.queued)
        for guest_id in guests:
            # What a merge that was not finished has left under the guest. The record, also when all events had moved:
            # with what was computed before, or that somebody is there.
            later = await self._remove(guest_id, removed)
            removed.update(queued=(await self._online.erase(USER, guest_id, self._now_ms(), later or ())).queued)
        later = await self._remove(subject_id, removed)
        # Again, for what was computed from the log in between.
        after = await self._online.erase(USER, subject_id, self._now_ms(), later or ())
        removed.update(records=int(after.record and not before.record), queued=after.queued)
        await self._erasure.forget_merges(subject_id)
        ERASURES.inc()
        log.info("erased", **removed)
        return dict(removed)

    async def _remove(self, subject_id: str, removed: Counter[str]) -> list[int] | None:
        """Removes a subject from the log, and counts it; None: there was nothing.

        Returns the instants (ms) of what was yet to come.
        """
        later: list[int] | None = None
        while (page := await self._erasure.remove(subject_id)) is not None:
            removed.update(events=page.events, lines=page.lines)
            now_ms = self._now_ms()
            later = [*(later or ()), *(at_ms for at_ms in page.event_times_ms if at_ms > now_ms)]
            if page.product_ids:
                # What they are worth to others is counted anew.
                await self._marker.mark_all({PRODUCT: {product_id: [] for product_id in page.product_ids}})
        return later

    def _now_ms(self) -> int:
        return self._clock_us() // 1_000
