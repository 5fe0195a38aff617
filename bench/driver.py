"""The load driver, a process of its own: `python -m bench.driver` takes a Job as JSON on its standard input and
prints a Report as JSON.

Requests start as bench.loops says; any HTTP server can be asked, so this is aiohttp's client, which costs more than
bench.wire.
"""

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any

import aiohttp
import numpy as np

from bench.loops import closed, paced
from bench.scenarios import Call, Population, Scenario, scenarios

SEED = 11
WARM_UP_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Job:
    """One measurement. `rate` requests a second make it open; without it `connections` make it closed."""

    url: str
    scenario: str
    users: tuple[str, ...]
    products: tuple[str, ...]
    seconds: float
    connections: int = 1
    rate: float | None = None


@dataclass(slots=True)
class Report:
    """What one job saw; rate and latencies, in milliseconds, are of right answers, the degraded ones among them:
    they are often the slow ones, and without them a bad day would look like a fast one.
    """

    requests: int = 0
    per_second: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    degraded: int = 0
    """Right answers from which something was missing."""
    wrong: dict[str, int] = field(default_factory=dict)
    """What was wrong with answers -> how often."""


class Driver:
    """Sends calls and keeps what came of them."""

    def __init__(self, session: aiohttp.ClientSession, url: str, calls: Iterator[Call]) -> None:
        self._session = session
        self._url = url
        self._calls = calls
        self.latencies: list[float] = []
        self.degraded = 0
        self.wrong: Counter[str] = Counter()

    async def send(self, start: float) -> None:
        """One call; its latency counts from `start`."""
        call = next(self._calls)
        headers = {"content-type": "application/json"} if call.body else None
        try:
            async with self._session.request(
                call.method, self._url + call.path, data=call.body, headers=headers
            ) as answer:
                text = await answer.read()
                elapsed = perf_counter() - start
                body = json.loads(text) if answer.status == 200 else {}
                problem = call.check(body) if body else f"status {answer.status}"
        except (aiohttp.ClientError, TimeoutError) as error:
            problem = type(error).__name__
        except (KeyError, TypeError, ValueError) as error:
            problem = f"unexpected answer: {type(error).__name__} {error}"
        if problem:
            self.wrong[problem] += 1
        else:
            self.latencies.append(elapsed)
            self.degraded += bool(body.get("degraded"))


def _calls(scenario: Scenario, job: Job, phase: str) -> Iterator[Call]:
    """The same at each run, and others for each measurement and its warm-up: none is of what was just asked."""
    kind = "closed" if job.rate is None else "open"
    dice = random.Random(f"{SEED} {job.connections} {kind} {phase}")
    while True:
        yield scenario.draw(dice)


async def measure(job: Job) -> Report:
    """Warms the connections up, then measures."""
    population = Population(job.users, job.products)
    scenario = next(one for one in scenarios(population) if one.name == job.scenario)
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=10), connector=aiohttp.TCPConnector(limit=0)
    ) as session:
        # opens the connections and fills what is lazy on the other side
        warm_up = Driver(session, job.url, _calls(scenario, job, "warm-up"))
        await closed(job.connections, WARM_UP_SECONDS, warm_up.send)
        driver = Driver(session, job.url, _calls(scenario, job, "measurement"))
        if job.rate is None:
            took = await closed(job.connections, job.seconds, driver.send)
        else:
            took = await paced(job.rate, int(job.rate * job.seconds), lambda _, start: driver.send(start))
    return _report(driver, took)


def _report(driver: Driver, took: float) -> Report:
    right = len(driver.latencies)
    p50, p99 = np.percentile(driver.latencies, [50, 99]) * 1000 if right else (0.0, 0.0)
    return Report(
        requests=right + driver.wrong.total(),
        per_second=round(right / took, 1),
        p50_ms=round(float(p50), 2),
        p99_ms=round(float(p99), 2),
        degraded=driver.degraded,
        wrong=dict(driver.wrong),
    )


def main() -> None:
    job: dict[str, Any] = json.load(sys.stdin)
    print(json.dumps(asdict(asyncio.run(measure(Job(**job))))))


if __name__ == "__main__":
    main()
