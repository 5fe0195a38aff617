"""`python -m bench recommend`: recommendations over REST in a shop of any size, and how cost grows with it.

Everything is real and shares the machine: PostgreSQL, Valkey, our processes, the driver. The shop is made up
(`bench.synthetic`), loaded through the public imports, trained through the public call, and then asked for
`recommended-for-you`: all sources, a trained ranker, the stock rule, ten results.
"""

import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from statistics import median
from time import time
from typing import Any

import aiohttp
import click
import msgspec

from bench import floor, wrk
from bench.kept_shop import KeptShop, kept_shop
from bench.loading import Sizes, say
from bench.processes import cpu_between, memory, usages
from bench.recommend_driver import Outcome, Task
from bench.recommend_report import print_growth, print_tables
from bench.results import FOLDER, circumstances, publish
from bench.shopping_day import WRITE, blocks, body, path
from bench.soak import soak
from bench.synthetic import World

SCRIPT = Path(__file__).with_name("recommend.lua")
GROWTH = (Sizes(10_000, 20_000), Sizes(100_000, 200_000), Sizes(1_000_000, 200_000))
GROWTH_RATE = 100.0
"""Recommendations a second at which sizes are compared, and a million products are to answer within 50 ms."""
MERGED = 99
"""Pages must be chosen from more candidates than that."""
_FLOOR_ROUNDS = 300
_WARM_UP_SECONDS = 5.0
_MOST_PER_SECOND = 1_500
"""Requests that are prepared for wrk, for each second."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Of a run."""

    sizes: Sizes
    seconds: float
    """Of each measurement."""
    rate: float
    """Of the open loop at a fixed rate."""
    connections: int
    """Of the closed loop."""
    rounds: int
    data: Path | None


@click.command()
@click.option("--products", default=100_000, show_default=True)
@click.option("--users", default=200_000, show_default=True)
@click.option("--seconds", default=15.0, show_default=True, help="Of each measurement.")
@click.option("--rate", default=200.0, show_default=True, help="Recommendations a second, beside half of the most.")
@click.option("--connections", default=16, show_default=True, help="Of the closed loop.")
@click.option("--rounds", default=3, show_default=True, help="Each measurement so often; medians are given.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder that is kept, with one shop of each size: a second run does not load it again.",
)
@click.option("--growth", is_flag=True, help="Also 10 thousand and 1 million products, at 100 a second.")
@click.option("--soak", "soak_seconds", default=0.0, help="Instead: so many seconds of traffic beside everything else.")
@click.option("--output", type=click.Path(path_type=Path), help="Default: bench/results/recommend.json (soak.json).")
def command(
    products: int,
    users: int,
    seconds: float,
    rate: float,
    connections: int,
    rounds: int,
    data: Path | None,
    growth: bool,
    soak_seconds: float,
    output: Path | None,
) -> None:
    """Measures recommendations on a shop of its own, started for it and stopped.

    Exits 1 on a wrong answer, and when more than 1 % of the answers are degraded.
    """
    plan = Plan(Sizes(products, users), seconds, rate, connections, rounds, data)
    result = asyncio.run(_soak(plan, soak_seconds) if soak_seconds else run(plan, growth))
    publish(result, output or FOLDER / ("soak.json" if soak_seconds else "recommend.json"))
    for complaint in result["complaints"]:
        print(complaint, file=sys.stderr)
    sys.exit(1 if result["complaints"] else 0)


async def run(plan: Plan, growth: bool) -> dict[str, Any]:
    about = circumstances()
    result = {**await measure(plan), **about}
    if plan.sizes.products == 100_000:
        result = {"rps_100k": result["rps"], **result}
    if plan.sizes.products == 1_000_000:
        result = {"p99_ms_1m": result["growth"]["p99_ms"], **result}
    print_tables(result)
    if growth:
        steps = []
        for sizes in GROWTH:
            own = sizes == plan.sizes
            steps.append(result["growth"] if own else await _grown(replace(plan, sizes=sizes)))
        result |= {"growth": steps, "p99_ms_1m": steps[-1]["p99_ms"]}
        result["complaints"] += [text for step in steps for text in step["complaints"]]
        print_growth(steps)
    return result


