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

from bench.kept_shop import kept_shop, loaded
from bench.loading import Sizes, say
from bench.processes import memory, usages
from bench.recommend_driver import Outcome
from bench.recommend_report import print_growth, print_tables
from bench.recommend_runs import Bench, Plan
from bench.results import FOLDER, circumstances, publish
from deploy.local.child import StartError
from deploy.local.memory import lent
from deploy.local.postgres import shared_buffers

GROWTH = (Sizes(10_000, 20_000), Sizes(100_000, 200_000), Sizes(1_000_000, 200_000))
GROWTH_RATE = 100.0
"""Recommendations a second at which sizes are compared, and a million products are to answer within 50 ms."""
RATE = 200.0
"""The same of all that is not compared."""
_BEARABLE = 0.8
"""Of the most: what is asked for beyond that measures a queue."""


@click.command()
@click.option("--products", default=100_000, show_default=True)
@click.option("--users", default=200_000, show_default=True)
@click.option("--seconds", default=15.0, show_default=True, help="Of each measurement.")
@click.option(
    "--rate",
    type=float,
    help=f"Recommendations a second, beside half of the most; left out: {RATE:g}, if the machine can that.",
)
@click.option("--connections", default=16, show_default=True, help="Of the closed loop.")
@click.option("--recommenders", default=2, show_default=True, help="Processes: as many as there are cores for pages.")
@click.option("--rounds", default=3, show_default=True, help="Each measurement so often; medians are given.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder that is kept, with one shop of each size: a second run does not load it again.",
)
@click.option("--load-only", is_flag=True, help="Instead: loads, trains, waits until the shop is at rest.")
@click.option("--growth", is_flag=True, help="Instead: 10 thousand, 100 thousand and 1 million products.")
@click.option(
    "--output", type=click.Path(path_type=Path), help="Default: recommend.json (growth.json) in bench/results."
)
def command(
    products: int,
    users: int,
    seconds: float,
    rate: float | None,
    connections: int,
    recommenders: int,
    rounds: int,
    data: Path | None,
    load_only: bool,
    growth: bool,
    output: Path | None,
) -> None:
    """Measures recommendations on a shop of its own, started for it and stopped.

    Exits 1 on a wrong answer, and when more than 1 % of the answers are degraded.
    """
    plan = Plan(Sizes(products, users), seconds, connections, rounds, data, recommenders)
    if load_only:
        if data is None:
            raise click.UsageError("what is only loaded has to be kept: --data FOLDER")
        output, work = output or FOLDER / "loaded.json", load(data, plan)
    elif growth:
        output, work = output or FOLDER / "growth.json", grow(plan)
    else:
        output, work = output or FOLDER / "recommend.json", run(plan, rate)
    result = asyncio.run(work)
    publish(result, output)
    for complaint in result["complaints"]:
        print(complaint, file=sys.stderr)
    sys.exit(1 if result["complaints"] else 0)


async def load(data: Path, plan: Plan) -> dict[str, Any]:
    about = circumstances()
    done = await loaded(data, plan.sizes, recommenders=plan.recommenders)
    return {"products": plan.sizes.products, "users": plan.sizes.users, **done, "complaints": [], **about}


async def run(plan: Plan, rate: float | None) -> dict[str, Any]:
    about = circumstances()
    result = {**await measure(plan, rate), **about}
    if plan.sizes.products == 100_000:
        result = {"rps_100k": result["rps"], **result}
    print_tables(result)
    return result


async def grow(plan: Plan) -> dict[str, Any]:
    """Every size; one that fails leaves the others their figures."""
    about = circumstances()
    steps, complaints = [], []
    for sizes in GROWTH:
        say(f"{sizes.products:,} products, {sizes.users:,} users ...")
        try:
            step = await grown(replace(plan, sizes=sizes))
        except (click.ClickException, StartError, OSError, RuntimeError) as error:
            complaints.append(f"{sizes.name}: {error}")
            continue
        say(step)
        steps.append(step)
        complaints += [f"{sizes.name}: {text}" for text in step["complaints"]]
    if steps:
        print_growth(steps)
    million = next((step["p99_ms"] for step in steps if step["products"] == 1_000_000), None)
    return {"p99_ms_1m": million, "growth": steps, "complaints": complaints, **about}


