"""`python -m bench features`: feature reads of windowshop beside Fabra and Feast, in one run, in turns."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from windowshop_client.client import connect

from bench import shopping, wrk
from bench.beside import difference
from bench.beside_driver import Outcome, Task
from bench.peers.running import Values, install, installed_versions, running_fabra, running_feast
from bench.processes import names
from bench.results import FOLDER, circumstances, publish
from bench.scenarios import BATCH, PRODUCT_FEATURES, USER_FEATURES
from deploy.local.valkey import Valkey
from tests.support.shop import Rest, free_ports, running_shop

SYSTEMS = ("windowshop", "fabra", "feast")
PEERS = SYSTEMS[1:]
OPEN_RATE = 100.0
"""Requests a second of the open loop, the same for all; the slower peer can do it alone on the machine."""
WORKERS = os.cpu_count() or 1
"""Processes of a peer: all may use every core, as our processes do."""
_PAGE = 500

say = Console(stderr=True).print


@dataclass(frozen=True, slots=True)
class Trial:
    """One kind of measurement."""

    name: str
    title: str
    many: bool
    connections: int
    rate: float | None = None
    again: bool = True


TRIALS = (
    Trial("one_1", "one user, 1 connection", False, 1),
    Trial("one_16", "one user, 16 connections", False, 16),
    Trial("one_64", "one user, 64 connections", False, 64),
    Trial("one_open", f"one user, open loop at {OPEN_RATE:g}/s", False, 64, OPEN_RATE),
    Trial("many_1", f"{BATCH} products, 1 connection", True, 1),
    Trial("many_16", f"{BATCH} products, 16 connections", True, 16),
    Trial("many_1_new", f"{BATCH} products, 1 connection, each list once", True, 1, again=False),
)

Figures = dict[str, dict[str, dict[str, Any]]]
"""Trial -> system -> medians of the rounds, and sums of requests and errors."""


@click.command()
@click.option("--users", default=5_000, show_default=True)
@click.option("--products", default=2_000, show_default=True)
@click.option("--seconds", default=3.0, show_default=True, help="Of each measurement.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--output", default=FOLDER / "features.json", show_default=True, type=click.Path(path_type=Path))
def command(users: int, products: int, seconds: float, rounds: int, output: Path) -> None:
    """Measures windowshop, Fabra and Feast with the same values; installs the peers under bench/.venvs first."""
    if not wrk.ensure():
        say(wrk.INSTALL)
    for peer in PEERS:
        say(f"{peer}: an environment of its own ...")
        install(peer)
    result = asyncio.run(run(users, products, seconds, rounds))
    for table in (table_of(result["figures"]), cost_of(result["figures"])):
        Console(width=140).print(table)
    publish(result, output)
    complaints = complaints_about(result["figures"])
    if complaints:
        raise click.ClickException("figures of a bad run: " + "; ".join(complaints))


def complaints_about(figures: Figures) -> list[str]:
    """A wrong answer of ours, and a system without a right one; peers' errors are told in the table."""
    return [
        f"{trial}: {system} had {one['errors'] or 'no answers'}"
        for trial, systems in figures.items()
        for system, one in systems.items()
        if one["per_second"] == 0 or (system == "windowshop" and one["errors"])
    ]


