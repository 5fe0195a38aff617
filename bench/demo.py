"""`python -m bench demo`: features and recommendations over REST, of a running shop or of one started with the demo.

A look at any shop within a minute; the comparisons and the sizes that the documents speak of have benches of their own.
"""

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bench.driver import Job
from bench.results import FOLDER, circumstances, publish
from bench.scenarios import Population, Scenario, scenarios
from tests.support.shop import Rest, running_shop

CONNECTIONS = (16, 64)
LOAD = 0.5
"""Share of the throughput at 16 connections at which the open loop runs: busy, not saturated."""
MOST_DEGRADED = 0.01
"""Share of degraded answers above which the figures are not those of a shop on a good day."""


@click.command()
@click.option("--url", help="The gateway of a running shop; left out: one is started with the demo, and stopped.")
@click.option("--seconds", default=5.0, show_default=True, help="Of each measurement.")
@click.option("--output", default=FOLDER / "demo.json", show_default=True, type=click.Path(path_type=Path))
def command(url: str | None, seconds: float, output: Path) -> None:
    """Measures over REST: alone, at 16 and 64 connections, and under an open loop.

    Exits 1 on a wrong answer, and when more than 1 % of a scenario's answers are degraded.
    """
    result = asyncio.run(run(url, seconds))
    # wide enough for the table where there is no terminal that has a width
    Console(width=140).print(table_of(result))
    publish(result, output)
    complaints = [text for one in result["scenarios"].values() for text in complaints_about(one)]
    for text in complaints:
        print(text, file=sys.stderr)
    sys.exit(1 if complaints else 0)


def complaints_about(scenario: dict[str, Any]) -> list[str]:
    """Why the figures of a scenario are not to be believed; empty: they are."""
    found = [f"{scenario['title']}: {problem}, {times} times" for problem, times in scenario["wrong"].items()]
    if scenario["degraded"] > MOST_DEGRADED * scenario["requests"]:
        found.append(f"{scenario['title']}: {scenario['degraded']} of {scenario['requests']} answers were degraded")
    return found


async def run(url: str | None, seconds: float) -> dict[str, Any]:
    about = circumstances()
    console = Console(stderr=True)
    async with AsyncExitStack() as stack:
        if url is None:
            console.print("starting a shop with the demo ...")
            url = (await stack.enter_async_context(running_shop(demo=True))).base_url
        population = await population_of(url.rstrip("/"))
        measured = {}
        for scenario in scenarios(population):
            console.print(f"measuring {scenario.title} ...")
            measured[scenario.name] = await measure(scenario, url.rstrip("/"), population, seconds)
    return {"seconds": seconds, "scenarios": measured, **about}


async def population_of(url: str) -> Population:
    """All products, and the demo's users that the shop knows."""
    async with Rest(url) as rest:
        products = tuple(await rest.catalogue())
        users = [f"user_{number:03}" for number in range(1, 501)]
        answer = await rest.post("/v1/features/User:batchGet", {"ids": users, "features": ["user_purchase_count_30d"]})
    statuses = answer["columns"]["user_purchase_count_30d"]["statuses"]
    known = tuple(user for user, status in zip(users, statuses, strict=True) if status != "NOT_FOUND")
    if not products or not known:
        raise click.ClickException(f"{url} has no products, or none of the demo's users")
    return Population(known, products)


async def measure(scenario: Scenario, url: str, population: Population, seconds: float) -> dict[str, Any]:
    job = Job(url, scenario.name, population.users, population.products, seconds)
    alone = await drive(job)
    crowded = {connections: await drive(replace(job, connections=connections)) for connections in CONNECTIONS}
    rate = max(1.0, crowded[CONNECTIONS[0]]["per_second"] * LOAD)
    steady = await drive(replace(job, rate=rate, connections=CONNECTIONS[0]))
    reports = (alone, *crowded.values(), steady)
    wrong: dict[str, int] = {}
    for report in reports:
        for problem, times in report["wrong"].items():
            wrong[problem] = wrong.get(problem, 0) + times
    return {
        "title": scenario.title,
        "alone": _figures(alone, "p50_ms", "p99_ms", "per_second"),
        **{f"connections_{n}": _figures(report, "per_second", "p50_ms", "p99_ms") for n, report in crowded.items()},
        "open_loop": {"rate": round(rate, 1), **_figures(steady, "p50_ms", "p99_ms")},
        "requests": sum(report["requests"] for report in reports),
        "degraded": sum(report["degraded"] for report in reports),
        "wrong": wrong,
    }


def _figures(report: dict[str, Any], *names: str) -> dict[str, float]:
    return {name: report[name] for name in names}


async def drive(job: Job) -> dict[str, Any]:
    """Runs one job in a driver process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.driver", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate(json.dumps(asdict(job)).encode())
    if process.returncode:
        raise click.ClickException(f"the driver ended with {process.returncode}")
    report: dict[str, Any] = json.loads(output)
    return report


def table_of(result: dict[str, Any]) -> Table:
    table = Table(title=f"windowshop over REST, everything on {result['machine']['cpus']} CPUs")
    table.add_column("request")
    for heading in (
        "alone p50",
        "p99",
        "16 conn. /s",
        "64 conn. /s",
        "open loop at",
        "p50",
        "p99",
        "degraded",
        "wrong",
    ):
        table.add_column(heading, justify="right")
    for one in result["scenarios"].values():
        table.add_row(
            one["title"],
            f"{one['alone']['p50_ms']:.1f} ms",
            f"{one['alone']['p99_ms']:.1f} ms",
            f"{one['connections_16']['per_second']:.0f}",
            f"{one['connections_64']['per_second']:.0f}",
            f"{one['open_loop']['rate']:.0f}/s",
            f"{one['open_loop']['p50_ms']:.1f} ms",
            f"{one['open_loop']['p99_ms']:.1f} ms",
            f"{one['degraded']}",
            f"{sum(one['wrong'].values())} of {one['requests']}",
        )
    return table
