"""How late the event loop is: whoever holds it keeps all others waiting, and none of them can tell by whom."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from prometheus_client import Counter

from services.runtime.metrics import BUCKETS, LoopHistogram

# Seconds. At most this much of a stall has passed when the next look is due, so one of 40 ms is never missed and one of
# 20 ms rarely seen whole.
INTERVAL = 0.02
# Of a process that rests: being woken 50 times a second costs it 0.8 % of a core, and others on the machine their turn.
# What is never missed there lasts 120 ms.
REST_INTERVAL = 0.1
# The share of the time since the last look in which a process that rests computes at most, its looks included.
_RESTING = 0.02
# Seconds. Later than that is a stall: it takes a good part of the 50 ms that a reader may wait.
STALL = 0.02

LAG = LoopHistogram(
    "windowshop_loop_lag_seconds",
    "How late the event loop comes to what is due, looked at 50 times a second while the process works, else 10 times; "
    "more than 0.02 holds up every request.",
    buckets=BUCKETS,
)
STALLS = Counter(
    "windowshop_loop_stalls_total",
    "Lags of more than 0.02 s by what had the processor: loop (a long computation, or too many requests), threads (of "
    "this process, which held the interpreter), outside (this process had none, or waited for a disk).",
    ["holder"],
)


# Seconds that a thread was ready to go on and had no processor: beside those that it had one for, by Linux.
_WAITS = "/proc/self/task/{thread}/schedstat"


class Moment(NamedTuple):
    """Seconds on four clocks."""

    wall: float
    loop: float
    """Processor time of the thread of the event loop."""
    process: float
    """Processor time of all threads together."""
    waited: float = 0.0
    """For a processor, by the thread of the event loop; 0 where the system does not tell."""


def holder(before: Moment, after: Moment, interval: float) -> str:
    """What kept the loop from coming at ``before`` + ``interval``: "loop", "threads" or "outside".

    What it waited for a processor is not its own doing: "outside", unless it would have been a stall all the same. A
    thread has worked through what is left when it computed for as long as that took; and, where others took the
    processor away meanwhile and nobody counts that, when it computed more than fits before the moment that was due.
    """
    late = after.wall - before.wall - interval - (after.waited - before.waited)
    if late <= STALL:
        return "outside"
    enough = min(late, interval + STALL)
    loop = after.loop - before.loop
    if loop >= enough:
        return "loop"
    return "threads" if after.process - before.process - loop >= enough else "outside"


@contextlib.contextmanager
def clocks() -> Iterator[Callable[[], Moment]]:
    """Tells the moment; to be made and read in the thread of the event loop."""
    with contextlib.ExitStack() as closing:
        waits = None
        with contextlib.suppress(OSError):
            # Kept open: opening it takes longer than all the rest.
            waits = os.open(_WAITS.format(thread=threading.get_native_id()), os.O_RDONLY)
            closing.callback(os.close, waits)

        def now() -> Moment:
            waited = 0.0 if waits is None else int(os.pread(waits, 100, 0).split()[1]) / 1e9
            return Moment(time.perf_counter(), time.thread_time(), time.process_time(), waited)

        yield now


async def watch() -> None:
    """Measures until cancelled."""
    for name in ("loop", "threads", "outside"):
        STALLS.labels(name)  # a series that is not there yet hides its first stall
    with clocks() as now:
        before, interval = now(), INTERVAL
        while True:
            await asyncio.sleep(interval)
            after = now()
            late = max(0.0, after.wall - before.wall - interval)
            LAG.observe(late)
            if late > STALL:
                STALLS.labels(holder(before, after, interval)).inc()
            before, interval = after, next_interval(before, after)


def next_interval(before: Moment, after: Moment) -> float:
    """Until the next look, by what the process has done between two."""
    return REST_INTERVAL if rested(before, after) else INTERVAL


def rested(before: Moment, after: Moment) -> bool:
    """Whether next to nothing was asked of the process between two moments."""
    return after.process - before.process <= _RESTING * (after.wall - before.wall)
