"""From process start to exit: the event loop, the signals, and everything closed in reverse order."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from contextvars import ContextVar
from typing import Any, TypeVar

import uvloop

from services.runtime import lag
from services.runtime.logs import get_logger

log = get_logger(__name__)

T = TypeVar("T")

Main = Callable[[asyncio.Event, AsyncExitStack], Awaitable[None]]


# Requests leave no cycles but those of what fails, and every look at the old objects holds the loop for 20 to 200 ms:
# that is for `collect_what_grew`. The young are looked at in small portions, for what is counted is new objects less
# those that went: where what is remembered pushes old ones out, a count of 10,000 was up to 30,000 young ones, which
# took 7 to 23 ms, and 20 times that 60 ms. Portions of 1,000 take a third of a millisecond, four of them together one
# to three.
COLLECT_AFTER = (1_000, 3, 1_000_000)
# Seconds between two looks at how many objects there are, which take up to a millisecond.
LOOK_SECONDS = 10.0
# So many times as many as the last collection left: then some may be of cycles that grew old. While the process works,
# requests would wait for that, and what has grown is mostly what it remembers: four times as many in the first minutes.
GROWN_AT_REST = 2
GROWN_AT_WORK = 8

_whole_process = ContextVar("whole_process", default=False)


class StoppingError(Exception):
    """The process was told to stop before it had started."""


def run_service(main: Main) -> None:
    """Runs ``main(stopping, closers)`` until it returns, then closes what it put on ``closers``, last first.

    ``main`` starts its parts, registers how each is closed as soon as it is there, and awaits ``stopping``,
    which SIGTERM and SIGINT set; so a start-up that fails half way closes exactly what was opened. Exits
    with 1, and one log event instead of a stack trace on the terminal, when ``main`` fails.
    """
    try:
        uvloop.run(_run(main))
    except Exception as error:
        log.critical("failed", error=str(error), exc_info=error)
        sys.exit(1)


async def _run(main: Main) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    _whole_process.set(True)
    gc.set_threshold(*COLLECT_AFTER)
    async with AsyncExitStack() as closers:
        await closers.enter_async_context(background("loop lag", lag.watch()))
        await closers.enter_async_context(background("collections", collect_what_grew()))
        with contextlib.suppress(StoppingError):
            await main(stopping, closers)


async def collect_what_grew() -> None:
    """Looks at all objects when there are many more than before, for ever, and early at rest: a process as large as
    ever leaves nothing behind, and in one that does, the number of objects grows no further than this. For what leaves
    much behind and never rests, that may be more than it has memory."""
    left = sys.getallocatedblocks()
    with lag.clocks() as now:
        before = now()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            after = now()
            grown = GROWN_AT_REST if lag.rested(before, after) else GROWN_AT_WORK
            if sys.getallocatedblocks() > grown * left:
                gc.collect()
                left = sys.getallocatedblocks()
                log.info("collected", blocks=left, seconds=round(now().wall - after.wall, 3))
            before = now()


def freeze() -> None:
    """To be called when everything is made, right before requests come: what is alive by then stays, and no collection
    looks at it again. Nothing happens in a process that does other things too, such as a test's."""
    if _whole_process.get():
        gc.collect()
        gc.freeze()


async def cancel_and_wait(*tasks: asyncio.Task[Any]) -> None:
    """Cancels ``tasks`` and waits until they have ended; raises what one of them failed with. Whoever is cancelled
    meanwhile waits no longer: awaiting a cancelled task, and passing over its CancelledError, would pass over that one
    too."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()


def cancellation_first(error: BaseException) -> None:
    """To be called where ``error`` is about to be told as another one: raises CancelledError instead in a task that is
    being cancelled. What cleans up behind a cancelled call may fail as well, and the cancellation must not get lost
    over that: a loop that goes on after failures would go on for ever."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError from error


async def unless_stopped(stopping: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, a part of the start; StoppingError, and no more work, as soon as ``stopping`` is set."""
    task = asyncio.ensure_future(work)
    waiting = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait((task, waiting), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise StoppingError
        return task.result()
    finally:
        waiting.cancel()
        if not task.done():
            with contextlib.suppress(Exception):  # of something that nobody needs any more
                await cancel_and_wait(task)


async def serve_until(stopping: asyncio.Event, *tasks: asyncio.Task[None]) -> None:
    """Waits for ``stopping``; raises when one of the background ``tasks`` ends before, for none should."""
    waiting = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    if not stopping.is_set():
        for task in tasks:
            if task.done():
                await task
                raise RuntimeError(f"background task {task.get_name()} ended")


@contextlib.asynccontextmanager
async def background(name: str, work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """A task that lives as long as the block: cancelled and awaited at its end. Its failure is for
    :func:`serve_until` to notice."""
    task = asyncio.create_task(work, name=name)
    try:
        yield task
    finally:
        await cancel_and_wait(task)