async def measure(plan: Plan) -> dict[str, Any]:
    """Everything about one size."""
    async with kept_shop(plan.data, plan.sizes) as found:
        bench = Bench(found, plan)
        await bench.warm_up()
        tops = [await bench.top() for _ in range(plan.rounds)]
        rate = median(top["per_second"] for top in tops)
        say(f"{rate:.0f} a second at most; half of it ...")
        halves = [await bench.steady(rate / 2) for _ in range(plan.rounds)]
        say(f"{plan.rate:g} a second ...")
        fixed = [await bench.steady(plan.rate) for _ in range(plan.rounds)]
        say("one connection, and the floor ...")
        pairs = [(await bench.alone(), await bench.floor()) for _ in range(plan.rounds)]
        steps = [await bench.steady(GROWTH_RATE) for _ in range(plan.rounds)]
        merged = await bench.merged()
        sizes = memory(usages(found.shop, found.postgres))
        stored = await bench.stored()
    middle = min(tops, key=lambda top: abs(top["per_second"] - rate))
    ours, theirs = median(one.p50_ms for one, _ in pairs), median(low.sum_ms for _, low in pairs)
    return {
        "rps": rate,
        "p50_ms_half": median(one.p50_ms for one, _ in halves),
        "p99_ms_half": median(one.p99_ms for one, _ in halves),
        "cpu_ms_per_request": middle["cpu_ms_per_request"],
        "floor_ratio": round(ours / theirs, 2),
        "alone": {
            "p50_ms": ours,
            "floor_search_ms": median(low.search_ms for _, low in pairs),
            "floor_read_ms": median(low.read_ms for _, low in pairs),
        },
        "half": _summary(halves),
        "fixed": _summary(fixed),
        "rounds_rps": [top["per_second"] for top in tops],
        "driver": middle["driver"],
        "connections": plan.connections,
        "rate": plan.rate,
        "seconds": plan.seconds,
        "candidates": merged,
        "memory_mb": sizes,
        "stored_mb": stored,
        "products": plan.sizes.products,
        "users": plan.sizes.users,
        "shared_buffers": plan.sizes.shared_buffers,
        "shop": found.about,
        "growth": _step(plan.sizes, steps, sizes, stored, []),
        "requests": bench.requests,
        "degraded": bench.degraded,
        "errors": dict(bench.errors),
        "complaints": bench.complaints(merged),
    }


async def _grown(plan: Plan) -> dict[str, Any]:
    """What is compared between sizes alone."""
    async with kept_shop(plan.data, plan.sizes) as found:
        bench = Bench(found, plan)
        await bench.warm_up()
        steps = [await bench.steady(GROWTH_RATE) for _ in range(plan.rounds)]
        sizes = memory(usages(found.shop, found.postgres))
        merged = await bench.merged()
        stored = await bench.stored()
    step = _step(plan.sizes, steps, sizes, stored, bench.complaints(merged))
    say(step)
    return step


async def _soak(plan: Plan, seconds: float) -> dict[str, Any]:
    about = circumstances()
    async with kept_shop(plan.data, plan.sizes) as found:
        bench = Bench(found, plan)
        await bench.warm_up()
        result = await soak(found, seconds, lambda: bench.drive(rate=plan.rate, seconds=seconds))
    return {**result, "complaints": bench.complaints({}), **about}


class Bench:
    """Measures one shop, and counts what was wrong over all measurements."""

    def __init__(self, found: KeptShop, plan: Plan) -> None:
        self._found = found
        self._plan = plan
        self._runs = 0
        self.requests = 0
        self.degraded = 0
        self.errors: Counter[str] = Counter()

    async def warm_up(self) -> None:
        """Fills what is lazy; what goes wrong meanwhile counts."""
        await self.drive(seconds=_WARM_UP_SECONDS, connections=8)

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

    async def alone(self) -> Outcome:
        """One connection."""
        return await self.drive(seconds=self._plan.seconds, connections=1)

    async def floor(self) -> floor.Floor:
        dsn = self._found.postgres.dsn("recommender")
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
        port = self._found.shop.ports["RECOMMENDER_OPS_PORT"]
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
            text = await answer.text()
        return {
            float(line.partition('le="')[2].partition('"')[0]): float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith(name)
        }


def request_lines(world: World, name: str) -> Iterator[bytes]:
    """Requests as recommend.lua reads them."""
    for number, block in enumerate(blocks(world, name)):
        yield b"P " + WRITE.encode() + b" " + body(block, f"{name}.{number}")
        for user in block.users:
            yield b"G " + path(user).encode()


def cost_of_page(spent: dict[str, float], driver: float, pages: int) -> dict[str, float]:
    """Milliseconds of processor time for each page, by process, and of all."""
    named = {**spent, "driver": driver}
    cost = {name: round(seconds * 1_000 / max(1, pages), 3) for name, seconds in named.items() if seconds > 0}
    return {**cost, "all": round(sum(cost.values()), 3)}


def _summary(found: list[tuple[Outcome, dict[str, float]]]) -> dict[str, Any]:
    outcomes = [outcome for outcome, _ in found]
    names = ("p50_ms", "p99_ms", "max_ms", "p50_ms_viewed", "p99_ms_viewed", "write_p50_ms", "write_p99_ms")
    return {
        "per_second": median(one.per_second for one in outcomes),
        **{name: round(median(getattr(one, name) for one in outcomes), 2) for name in names},
        "rounds": [asdict(one) for one in outcomes],
        "cpu_ms_per_request": _median_cost([cost for _, cost in found]),
    }


def _median_cost(costs: list[dict[str, float]]) -> dict[str, float]:
    names = {name for cost in costs for name in cost}
    return {name: round(median(cost.get(name, 0.0) for cost in costs), 3) for name in sorted(names)}


def _step(
    sizes: Sizes,
    steps: list[tuple[Outcome, dict[str, float]]],
    sizes_mb: dict[str, float],
    stored: dict[str, float],
    complaints: list[str],
) -> dict[str, Any]:
    summary = _summary(steps)
    return {
        "products": sizes.products,
        "users": sizes.users,
        "rate": GROWTH_RATE,
        **{name: summary[name] for name in ("p50_ms", "p99_ms", "cpu_ms_per_request")},
        "memory_mb": sizes_mb,
        "stored_mb": stored,
        "complaints": complaints,
    }