async def measure(plan: Plan, rate: float | None) -> dict[str, Any]:
    """Everything about one size."""
    async with kept_shop(plan.data, plan.sizes, recommenders=plan.recommenders) as found:
        bench = Bench(found, plan)
        await bench.warm_up()
        idle = await bench.rest()
        tops = [await bench.top() for _ in range(plan.rounds)]
        most = median(top["per_second"] for top in tops)
        say(f"{most:.0f} a second at most; half of it ...")
        halves = [await bench.steady(most / 2) for _ in range(plan.rounds)]
        if rate is None and most * _BEARABLE < RATE:
            say(f"{RATE:g} a second is beyond this machine")
            fixed = []
        else:
            say(f"{rate or RATE:g} a second ...")
            fixed = [await bench.steady(rate or RATE) for _ in range(plan.rounds)]
        say("one connection, and the floor ...")
        pairs = [(await bench.alone(), await bench.floor()) for _ in range(plan.rounds)]
        merged = await bench.merged()
        sizes = memory(usages(found.shop, found.postgres))
        stored = await bench.stored()
    middle = min(tops, key=lambda top: abs(top["per_second"] - most))
    ours, theirs = median(one.p50_ms for one, _ in pairs), median(low.sum_ms for _, low in pairs)
    return {
        "rps": most,
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
        "fixed": _summary(fixed) if fixed else None,
        "rounds_rps": [top["per_second"] for top in tops],
        "driver": middle["driver"],
        "connections": plan.connections,
        "recommenders": plan.recommenders,
        "rate": rate or RATE,
        "seconds": plan.seconds,
        "candidates": merged,
        "memory_mb": sizes,
        "stored_mb": stored,
        "products": plan.sizes.products,
        "users": plan.sizes.users,
        "shared_buffers": plan.sizes.shared_buffers or f"{shared_buffers(lent())}MB",
        "shop": found.about,
        "requests": bench.requests,
        "degraded": bench.degraded,
        "errors": dict(bench.errors),
        "complaints": bench.complaints(merged),
    }


async def grown(plan: Plan) -> dict[str, Any]:
    """What is compared between sizes alone."""
    async with kept_shop(plan.data, plan.sizes, recommenders=plan.recommenders) as found:
        bench = Bench(found, plan)
        await bench.warm_up()
        tops = [await bench.top() for _ in range(plan.rounds)]
        most = median(top["per_second"] for top in tops)
        halves = _summary([await bench.steady(most / 2) for _ in range(plan.rounds)])
        # What is refused beyond what the machine can is told, and makes no bad run of it.
        same_bench = bench if most * _BEARABLE >= GROWTH_RATE else Bench(found, plan)
        same = _summary([await same_bench.steady(GROWTH_RATE) for _ in range(plan.rounds)])
        sizes = memory(usages(found.shop, found.postgres))
        merged = await bench.merged()
        stored = await bench.stored()
    return {
        "products": plan.sizes.products,
        "users": plan.sizes.users,
        "rps": most,
        "p50_ms_half": halves["p50_ms"],
        "p99_ms_half": halves["p99_ms"],
        "rate": GROWTH_RATE,
        "p50_ms": same["p50_ms"],
        "p99_ms": same["p99_ms"],
        "failed": sum(sum(one["errors"].values()) for one in same["rounds"]),
        "cpu_ms_per_request": _median_cost([top["cpu_ms_per_request"] for top in tops]),
        "memory_mb": sizes,
        "stored_mb": stored,
        "complaints": bench.complaints(merged),
    }


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
