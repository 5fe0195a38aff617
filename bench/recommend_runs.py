"""Measures a running shop: closed and open loops, what a page costs each process, and what was wrong.

Used by `bench recommend`, which says in which order, and makes tables of it.
"""

import asyncio
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import time
from typing import Any

import aiohttp
import click
import msgspec

from bench import floor, wrk
from bench.kept_shop import KeptShop
from bench.loading import Sizes, say
from bench.processes import cpu_between, per_call, usages
from bench.recommend_driver import Outcome, Task
from bench.shopping_day import WRITE, blocks, body, path
from bench.synthetic import MOST_SOLD, World

SCRIPT = Path(__file__).with_name("recommend.lua")
MERGED = 99
"""Pages must be chosen from more candidates than that."""
_FLOOR_ROUNDS = 300
_WARM_UP_SECONDS = 10.0
_MORE_WARM_UP_SECONDS = 30.0
"""Of a catalogue whose indexes come from the disk first."""
_MOST_PER_SECOND = 1_500
"""Requests that are prepared for wrk, for each second."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Of a run."""

    sizes: Sizes
    seconds: float
    """Of each measurement."""
    connections: int
    """Of the closed loop."""
    rounds: int
    data: Path | None
    recommenders: int = 1
    """Processes of that kind."""


