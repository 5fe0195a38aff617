"""The load driver of `bench features`, a process of its own: takes a Task as JSON on its standard input, prints an
Outcome as JSON. Requests start as bench.loops says; the questions are made before the time begins.

First each system is asked for a second by connections of bench.wire, and every answer is checked. Then the closed loop
is wrk's, the same bytes again: a driver in Python costs more than an answer of ours, and it is the answers that are to
be measured. Without wrk, and in the open loop, the driver is this process, and checks on.
"""

import gc
import random
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import NamedTemporaryFile
from time import perf_counter
from typing import Any

import msgspec
import uvloop

from bench import wrk
from bench.beside import Question, draw
from bench.loops import closed, paced
from bench.processes import Meter, per_call
from bench.results import percentile
from bench.wire import Pool, WireError

CHECK_SECONDS = 1.0
SCRIPT = Path(__file__).with_name("beside.lua")
_DISTINCT = {False: 5_000, True: 200}
"""Questions in a round, for one and for many: asked again from the beginning when they are used up."""
_NEW_PER_SECOND = 3_000
"""Questions for many of which none is asked twice."""


@dataclass(frozen=True, slots=True)
class Task:
    """One measurement. `rate` requests a second make it open; without it it is closed."""

    system: str
    port: int
    many: bool
    known: dict[str, dict[str, Any]]
    seconds: float
    connections: int
    rate: float | None = None
    again: bool = True
    """Whether lists of many come again, as those that a shop shows do."""
    watched: dict[int, str] = field(default_factory=dict)
    """The system's processes: id -> what it is."""


@dataclass(slots=True)
class Outcome:
    """Latencies in milliseconds, of right answers."""

    requests: int = 0
    per_second: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    driver: str = "python"
    checked: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    cpu_us: dict[str, float] = field(default_factory=dict)
    """Processor time of each answer, by process."""


@dataclass(frozen=True, slots=True)
class _Report:
    """The last line of the script."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    refused: int
    broken: int


class Driver:
    """Asks and keeps what came of it."""

    def __init__(self, port: int, questions: list[Question]) -> None:
        self._port = port
        self._questions = questions
        self._next = 0
        self.latencies: list[float] = []
        self.errors: Counter[str] = Counter()

    async def ask(self, pool: Pool, start: float) -> None:
        """One question; its latency counts from `start`."""
        question = self._questions[self._next % len(self._questions)]
        self._next += 1
        try:
            status, body = await pool.ask(question.raw)
        except WireError as error:
            self.errors[str(error)] += 1
            return
        elapsed = perf_counter() - start
        if status != 200:
            problem = f"status {status}"
        else:
            try:
                problem = question.check(msgspec.json.decode(body))
            except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
                problem = f"unexpected answer: {type(error).__name__} {error}"
        if problem:
            self.errors[problem] += 1
        else:
            self.latencies.append(elapsed * 1000)

    async def run(self, connections: int, seconds: float, rate: float | None = None) -> float:
        """Closed, or with a rate open. Returns the seconds it took."""
        async with Pool.opened(self._port, connections) as pool:
            if rate is None:
                return await closed(connections, seconds, lambda start: self.ask(pool, start))
            return await paced(rate, int(rate * seconds), lambda _, start: self.ask(pool, start))


async def measure(task: Task) -> Outcome:
    """Checks answers to other questions than it measures with; they warm up what they pass."""
    ids = sorted(task.known)
    questions = {
        phase: [
            draw(task.system, task.many, task.known, ids, dice)
            for dice in [random.Random(f"{phase} {task.connections} {task.rate is None}")]
            for _ in range(_DISTINCT[task.many] if task.again else int(_NEW_PER_SECOND * seconds))
        ]
        for phase, seconds in (("check", CHECK_SECONDS), ("measurement", task.seconds))
    }
    checker = Driver(task.port, questions["check"])
    await checker.run(task.connections, CHECK_SECONDS)
    gc.freeze()  # the questions are many objects, and a collection of them would count as latency
    if task.rate is None and wrk.installed():
        outcome = await _by_wrk(task, questions["measurement"])
    else:
        outcome = await _by_ourselves(task, questions["measurement"])
    if not checker.latencies:
        outcome.per_second = 0.0  # wrk counts wrong answers too
    outcome.checked += len(checker.latencies)
    for problem, times in checker.errors.items():
        outcome.errors[problem] = outcome.errors.get(problem, 0) + times
    return outcome


async def _by_ourselves(task: Task, questions: list[Question]) -> Outcome:
    driver = Driver(task.port, questions)
    meter = Meter(task.watched)
    took = await driver.run(task.connections, task.seconds, task.rate)
    spent = meter.spent()
    return Outcome(
        requests=len(driver.latencies) + driver.errors.total(),
        per_second=round(len(driver.latencies) / took, 1),
        p50_ms=percentile(driver.latencies, 50),
        p99_ms=percentile(driver.latencies, 99),
        checked=len(driver.latencies),
        errors=dict(driver.errors),
        cpu_us=per_call(spent, len(driver.latencies), 1e6),
    )


async def _by_wrk(task: Task, questions: list[Question]) -> Outcome:
    with NamedTemporaryFile("wb", suffix=".requests") as file:
        file.writelines(b"%d\n%b" % (len(question.raw), question.raw) for question in questions)
        file.flush()
        meter = Meter(task.watched)
        raw = await wrk.run(task.port, task.connections, task.seconds, SCRIPT, file.name)
        spent = meter.spent()
    report = msgspec.json.decode(raw, type=_Report)
    errors = {"not 2xx": report.refused, "broken": report.broken}
    return Outcome(
        requests=report.requests + report.broken,
        per_second=round((report.requests - report.refused) / report.seconds, 1),
        p50_ms=round(report.p50_ms, 3),
        p99_ms=round(report.p99_ms, 3),
        driver="wrk",
        cpu_us=per_call(spent, report.requests, 1e6),
        errors={problem: times for problem, times in errors.items() if times},
    )


def main() -> None:
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=Task)
    print(msgspec.json.encode(uvloop.run(measure(task))).decode())


if __name__ == "__main__":
    main()
