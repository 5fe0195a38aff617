"""`python -m bench soak`: minutes of traffic beside everything else that a shop does: tails, stalls, memory.

Products and events are imported, versions are trained, loaded and switched to, another index of the texts is built,
and the worker refreshes what is due. Beside that a short closed loop finds the most that the machine has left for
pages, and the traffic is the open loop of `bench recommend` at half of it: whatever a machine can, it is busy and not
beyond itself.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bench.kept_shop import kept_shop
from bench.lags import lags, since, slope
from bench.loading import Sizes, say
from bench.recommend_runs import Bench, Plan
from bench.results import FOLDER, circumstances, publish
from bench.soak_beside import Look, Seen, everything

SHARE = 0.5
"""Of the most beside everything else, at which it is asked."""
_UNDER_WAY_SECONDS = 10.0
"""Until a version is being learned: its rows were read then."""
_SETTLED, _END = 0.25, 0.75
"""Parts of the time: after the first what is lazy is filled; after the second what remembers something is full, too."""
OWN = ("loop", "threads")
"""Holders of a loop that are our own doing."""


@click.command()
@click.option("--products", default=100_000, show_default=True)
@click.option("--users", default=200_000, show_default=True)
@click.option("--seconds", default=600.0, show_default=True)
@click.option("--rate", type=float, help="Recommendations a second; left out: half of what a closed loop gets.")
@click.option("--connections", default=16, show_default=True, help="Of the closed loop.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="A folder that is kept, as of `bench recommend`.",
)
@click.option("--output", default=FOLDER / "soak.json", show_default=True, type=click.Path(path_type=Path))
def command(
    products: int,
    users: int,
    seconds: float,
    rate: float | None,
    connections: int,
    data: Path | None,
    output: Path,
) -> None:
    """Measures a shop of its own under everything at once, started for it and stopped.

    Exits 1 on a wrong answer, on anything beside the traffic that failed, and when more than 1 % of the answers are
    degraded.
    """
    # Of the closed loop, which is short.
    plan = Plan(Sizes(products, users), 15.0, connections, 1, data)
    result = asyncio.run(run(plan, seconds, rate))
    publish(result, output)
    for complaint in result["complaints"]:
        print(complaint, file=sys.stderr)
    sys.exit(1 if result["complaints"] else 0)


async def run(plan: Plan, seconds: float, rate: float | None) -> dict[str, Any]:
    about = circumstances()
    async with kept_shop(plan.data, plan.sizes, ranked=False) as found:
        bench = Bench(found, plan, ranked=False)
        await bench.warm_up()
        alone = (await bench.top())["per_second"]
        async with everything(found) as seen:
            await asyncio.sleep(_UNDER_WAY_SECONDS)
            most = (await bench.top())["per_second"]
            rate = rate or round(most * SHARE, 1)
            say(f"{rate:g} recommendations a second beside everything else, {seconds:g} s ...")
            before = await lags(found)
            outcome = await bench.drive(rate=rate, seconds=seconds)
            after = await lags(found)
    loops = {name: since(before[name], lag) for name, lag in after.items()}
    result = {
        "seconds": seconds,
        "products": plan.sizes.products,
        "users": plan.sizes.users,
        "most_alone_per_second": alone,
        "most_per_second": most,
        "rate": rate,
        "p50_ms": outcome.p50_ms,
        "p99_ms": outcome.p99_ms,
        "own_stalls": sum(lag["stalls"].get(holder, 0) for lag in loops.values() for holder in OWN),
        "mb_per_minute": growth(seen.looks),
        "mb_per_minute_at_the_end": growth(seen.looks, _END),
        "loops": loops,
        "traffic": asdict(outcome),
        **asdict(seen),
        "complaints": [*bench.complaints({}), *seen.errors],
        **about,
    }
    _print(result, seen)
    return result


def growth(looks: Sequence[Look], after: float = _SETTLED) -> dict[str, float]:
    """MB a minute of each process's own memory after this part of the time; what comes and goes is left out."""
    settled = [look for look in looks if look.second >= looks[-1].second * after] if looks else []
    names = set.intersection(*(set(look.own_mb) for look in settled)) - {"training"} if settled else set[str]()
    return {
        name: round(slope([(look.second / 60, look.own_mb[name]) for look in settled]), 3) for name in sorted(names)
    }


def _print(result: Mapping[str, Any], seen: Seen) -> None:
    console = Console(width=150)
    traffic = result["traffic"]
    console.print(
        f"{traffic['requests']:,} pages at {result['rate']:g} a second (most {result['most_per_second']:.0f},"
        f" alone {result['most_alone_per_second']:.0f}):"
        f" p50 {traffic['p50_ms']:.1f}, p99 {traffic['p99_ms']:.1f}, greatest {traffic['max_ms']:.0f} ms,"
        f" {traffic['degraded']} degraded, {sum(traffic['errors'].values())} failed; beside them"
        f" {len(seen.imports)} imports, {len(seen.trainings)} versions and {len(seen.indexes)} indexes;"
        f" orders: {', '.join(seen.orders)}"
    )
    table = Table(title="event loops that came more than 20 ms late, by who had the processor; memory")
    for heading in (
        "process",
        "looks",
        "loop",
        "threads",
        "outside",
        "greatest, at most ms",
        "MB",
        "own MB a minute",
        "at the end",
    ):
        table.add_column(heading, justify="left" if heading == "process" else "right")
    sizes = seen.looks[-1].memory_mb if seen.looks else {}
    for name in sorted({*result["loops"], *sizes}):
        lag = result["loops"].get(name)
        stalls = [str(lag["stalls"].get(holder, 0)) for holder in (*OWN, "outside")] if lag else [""] * 3
        looks, greatest = (f"{lag['looks']}", f"{lag['greatest_ms_at_most']:g}") if lag else ("", "")
        grown = [result[key].get(name) for key in ("mb_per_minute", "mb_per_minute_at_the_end")]
        slopes = ["" if one is None else f"{one:+.2f}" for one in grown]
        table.add_row(name, looks, *stalls, greatest, f"{sizes.get(name, 0.0):.0f}", *slopes)
    console.print(table)
