"""`python -m bench recommend`: recommendations over REST in a shop of any size, and how cost grows with it.

Everything is real and shares the machine: PostgreSQL, Valkey, our processes, the driver. The shop is made up
(`bench.synthetic`), loaded through the public imports, trained through the public call, and then asked for
`recommended-for-you`: all sources, a trained ranker, the stock rule, ten results.
"""

import asyncio
import sys
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

import click

from bench.kept_shop import kept_shop
from bench.loading import Sizes, say
from bench.processes import memory, usages
from bench.recommend_driver import Outcome
from bench.recommend_report import print_growth, print_tables
from bench.recommend_runs import Bench, Plan
from bench.results import FOLDER, circumstances, publish
from bench.soak import soak

GROWTH = (Sizes(10_000, 20_000), Sizes(100_000, 200_000), Sizes(1_000_000, 200_000))
GROWTH_RATE = 100.0
"""Recommendations a second at which sizes are compared, and a million products are to answer within 50 ms."""


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
        idle = await bench.rest()
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
        "cpu_ms_per_second_at_rest": idle,
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
    return {**result, "complaints": [*bench.complaints({}), *result["errors"]], **about}


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