async def run(users: int, products: int, seconds: float, rounds: int) -> dict[str, Any]:
    about = circumstances()
    async with running_systems(users, products) as (ports, values, watched):
        outcomes: dict[tuple[str, str], list[Outcome]] = {}
        for turn in range(rounds):
            for trial in TRIALS:
                # each begins a turn as often as the others
                for system in SYSTEMS[turn % len(SYSTEMS) :] + SYSTEMS[: turn % len(SYSTEMS)]:
                    known = values["Product" if trial.many else "User"]
                    task = Task(
                        system,
                        ports[system],
                        trial.many,
                        dict(known),  # type: ignore[arg-type] # its inner mappings are dicts
                        seconds,
                        trial.connections,
                        trial.rate,
                        trial.again,
                        names(*watched[system]),
                    )
                    outcome = await drive(task)
                    say(f"{turn + 1}/{rounds} {trial.title}: {system} {outcome}")
                    outcomes.setdefault((trial.name, system), []).append(outcome)
    figures: Figures = {
        trial.name: {system: summary(outcomes[trial.name, system]) for system in SYSTEMS} for trial in TRIALS
    }
    return {
        **ratios(figures),
        "figures": figures,
        "peers": {peer: installed_versions(peer) for peer in PEERS},
        "peer_processes": WORKERS,
        "users": users,
        "products": products,
        "seconds": seconds,
        "rounds": rounds,
        **about,
        "load_1m_after": round(os.getloadavg()[0], 2),
    }


def summary(outcomes: list[Outcome]) -> dict[str, Any]:
    """Medians over the rounds."""
    errors: dict[str, int] = {}
    for outcome in outcomes:
        for problem, times in outcome.errors.items():
            errors[problem] = errors.get(problem, 0) + times
    return {
        "per_second": round(median(outcome.per_second for outcome in outcomes), 1),
        "p50_ms": round(median(outcome.p50_ms for outcome in outcomes), 2),
        "p99_ms": round(median(outcome.p99_ms for outcome in outcomes), 2),
        "driver": outcomes[0].driver,
        "checked": sum(outcome.checked for outcome in outcomes),
        "requests": sum(outcome.requests for outcome in outcomes),
        "errors": errors,
        "cpu_us": medians([outcome.cpu_us for outcome in outcomes]),
    }


