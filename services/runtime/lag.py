"""How late the event loop is: whoever holds it keeps all others waiting, and none of them can tell by whom."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from prometheus_client import Counter, Histogram

from services.runtime.metrics import BUCKETS

# Seconds. At most this much of a stall has passed when the next look is due, so one of 40 ms is never missed and one of
# 20 ms rarely seen whole. Being woken so often costs an idle process 0.8 % of a core, a busy one nothing.
INTERVAL = 0.02
# Seconds. Later than that is a stall: it takes a good part of the 50 ms that a reader may wait.
STALL = 0.02

LAG = Histogram(
    "windowshop_loop_lag_seconds",
    "How late the event loop comes to what is due, looked at 50 times a second; more than 0.02 holds up every request.",
    buckets=BUCKETS,
)
STALLS = Counter(
    "windowshop_loop_stalls_total",
    "Lags of more than 0.02 s by what had the processor: loop (a long computation, or too many requests), threads (of "
    "this process, which held the interpreter), outside (this process had none, or waited for a disk).",
    ["holder"],
)


@dataclass(frozen=True, slots=True)
class Moment:
    """Seconds on three clocks."""

    wall: float
    loop: float
    """Processor time of the thread of the event loop."""
    process: float
    """Processor time of all threads together."""


def now() -> Moment:
    """Read in the thread of the event loop."""
    return Moment(time.perf_counter(), time.thread_time(), time.process_time())


def holder(before: Moment, after: Moment) -> str:
    """What kept the loop from coming at ``before`` + INTERVAL: "loop", "threads" or "outside".

    A thread has worked through the stall when it computed for as long as that took; and, where others took the
    processor away meanwhile, when it computed more than fits before the moment that was due.
    """
    late = after.wall - before.wall - INTERVAL
    enough = min(late, INTERVAL + STALL)
    loop = after.loop - before.loop
    if loop >= enough:
        return "loop"
    return "threads" if after.process - before.process - loop >= enough else "outside"


async def watch() -> None:
    """Measures until cancelled."""
    for name in ("loop", "threads", "outside"):
        STALLS.labels(name)  # a series that is not there yet hides its first stall
    before = now()
    while True:
        await asyncio.sleep(INTERVAL)
        after = now()
        late = max(0.0, after.wall - before.wall - INTERVAL)
        LAG.observe(late)
        if late > STALL:
            STALLS.labels(holder(before, after)).inc()
        before = now()
