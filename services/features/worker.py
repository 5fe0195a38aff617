"""The worker: refreshes what is due, repeats lost marks, follows the catalogue; one waiting does not stop another."""

from __future__ import annotations

import asyncio

from services.features.following import SignalFollower
from services.features.levelling import Levelling
from services.features.refreshing import Refresher
from services.features.retaining import Retention
from services.features.tailing import LogTail


class Worker:
    """The tasks of a worker process; several processes may run."""

    def __init__(
        self, refresher: Refresher, tail: LogTail, levelling: Levelling, follower: SignalFollower, retention: Retention
    ) -> None:
        self._refresher = refresher
        self._tail = tail
        self._levelling = levelling
        self._follower = follower
        self._retention = retention

    async def run(self) -> None:
        """Until cancelled; a bug in one task ends all, for the supervisor to see."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._refresher.run(), name="refresh")
            tasks.create_task(self._tail.run(), name="log tail")
            tasks.create_task(self._levelling.run(), name="levels")
            tasks.create_task(self._follower.run(), name="signals")
            tasks.create_task(self._retention.run(), name="retention")
