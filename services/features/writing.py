"""The write: validate, commit, mark, acknowledge, in this order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from services.features import metrics
from services.features.committing import GroupCommit
from services.features.domain.events import Event, Rejection, accept

# Validating this many takes about a millisecond; between slices other requests get their turn.
_SLICE = 200


class Written(NamedTuple):
    """What became of a request; ``rejected`` by position."""

    accepted: int
    duplicates: int
    rejected: Sequence[tuple[int, Rejection]]
    unknown_products: int


class Writer:
    """Appends events to the log."""

    def __init__(self, group: GroupCommit, clock_us: Callable[[], int]) -> None:
        self._group = group
        self._clock_us = clock_us

    async def write(self, drafts: Sequence[Event]) -> Written:
        """Stores the acceptable ones; durable on return. Raises StoreDownError when the log is down."""
        now_us = self._clock_us()
        events, rejected = [], []
        for place, draft in enumerate(drafts):
            checked = accept(draft, now_us)
            if isinstance(checked, Rejection):
                rejected.append((place, checked))
            else:
                events.append(checked)
            if place % _SLICE == _SLICE - 1:
                await asyncio.sleep(0)
        for reason, count in Counter(rejection.reason for _, rejection in rejected).items():
            metrics.EVENTS_REJECTED.labels(reason).inc(count)
        if not events:
            return Written(0, 0, rejected, 0)
        return await self._store(events, rejected)

    async def _store(self, events: Sequence[Event], rejected: Sequence[tuple[int, Rejection]]) -> Written:
        appended = await self._group.commit(events)
        new = [event for event, is_new in zip(events, appended.new, strict=True) if is_new]
        unknown = 0
        if appended.unknown_products:
            unknown = sum(any(line.product_id in appended.unknown_products for line in event.lines) for event in new)
        for event_type, count in Counter(event.event_type for event in new).items():
            metrics.EVENTS_ACCEPTED.labels(event_type).inc(count)
        metrics.EVENTS_DUPLICATE.inc(len(events) - len(new))
        metrics.EVENTS_UNKNOWN_PRODUCTS.inc(unknown)
        return Written(len(new), len(events) - len(new), rejected, unknown)
