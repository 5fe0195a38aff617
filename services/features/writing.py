"""The write: validate, commit, mark, acknowledge, in this order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from services.features import metrics
from services.features.committing import MAX_COMMIT, GroupCommit
from services.features.domain.events import MIN_TIME_US, Event, Rejection, accept

# Rows. Reading and validating this many takes about a millisecond; between slices other requests get their turn.
_SLICE = 500


class Written(NamedTuple):
    """What became of a request; ``rejected`` by position."""

    accepted: int
    duplicates: int
    rejected: Sequence[tuple[int, Rejection]]
    unknown_products: int
    # Of somebody who was erased after them: not stored.
    erased: int


class Writer:
    """Appends events to the log."""

    def __init__(self, group: GroupCommit, clock_us: Callable[[], int], retention_days: int = 0) -> None:
        """``retention_days``: older events are refused; 0: of any age."""
        self._group = group
        self._retention_us = retention_days * 86_400 * 1_000_000
        self._clock_us = clock_us

    async def write(self, drafts: Iterable[Event]) -> Written:
        """Stores the acceptable ones; durable on return. Raises StoreDownError when the log is down.

        What weighs more than a commit becomes several: when a later one fails the earlier ones stay, and sending all
        again stores the rest.
        """
        now_us = self._clock_us()
        oldest_us = max(MIN_TIME_US, now_us - self._retention_us) if self._retention_us else MIN_TIME_US
        events: list[Event] = []
        rejected: list[tuple[int, Rejection]] = []
        counts = Counter[str](accepted=0, duplicates=0, unknown_products=0, erased=0)
        weight = since_turn = 0
        for place, draft in enumerate(drafts):
            checked = accept(draft, now_us, oldest_us)
            if isinstance(checked, Rejection):
                rejected.append((place, checked))
            else:
                events.append(checked)
                weight += checked.weight
            since_turn += draft.weight
            if since_turn >= _SLICE:
                since_turn = 0
                await asyncio.sleep(0)
            if weight >= MAX_COMMIT:
                counts.update(await self._store(events))
                events, weight = [], 0
        if events:
            counts.update(await self._store(events))
        for reason, count in Counter(rejection.reason for _, rejection in rejected).items():
            metrics.EVENTS_REJECTED.labels(reason).inc(count)
        return Written(rejected=rejected, **counts)

    async def _store(self, events: Sequence[Event]) -> Counter[str]:
        """The counts of `Written`."""
        appended = await self._group.commit(events)
        new = [event for event, is_new in zip(events, appended.new, strict=True) if is_new]
        unknown = 0
        if appended.unknown_products:
            unknown = sum(any(line.product_id in appended.unknown_products for line in event.lines) for event in new)
        for event_type, count in Counter(event.event_type for event in new).items():
            metrics.EVENTS_ACCEPTED.labels(event_type).inc(count)
        erased = sum(event.event_id in appended.erased for event in events)
        duplicates = len(events) - len(new) - erased
        metrics.EVENTS_DUPLICATE.inc(duplicates)
        metrics.EVENTS_ERASED.inc(erased)
        metrics.EVENTS_UNKNOWN_PRODUCTS.inc(unknown)
        return Counter(accepted=len(new), duplicates=duplicates, unknown_products=unknown, erased=erased)
