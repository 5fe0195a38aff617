"""`python -m bench computing`: processor time of computing from the log what a page asks of a shopper.

A log of its own with half a year of a made-up shop, and the statements of the five features that recommending asks for:
planned anew each, by kept plans, and together, one person at a time. On a busy machine processor time grows too: the
ways take turns, compare them.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import click
import uvloop

from bench import synthetic_messages
from bench.own_log import own_log
from bench.processes import cpu_seconds
from bench.results import FOLDER, circumstances, publish
from bench.synthetic import World, user_id
from services.features import definitions, transcoding
from services.features.app import clock_ms
from services.features.domain.events import Event, accept
from services.features.domain.features import Feature
from services.features.signal_ports import Signal, SignalPage
from services.features.stores import postgres
from services.features.stores.asking import instant
from services.features.stores.computing import PostgresComputer
from services.features.stores.event_log import PostgresEventLog
from services.features.stores.signals import PostgresSignals
from services.recommender.clients import USER_FEATURES

_BATCH = 2_000
_TURN = 100
"""People in one measurement."""

Way = Callable[[str], Awaitable[Any]]


@click.command()
@click.option("--products", default=2_000, show_default=True)
@click.option("--users", default=4_000, show_default=True)
@click.option("--rounds", default=9, show_default=True)
@click.option("--output", default=FOLDER / "computing.json", show_default=True, type=click.Path(path_type=Path))
def command(products: int, users: int, rounds: int, output: Path) -> None:
    """Measures processor time of computing a shopper's features."""
    about = circumstances()
    publish({"cpu_us": uvloop.run(measured(World(products, users), rounds)), "rounds": rounds, **about}, output)


async def measured(world: World, rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds of processor time for each person, by way: of PostgreSQL, and of the process that asks."""
    async with own_log() as (database, server):
        await fill(database, world)
        ways = await asked(database)
        return await in_turns(ways, world, rounds, server)


async def fill(database: postgres.Database, world: World) -> None:
    """The catalogue and the history, and what the planner knows of them."""
    now, history, log = datetime.now(UTC), world.history(), PostgresEventLog(database)
    made = synthetic_messages.products(world, 0, world.products)
    signals = [
        Signal(p.id, False, p.categories[0].split(" > ")[0], p.price, p.available_quantity, 5, None, 0, p.brand)
        for p in made
    ]
    catalogue = PostgresSignals(database)
    await catalogue.apply(SignalPage(signals, "", restart=True, caught_up=True))
    await catalogue.rank_prices(await catalogue.categories())
    for start in range(0, len(history), _BATCH):
        messages = synthetic_messages.events(world, history, now, start, min(start + _BATCH, len(history)))
        checked = [accept(transcoding.event(message), clock_ms() * 1_000, 0) for message in messages]
        events = [event for event in checked if isinstance(event, Event)]
        await log.prepare(events)
        await log.append(events)
    await database.fetch("ANALYZE")


async def asked(database: postgres.Database) -> dict[str, Way]:
    """The ways of asking."""
    declared = definitions.load()
    computer = PostgresComputer(database)
    await computer.check(list(declared.entities.values()))
    features = [declared.entities["User"].features[name] for name in USER_FEATURES]

    def way(ask: Callable[[Feature, Sequence[str], int], Awaitable[Any]]) -> Way:
        async def of(user: str) -> None:
            now_ms = clock_ms()
            await asyncio.gather(*(ask(feature, [user], now_ms) for feature in features))

        return of

    return {
        "planned anew": way(lambda feature, ids, now_ms: database.fetch(feature.sql, ids, instant(now_ms))),
        "planned once": way(lambda feature, ids, now_ms: database.fetch_planned(feature.sql, ids, instant(now_ms))),
        "planned once and together": way(computer.compute),
    }


async def in_turns(ways: dict[str, Way], world: World, rounds: int, server: int) -> dict[str, dict[str, float]]:
    samples: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(rounds + 1):  # the first one fills caches
        users = [user_id((turn * _TURN + number) % world.users) for number in range(_TURN)]
        for name, of in ways.items():
            theirs, ours = cpu_seconds(server), time.process_time()
            for user in users:
                await of(user)
            used = cpu_seconds(server) - theirs, time.process_time() - ours
            samples[name].append((used[0] / _TURN * 1e6, used[1] / _TURN * 1e6))
    return {
        name: {
            "postgres": round(median(theirs for theirs, _ in of_way[1:])),
            "own": round(median(ours for _, ours in of_way[1:])),
        }
        for name, of_way in samples.items()
    }
