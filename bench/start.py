"""`python -m bench start`: how long `make run` takes with data present, and each of our processes in it.

The four of them start at once, on the cores on which the stores have just begun: what a process takes here is more
than it takes alone. Processor time tells what it costs wherever it runs, and how busy the machine was; how much of that
are imports is told by processes that do nothing else.
"""

import asyncio
import re
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bench.processes import name_of, usage_of
from bench.results import FOLDER, circumstances, publish
from tests.support.shop import Shop

# What the supervisor says of each part on its way.
_STEP = re.compile(r"^(\S+): (\d+\.\d) s$", re.MULTILINE)
_IMPORTS = {
    "recommender": "services.recommender.app",
    "features": "services.features.app",
    "worker": "services.features.app",
    "gateway": "gateway.app",
    "supervisor": "deploy.local.app",
}
# The supervisor's name of a process, by that of its processor time.
_PARTS = {"worker": "features-worker", "postgres itself": "postgres"}
# Seconds. The demo trains a model, on a machine that others use too.
_PATIENCE = 1_200.0


@click.command()
@click.option("--rounds", default=5, show_default=True)
@click.option(
    "--data", type=click.Path(path_type=Path), help="A data folder of `make run`; left out: the demo's, made."
)
@click.option("--output", default=FOLDER / "start.json", show_default=True, type=click.Path(path_type=Path))
def command(rounds: int, data: Path | None, output: Path) -> None:
    """Measures `make run` with data present."""
    about = circumstances()
    result = {**asyncio.run(measured(rounds, data)), "rounds": rounds, **about}
    Console(width=100).print(table_of(result))
    publish(result, output)


async def measured(rounds: int, data: Path | None) -> dict[str, Any]:
    """Medians: seconds until ready, of each part, and of processor time of each process by then."""
    with TemporaryDirectory(prefix="start-") as temporary:
        shop = Shop(data or Path(temporary) / "data", demo=True)
        try:
            await shop.start(_PATIENCE)
            starts = [await _started(shop) for _ in range(rounds)]
        finally:
            await shop.stop()
    return {
        "ready_s": round(median(ready for ready, _, _ in starts), 2),
        "part_s": _medians([parts for _, parts, _ in starts]),
        "cpu_s": _medians([cpu for _, _, cpu in starts]),
        "imports_cpu_s": _medians(
            [{name: _import_cpu(module) for name, module in _IMPORTS.items()} for _ in range(rounds)]
        ),
    }


def _import_cpu(module: str) -> float:
    """Seconds of processor time of a process that imports it, the interpreter's own start included."""
    code = f"import time, {module}; print(time.process_time())"
    return float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


async def _started(shop: Shop) -> tuple[float, dict[str, float], dict[str, float]]:
    await shop.stop()
    said = len(shop.output)
    began = time.perf_counter()
    await shop.start()
    ready = time.perf_counter() - began
    parts = {name: float(seconds) for name, seconds in _STEP.findall(shop.output[said:])}
    cpu: dict[str, float] = {}
    for pid, line in shop.processes().items():
        usage = usage_of(pid, name_of(line))
        if usage is not None and usage.name != "other":  # this one, which names the folder too
            cpu[usage.name] = cpu.get(usage.name, 0.0) + usage.cpu_seconds
    return ready, parts, cpu


def _medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    names = sorted(set[str]().union(*rounds))
    return {name: round(median(one.get(name, 0.0) for one in rounds), 2) for name in names}


def table_of(result: dict[str, Any]) -> Table:
    table = Table(title=f"ready after {result['ready_s']:.1f} s, median of {result['rounds']} starts")
    for heading in ("process", "ready after, s", "processor time, s", "of that imports, s"):
        table.add_column(heading, justify="left" if heading == "process" else "right")
    for name, cpu in sorted(result["cpu_s"].items(), key=lambda one: -one[1]):
        seconds = (result["part_s"].get(_PARTS.get(name, name)), cpu, result["imports_cpu_s"].get(name))
        table.add_row(name, *("" if one is None else f"{one:.2f}" for one in seconds))
    table.add_row("all", f"{result['ready_s']:.2f}", f"{sum(result['cpu_s'].values()):.2f}")
    return table
