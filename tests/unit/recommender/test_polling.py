"""What is read again and again."""

from __future__ import annotations

import asyncio

from services.recommender.pipeline.polling import Poller
from services.runtime.errors import unavailable
from tests.support.waiting import eventually


async def test_it_is_read_for_ever_whatever_fails_and_at_once_where_it_is_asked_for() -> None:
    read: list[str] = []

    async def refresh() -> None:
        read.append("again")
        if len(read) % 2:
            raise unavailable("DOWN", "it is down")

    often, seldom = Poller("it", refresh, 0.001), Poller("it", refresh, 3_600.0)
    task = asyncio.create_task(often.follow())
    await eventually(lambda: len(read) > 4)
    task.cancel()
    await asyncio.wait({task})
    read.clear()
    task = asyncio.create_task(seldom.follow())
    await eventually(lambda: len(read) == 1)
    for times in (2, 3):
        seldom.ask()
        await eventually(lambda: len(read) == times)  # noqa: B023 - awaited here
    task.cancel()
    await asyncio.wait({task})
