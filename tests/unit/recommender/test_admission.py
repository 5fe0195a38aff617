"""Pages at once: a place, a short wait, a refusal."""

from __future__ import annotations

import asyncio

import grpc
import pytest

from services.recommender.servicer.admission import WAITING, Admission
from services.runtime.errors import ServiceError
from tests.support.waiting import eventually


async def admitted(admission: Admission, leave: asyncio.Event, log: list[str]) -> None:
    async with admission:
        log.append("in")
        await leave.wait()


async def test_what_comes_on_top_waits_and_gets_the_place_of_who_leaves() -> None:
    admission, log = Admission(2, 5.0), list[str]()
    leave = asyncio.Event()
    tasks = [asyncio.create_task(admitted(admission, leave, log)) for _ in range(5)]
    await eventually(lambda: log)
    assert log == ["in", "in"]
    leave.set()
    await asyncio.gather(*tasks)
    assert len(log) == 5


async def test_who_waits_too_long_is_refused_and_takes_no_place() -> None:
    admission, log = Admission(1, 0.05), list[str]()
    leave = asyncio.Event()
    first = asyncio.create_task(admitted(admission, leave, log))
    await eventually(lambda: log)
    for _ in range(3):
        with pytest.raises(ServiceError) as caught:
            await admitted(admission, leave, log)
        assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert caught.value.retry_after
    leave.set()
    await first
    await admitted(admission, leave, log)
    assert log == ["in", "in"]


async def test_a_full_waiting_room_refuses_at_once_and_failures_leave_their_place() -> None:
    admission, log = Admission(1, 60.0), list[str]()
    leave = asyncio.Event()
    tasks = [asyncio.create_task(admitted(admission, leave, log)) for _ in range(1 + WAITING)]
    await eventually(lambda: log)
    with pytest.raises(ServiceError, match="OVERLOADED"):
        await asyncio.wait_for(admitted(admission, leave, log), 5)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    with pytest.raises(KeyError):
        async with admission:
            raise KeyError
    leave.set()
    await admitted(admission, leave, log)
