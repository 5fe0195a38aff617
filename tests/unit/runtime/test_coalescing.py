"""Single-flight: one execution for concurrent callers, and cancellation that hurts only who gave up."""

import asyncio

import pytest

from services.runtime.coalescing import SingleFlight


async def test_concurrent_callers_share_one_execution() -> None:
    flights: SingleFlight[int] = SingleFlight()
    runs = 0
    release = asyncio.Event()

    async def work() -> int:
        nonlocal runs
        runs += 1
        await release.wait()
        return runs

    async with asyncio.TaskGroup() as group:
        callers = [group.create_task(flights.run("a", work)) for _ in range(5)]
        await asyncio.sleep(0)
        release.set()
    assert [c.result() for c in callers] == [1] * 5
    assert await flights.run("a", work) == 2


async def test_one_callers_cancellation_leaves_the_others_alone() -> None:
    flights: SingleFlight[str] = SingleFlight()
    release = asyncio.Event()

    async def work() -> str:
        await release.wait()
        return "done"

    first = asyncio.create_task(flights.run("a", work))
    second = asyncio.create_task(flights.run("a", work))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    release.set()
    assert await second == "done"


async def test_the_last_cancellation_stops_the_work() -> None:
    flights: SingleFlight[None] = SingleFlight()
    stopped = asyncio.Event()
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    caller = asyncio.create_task(flights.run("a", work))
    await started.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.wait_for(stopped.wait(), 1)


async def test_a_failure_reaches_every_caller_and_is_not_kept() -> None:
    flights: SingleFlight[int] = SingleFlight()

    async def fail() -> int:
        await asyncio.sleep(0)
        raise ValueError("no")

    results = await asyncio.gather(*(flights.run("a", fail) for _ in range(3)), return_exceptions=True)
    assert [type(r) for r in results] == [ValueError] * 3

    async def succeed() -> int:
        return 1

    assert await flights.run("a", succeed) == 1
