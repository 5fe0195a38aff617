"""Keeps the log in bounds: makes the partitions of coming days, drops those that are older than is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from services.features.metrics import LOG_EVENTS_EXPIRED, LOG_KEPT, LOG_PARTITIONS_DROPPED
from services.features.ports import StoreDownError
from services.features.retention_ports import LogKeeper
from services.runtime.logs import get_logger

log = get_logger(__name__)

DAY_US = 86_400 * 1_000_000
# Seconds between rounds: partitions are of days, and a round without work is a few small statements.
_EVERY = 3_600.0
_RETRY = 60.0
# Days: a worker may be away over a weekend before a writer makes its own.
_AHEAD = 3
# What a writer checked against the limit a moment ago is stored, and clocks differ.
_GRACE_US = 3_600 * 1_000_000
# No stored value is served for longer than its hard time to live (a week, the longest): marks of a month ago, lost or
# not, matter to none.
_TRANSACTIONS_US = 30 * DAY_US


class Retention:
    """One of the worker's tasks; of several workers one does it."""

    def __init__(self, keeper: LogKeeper, days: int, clock_us: Callable[[], int]) -> None:
        """Keeps ``days``; 0: all."""
        self._keeper = keeper
        self._days = days
        self._clock_us = clock_us

    async def run(self) -> None:
        """For as long as the process lives."""
        while True:
            try:
                await self.step()
            except StoreDownError as error:
                log.warning("the log was not kept in bounds; tried again", cause=str(error), seconds=_RETRY)
                await asyncio.sleep(_RETRY)
            else:
                await asyncio.sleep(_EVERY)

    async def step(self) -> None:
        """One round, unless somebody else is at it."""
        async with self._keeper.sole() as mine:
            if not mine:
                return
            now_us = self._clock_us()
            await self._keeper.make(now_us, now_us + _AHEAD * DAY_US)
            if self._days:
                removed = await self._keeper.drop(now_us - self._days * DAY_US - _GRACE_US)
                LOG_PARTITIONS_DROPPED.inc(removed.partitions)
                LOG_EVENTS_EXPIRED.inc(removed.events)
                if removed.partitions:
                    log.info(
                        "dropped what is older than is kept",
                        partitions=removed.partitions,
                        events=removed.events,
                        subjects=removed.subjects,
                    )
            await self._keeper.trim(now_us - _TRANSACTIONS_US)
            LOG_KEPT.set(now_us / 1_000_000)
