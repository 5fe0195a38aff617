"""Keeps the log in bounds: makes the partitions of coming days, drops those that are older than is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from services.features.marking import USER
from services.features.metrics import LOG_EVENTS_EXPIRED, LOG_KEPT, LOG_PARTITIONS_DROPPED
from services.features.ports import OnlineStore, StoreDownError
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
# Whether marks of longer ago were lost matters to none: see `ttl_us`.
_TRANSACTIONS_US = 30 * DAY_US


class Retention:
    """One of the worker's tasks; of several workers one does it."""

    def __init__(
        self, keeper: LogKeeper, online: OnlineStore, days: int, ttl_us: int, clock_us: Callable[[], int]
    ) -> None:
        """Keeps ``days`` of events (0: all), and what transactions wrote for longer than values are served."""
        self._keeper = keeper
        self._online = online
        self._days = days
        self._transactions_us = max(_TRANSACTIONS_US, ttl_us)
        self._clock_us = clock_us
        # Since which day those who have no event are forgotten.
        self._forgotten = 0

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
                await self._drop(now_us - self._days * DAY_US - _GRACE_US)
            await self._keeper.trim(now_us - self._transactions_us)
            LOG_KEPT.set(now_us / 1_000_000)

    async def _drop(self, before_us: int) -> None:
        removed = await self._keeper.drop(before_us)
        LOG_PARTITIONS_DROPPED.inc(removed.partitions)
        LOG_EVENTS_EXPIRED.inc(removed.events)
        oldest = before_us // DAY_US
        if not removed.partitions and self._forgotten == oldest:
            return
        subjects = 0
        async for ids in self._keeper.forget(before_us):
            subjects += len(ids)
            try:
                await self._online.forget(USER, ids)
            except StoreDownError:
                log.warning("records of people without events stay until their time is over", count=len(ids))
        self._forgotten = oldest
        log.info(
            "dropped what is older than is kept",
            partitions=removed.partitions,
            events=removed.events,
            subjects=subjects,
        )