class Bench:
    """Measures one shop, and counts what was wrong over all measurements."""

    def __init__(self, found: KeptShop, plan: Plan, *, ranked: bool = True) -> None:
        """`ranked`: see Judge."""
        self._found = found
        self._plan = plan
        self._ranked = ranked
        self._runs = 0
        self.requests = 0
        self.degraded = 0
        self.errors: Counter[str] = Counter()

    async def warm_up(self) -> None:
        """Fills what is lazy; what goes wrong meanwhile counts."""
        large = self._plan.sizes.products > MOST_SOLD
        await self.drive(seconds=_MORE_WARM_UP_SECONDS if large else _WARM_UP_SECONDS, connections=8)

    async def top(self) -> dict[str, Any]:
        """The most that the connections get, and what a page costs then."""
        before = usages(self._found.shop, self._found.postgres)
        if wrk.installed():
            outcome: wrk.Outcome | Outcome = await self._wrk()
            driver = "wrk"
        else:
            say(wrk.INSTALL)
            outcome = await self.drive(seconds=self._plan.seconds, connections=self._plan.connections)
            driver = "python"
        after = usages(self._found.shop, self._found.postgres)
        pages = round(outcome.per_second * self._plan.seconds)
        cost = cost_of_page(cpu_between(before, after), outcome.driver_cpu_seconds, pages)
        say(f"{outcome.per_second:.0f} a second, {cost}")
        return {"per_second": outcome.per_second, "driver": driver, "cpu_ms_per_request": cost}

    async def steady(self, rate: float) -> tuple[Outcome, dict[str, float]]:
        """An open loop, and what a page costs then."""
        before = usages(self._found.shop, self._found.postgres)
        outcome = await self.drive(seconds=self._plan.seconds, rate=rate)
        spent = cpu_between(before, usages(self._found.shop, self._found.postgres))
        return outcome, cost_of_page(spent, outcome.driver_cpu_seconds, outcome.requests)

    async def rest(self) -> dict[str, float]:
        """Milliseconds of processor time a second when nobody asks: refreshes, looks at clocks."""
        before = usages(self._found.shop, self._found.postgres)
        await asyncio.sleep(self._plan.seconds)
        spent = cpu_between(before, usages(self._found.shop, self._found.postgres))
        cost = {name: round(seconds * 1_000 / self._plan.seconds, 1) for name, seconds in spent.items() if seconds > 0}
        return {**cost, "all": round(sum(cost.values()), 1)}

    async def alone(self) -> Outcome:
        """One connection."""
        return await self.drive(seconds=self._plan.seconds, connections=1)

    async def floor(self) -> floor.Floor:
        dsn = self._found.postgres.near_dsn("recommender")
        return await floor.measure(dsn, self._found.redis_url, self._plan.sizes.products, _FLOOR_ROUNDS)

    async def drive(self, *, seconds: float, connections: int = 16, rate: float | None = None) -> Outcome:
        """One measurement by the driver in Python, in a process of its own."""
        sizes = self._plan.sizes
        task = Task(
            self._found.shop.ports["GATEWAY_PORT"],
            sizes.products,
            sizes.users,
            seconds,
            connections,
            self._name(),
            rate,
            self._ranked,
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.recommend_driver",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            output, _ = await process.communicate(msgspec.json.encode(task))
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            raise click.ClickException(f"the driver ended with {process.returncode}")
        outcome = msgspec.json.decode(output, type=Outcome)
        self._count(outcome.requests, outcome.degraded, outcome.errors)
        return outcome

    async def _wrk(self) -> wrk.Outcome:
        plan = self._plan
        with tempfile.NamedTemporaryFile("wb", prefix="requests-", suffix=".txt") as file:
            name = self._name()
            for line in islice(request_lines(self._found.world, name), int(plan.seconds * _MOST_PER_SECOND)):
                file.write(line + b"\n")
            file.flush()
            outcome = await wrk.closed_loop(
                self._found.shop.ports["GATEWAY_PORT"], plan.connections, plan.seconds, SCRIPT, file.name
            )
        self._count(outcome.pages, outcome.degraded, outcome.errors)
        return outcome

    async def merged(self) -> dict[str, float]:
        """Of how many candidates pages were chosen, since the process started."""
        counts = await self._buckets("windowshop_recommendation_candidates_bucket")
        total = counts.get(float("inf"), 0.0)
        few = counts.get(float(MERGED), 0.0)
        return {"pages": total, "share_of_100_and_more": round((total - few) / total, 4) if total else 0.0}

    async def stored(self) -> dict[str, float]:
        """Of the stores, MB."""
        return await self._found.stored_mb()

    def complaints(self, merged: dict[str, float]) -> list[str]:
        """Why the figures are not to be believed; empty: they are."""
        found = [f"{problem}, {times} times" for problem, times in self.errors.items()]
        if self.degraded > 0.01 * self.requests:
            found.append(f"{self.degraded} of {self.requests} answers were degraded")
        if merged and merged["share_of_100_and_more"] < 0.99:
            found.append(f"pages were chosen from fewer than 100 candidates: {merged}")
        return found

    def _count(self, requests: int, degraded: int, errors: dict[str, int]) -> None:
        self.requests += requests
        self.degraded += degraded
        self.errors.update(errors)

    def _name(self) -> str:
        self._runs += 1
        return f"b{time():.0f}.{self._runs}"

    async def _buckets(self, name: str) -> dict[float, float]:
        counts: defaultdict[float, float] = defaultdict(float)
        async with aiohttp.ClientSession() as session:
            for number in range(self._found.recommenders):
                port = self._found.shop.ports["RECOMMENDER_OPS_PORT"] + number
                async with session.get(f"http://127.0.0.1:{port}/metrics") as answer:
                    for line in (await answer.text()).splitlines():
                        if line.startswith(name):
                            bound = float(line.partition('le="')[2].partition('"')[0])
                            counts[bound] += float(line.rpartition(" ")[2])
        return dict(counts)


def request_lines(world: World, name: str) -> Iterator[bytes]:
    """Requests as recommend.lua reads them."""
    for number, block in enumerate(blocks(world, name)):
        yield b"P " + WRITE.encode() + b" " + body(block, f"{name}.{number}")
        for user in block.users:
            yield b"G " + path(user).encode()


def cost_of_page(spent: dict[str, float], driver: float, pages: int) -> dict[str, float]:
    """Milliseconds of processor time for each page, by process, and of all."""
    return per_call({**spent, "driver": driver}, pages, 1_000)