def medians(costs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """By process; not there is 0."""
    found = {name for cost in costs for name in cost}
    return {name: round(median(cost.get(name, 0.0) for cost in costs), 3) for name in sorted(found)}


def ratios(figures: Figures) -> dict[str, float]:
    """Ours to the better peer's: of rates more is better, of latencies less. 0: no peer gave a right answer."""

    def of(trial: str, what: str) -> float:
        ours = figures[trial]["windowshop"][what]
        theirs = [figures[trial][peer][what] for peer in PEERS if figures[trial][peer]["per_second"] > 0]
        if not theirs:
            return 0.0
        return round(float(ours / (max(theirs) if what == "per_second" else min(theirs))), 3)

    return {
        "ratio_rps_64": of("one_64", "per_second"),
        "ratio_p99_64": of("one_64", "p99_ms"),
        "ratio_p50_1": of("one_1", "p50_ms"),
        "ratio_batch200": of("many_1", "per_second"),
        "ratio_batch200_new": of("many_1_new", "per_second"),
        "ratio_rps_16": of("one_16", "per_second"),
        "ratio_batch200_16": of("many_16", "per_second"),
        "ratio_p99_open": of("one_open", "p99_ms"),
    }


@asynccontextmanager
async def running_systems(
    users: int, products: int
) -> AsyncIterator[tuple[dict[str, int], Values, dict[str, list[int]]]]:
    """Every system's port, the values that all of them serve, and each one's processes that have no parent here."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="peers-")))
        say("starting a shop ...")
        shop = await stack.enter_async_context(running_shop(demo=False))
        await _fill(shop.features_address, shop.recommender_address, users, products)
        values = await _values(shop.base_url, users, products)
        redis_port, fabra, feast = free_ports(3)
        valkey = Valkey(folder / "valkey", redis_port, log=folder / "valkey.log")
        await valkey.start()
        stack.push_async_callback(valkey.stop)
        watched = {"windowshop": list(shop.processes())}
        for peer, port, running in (("fabra", fabra, running_fabra), ("feast", feast, running_feast)):
            say(f"starting {peer} ...")
            (folder / peer).mkdir()
            pid = await stack.enter_async_context(running(folder / peer, port, redis_port, values, WORKERS))
            watched[peer] = [pid, valkey.child.pid]
        yield {"windowshop": shop.ports["GATEWAY_PORT"], "fabra": fabra, "feast": feast}, values, watched


async def _fill(features: str, recommender: str, users: int, products: int) -> None:
    catalogue = shopping.catalogue(products)
    history = shopping.history(users, products, datetime.now(UTC))
    async with connect(features=features, recommender=recommender) as client:
        await client.import_products(catalogue[start : start + _PAGE] for start in range(0, products, _PAGE))
        await client.import_events(history[start : start + _PAGE] for start in range(0, len(history), _PAGE))


async def _values(url: str, users: int, products: int) -> Values:
    """What windowshop serves once four readings, seconds apart, agree; every value has evidence by then."""
    wanted = (
        ("User", [shopping.user_id(n) for n in range(users)], USER_FEATURES),
        ("Product", [shopping.product_id(n) for n in range(products)], PRODUCT_FEATURES),
    )
    last: dict[str, dict[str, dict[str, Any]]] = {}
    async with Rest(url) as rest:
        agreeing = 0
        for _ in range(60):
            now: dict[str, dict[str, dict[str, Any]]] = {}
            statuses: set[str] = set()
            for entity, ids, features in wanted:
                rows = now.setdefault(entity, {})
                for start in range(0, len(ids), _PAGE):
                    page = ids[start : start + _PAGE]
                    answer = await rest.post(f"/v1/features/{entity}:batchGet", {"ids": page, "features": features})
                    columns = answer["columns"]
                    for column in columns.values():
                        statuses.update(column["statuses"])
                    for place, one in enumerate(page):
                        rows[one] = {name: columns[name]["values"][place] for name in features}
            agreeing = agreeing + 1 if statuses == {"PRESENT"} and _same(now, last) else 0
            if agreeing == 3:  # what the worker still has to compute is served as it was until then
                return now
            last = now
            await asyncio.sleep(2)
    raise click.ClickException(f"the shop's values do not settle: {statuses}")


def _same(now: Values, last: Values) -> bool:
    """Whether two readings agree, as a check of an answer has it: what decays is read at another instant."""
    return all(
        entity in last and row_id in last[entity] and not difference(row, last[entity][row_id])
        for entity, rows in now.items()
        for row_id, row in rows.items()
    )


async def drive(task: Task) -> Outcome:
    """Runs one task in a driver process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.beside_driver", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate(msgspec.json.encode(task))
    if process.returncode:
        raise click.ClickException(f"the driver ended with {process.returncode}")
    return msgspec.json.decode(output, type=Outcome)


def table_of(figures: Figures) -> Table:
    table = Table(title="per second / p50 ms / p99 ms, medians of the rounds; wrong or failed requests in brackets")
    table.add_column("request")
    for system in SYSTEMS:
        table.add_column(system, justify="right")
    for trial in TRIALS:
        cells = []
        for system in SYSTEMS:
            one = figures[trial.name][system]
            failed = f" [{sum(one['errors'].values())}]" if one["errors"] else ""
            cells.append(f"{one['per_second']:.0f} / {one['p50_ms']:.1f} / {one['p99_ms']:.1f}{failed}")
        table.add_row(trial.title, *cells)
    return table


def cost_of(figures: Figures) -> Table:
    """Where the time of an answer goes."""
    table = Table(title="processor time of an answer, microseconds, medians of the rounds")
    for heading in ("request", "system", "by process", "all"):
        table.add_column(heading, justify="right" if heading == "all" else "left")
    for trial in TRIALS:
        for system in SYSTEMS:
            cost = figures[trial.name][system]["cpu_us"]
            # What has less than a hundredth takes part in nothing.
            parts = sorted(((n, us) for n, us in cost.items() if us > cost["all"] / 100), key=lambda part: -part[1])
            text = ", ".join(f"{name} {us:.0f}" for name, us in parts if name != "all")
            table.add_row(trial.title if system == SYSTEMS[0] else "", system, text, f"{cost.get('all', 0.0):.0f}")
    return table
