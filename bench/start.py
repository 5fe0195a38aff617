"""`python -m bench start`: how long `make run` takes with data present, and each of our processes in it.

The four of them start at once, on the cores on which the stores have just begun: what a process takes here is more
than it takes alone. Processor time tells what it costs wherever it runs, and how busy the machine was.
"""

import asyncio
import re
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click

from bench.processes import name_of, usage_of
from bench.results import FOLDER, circumstances, publish
from tests.support.shop import Shop

# What the supervisor says of each part on its way.
_STEP = re.compile(r"^(\S+): (\d+\.\d) s$", re.MULTILINE)
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
    publish({**asyncio.run(measured(rounds, data)), "rounds": rounds, **about}, output)


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
    }


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
