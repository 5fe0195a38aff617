"""`python -m bench remembered`: what a page costs each process whose order is remembered, and one that is made.

The same people ask for the same page in turns, once plainly and once with a product excluded that is not there: such
requests are never remembered, and all else about them is the same. Nobody views anything meanwhile. Both come at the
same rate, so that what processes cost at rest is the same part of both.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from statistics import median
from typing import Any

import click
import msgspec

from bench.kept_shop import KeptShop, kept_shop
from bench.loading import Sizes, say
from bench.loops import paced
from bench.processes import cpu_between, usages
from bench.results import FOLDER, circumstances, publish
from bench.synthetic import user_id
from bench.wire import Pool, WireError, request

_PATH = "/v1/servingConfigs/recommended-for-you:recommend"
_EXCLUDED = {"found": [], "made": ["nothing"]}


@click.command()
@click.option("--products", default=100_000, show_default=True)
@click.option("--users", default=200_000, show_default=True)
@click.option("--seconds", default=8.0, show_default=True, help="Of each measurement.")
@click.option("--rate", default=40.0, show_default=True, help="Pages a second; the machine must bear them.")
@click.option("--rounds", default=3, show_default=True, help="Each measurement so often; medians are given.")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="As of `bench recommend`.")
@click.option("--output", default=FOLDER / "remembered.json", show_default=True, type=click.Path(path_type=Path))
def command(
    products: int, users: int, seconds: float, rate: float, rounds: int, data: Path | None, output: Path
) -> None:
    """Measures the processor time of pages whose order is remembered beside that of pages that are made."""
    about = circumstances()
    spent = asyncio.run(_measure(data, Sizes(products, users), seconds, rate, rounds))
    publish({"cpu_ms_per_page": spent, **about}, output)


async def _measure(data: Path | None, sizes: Sizes, seconds: float, rate: float, rounds: int) -> dict[str, Any]:
    async with kept_shop(data, sizes) as found:
        every: dict[str, list[dict[str, float]]] = {kind: [] for kind in _EXCLUDED}
        people = cycle(range(max(1, round(rate * seconds / 4))))
        for number in range(rounds + 1):
            for kind in ("made", "found"):
                # Everybody twice, for the first pages of a turn are made.
                await _ask(found, kind, seconds / 2, rate, people)
                before = usages(found.shop, found.postgres)
                pages, failed = await _ask(found, kind, seconds, rate, people)
                spent = cpu_between(before, usages(found.shop, found.postgres))
                cost = {name: round(used * 1_000 / max(1, pages), 3) for name, used in spent.items()}
                say(f"{kind}: {pages} pages, {failed} failed, {cost}")
                if number:
                    every[kind].append(cost)
    return {
        kind: {name: median(cost.get(name, 0.0) for cost in costs) for name in costs[0]}
        for kind, costs in every.items()
    }


async def _ask(found: KeptShop, kind: str, seconds: float, rate: float, people: Iterator[int]) -> tuple[int, int]:
    """How many pages were answered, and how many were refused or late."""
    count, good = round(rate * seconds), 0
    async with Pool.opened(found.shop.ports["GATEWAY_PORT"], 8) as pool:

        async def ask(_number: int, _start: float) -> None:
            nonlocal good
            asked = {"userId": user_id(next(people)), "excludeProductIds": _EXCLUDED[kind]}
            with contextlib.suppress(WireError):
                status, _content = await pool.ask(request("POST", _PATH, msgspec.json.encode(asked)))
                good += status == 200

        await paced(rate, count, ask)
    return good, count - good
