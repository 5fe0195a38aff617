"""Minutes of traffic beside everything else that a shop does: what memory does, and how long event loops stall.

Beside the recommendations and views of the open loop: products and events are imported, a version is trained, loaded
and indexed, the index of another version of the texts is built, and the worker refreshes what is due all the time.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from time import perf_counter, time
from typing import Any

import aiohttp
import asyncpg
import click
from windowshop_client.client import Client
from windowshop_client.errors import WindowshopError

from bench import synthetic_messages
from bench.kept_shop import KeptShop
from bench.loading import say, train_version
from bench.processes import memory, usages
from bench.recommend_driver import Outcome

LOOK_SECONDS = 30.0
_OPS = {
    "gateway": "GATEWAY_OPS_PORT",
    "features": "FEATURES_OPS_PORT",
    "worker": "FEATURES_WORKER_OPS_PORT",
    "recommender": "RECOMMENDER_OPS_PORT",
}
_LAG = "windowshop_loop_lag_seconds"
_STALLS = "windowshop_loop_stalls_total"
_IMPORTED = 5_000
"""Products, and events, of each import."""
_IMPORT_EVERY = 20.0
# Another index of the same texts, beside the one that serves; its name says that it may go.
_INDEX = "bench_soak_index"


@dataclass(slots=True)
class Seen:
    """What went on meanwhile, and what was seen."""

    memory_mb: list[dict[str, float]] = field(default_factory=list)
    imports: int = 0
    trainings: list[float] = field(default_factory=list)
    """Seconds each."""
    indexes: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


async def soak(found: KeptShop, seconds: float, drive: Callable[[], Awaitable[Outcome]]) -> dict[str, Any]:
    """`drive` is the traffic; it ends after `seconds` by itself."""
    seen = Seen()
    before = await lags(found)
    async with found.client() as client:
        others = [
            asyncio.create_task(_import(found, client, seen)),
            asyncio.create_task(_train(found, client, seen)),
            asyncio.create_task(_index(found, seen)),
            asyncio.create_task(_look(found, seen)),
        ]
        try:
            outcome = await drive()
        finally:
            for task in others:
                task.cancel()
            ended = await asyncio.gather(*others, return_exceptions=True)
    seen.errors += [repr(end) for end in ended if not isinstance(end, asyncio.CancelledError)]
    seen.memory_mb.append(memory(usages(found.shop, found.postgres)))
    after = await lags(found)
    first, last = seen.memory_mb[0], seen.memory_mb[-1]
    names = sorted({*first, *last})
    for name, lag in after.items():
        say(f"{name}: {since(before[name], lag)}")
    for name in names:
        say(f"{name}: {first.get(name, 0.0):.0f} MB, at the end {last.get(name, 0.0):.0f}")
    return {
        "seconds": seconds,
        "loops": {name: since(before[name], after[name]) for name in after},
        "grown_mb": {name: round(last.get(name, 0.0) - first.get(name, 0.0), 1) for name in names},
        "traffic": asdict(outcome),
        **asdict(seen),
    }


async def _look(found: KeptShop, seen: Seen) -> None:
    while True:
        seen.memory_mb.append(memory(usages(found.shop, found.postgres)))
        await asyncio.sleep(LOOK_SECONDS)


async def _import(found: KeptShop, client: Client, seen: Seen) -> None:
    """Products with other prices, and events of now, three times a minute."""
    world, history, run, stamp = found.world, found.world.history(), 0, round(time())
    while True:
        run += 1
        start = (run * _IMPORTED) % max(1, world.products - _IMPORTED)
        with _noted(seen):
            products = synthetic_messages.products(world, start, start + _IMPORTED)
            for product in products:
                product.price = round(product.price * (1 + run % 7 / 100), 2)
            await client.import_products(products[first : first + 500] for first in range(0, _IMPORTED, 500))
            first = (run * _IMPORTED) % max(1, len(history) - _IMPORTED)
            now = datetime.now(UTC)
            events = list(synthetic_messages.events(world, history, now, first, first + _IMPORTED))
            for number, event in enumerate(events):
                event.event_id = f"soak{stamp}.{run}.{number}"
                event.event_time.FromDatetime(now)
            await client.import_events(events[place : place + 500] for place in range(0, _IMPORTED, 500))
            seen.imports += 1
        await asyncio.sleep(_IMPORT_EVERY)


async def _train(found: KeptShop, client: Client, seen: Seen) -> None:
    """One version after the other: read, learned, stored, indexed, loaded, served."""
    while True:
        begin = perf_counter()
        with _noted(seen):
            await train_version(found, client)
            seen.trainings.append(round(perf_counter() - begin, 1))
        await asyncio.sleep(5)


async def _index(found: KeptShop, seen: Seen) -> None:
    """Another index of the texts, again and again, as a change of its parameters would build it."""
    async with _connection(found) as connection:
        while True:
            begin = perf_counter()
            with _noted(seen):
                await connection.execute(
                    f"CREATE INDEX CONCURRENTLY {_INDEX} ON text_embeddings"
                    " USING hnsw (text_embedding halfvec_cosine_ops) WITH (m = 8, ef_construction = 64)"
                )
                seen.indexes.append(round(perf_counter() - begin, 1))
            await connection.execute(f"DROP INDEX IF EXISTS {_INDEX}")
            await asyncio.sleep(60)


@asynccontextmanager
async def _connection(found: KeptShop) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(found.postgres.dsn("recommender"))
    try:
        await connection.execute("SET max_parallel_maintenance_workers = 0")
        yield connection
    finally:
        connection.terminate()
        cleaner = await asyncpg.connect(found.postgres.dsn("recommender"))
        try:
            await cleaner.execute(f"DROP INDEX IF EXISTS {_INDEX}")
        finally:
            await cleaner.close()


@contextlib.contextmanager
def _noted(seen: Seen) -> Any:
    """What fails is told at the end, and the rest goes on."""
    try:
        yield
    except (WindowshopError, asyncpg.PostgresError, click.ClickException) as error:
        seen.errors.append(f"{type(error).__name__}: {error}"[:200])


@dataclass(frozen=True, slots=True)
class Lags:
    """Of one process, counted since it started."""

    buckets: dict[float, float]
    """Upper bound in seconds -> looks at the loop that came no later; infinity: all."""
    stalls: dict[str, float]
    """Who had the processor -> looks that came more than 20 ms late."""


async def lags(found: KeptShop) -> dict[str, Lags]:
    """By process."""
    read = {}
    async with aiohttp.ClientSession() as session:
        for name, port in _OPS.items():
            async with session.get(f"http://127.0.0.1:{found.shop.ports[port]}/metrics") as answer:
                text = await answer.text()
            buckets = {float(label): value for label, value in samples(text, f"{_LAG}_bucket", "le").items()}
            read[name] = Lags(buckets, samples(text, _STALLS, "holder"))
    return read


def samples(text: str, name: str, label: str) -> dict[str, float]:
    """Of a metric with one label in an exposition, by its value."""
    return {
        line.partition(f'{label}="')[2].partition('"')[0]: float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith(name + "{")
    }


def since(before: Lags, after: Lags) -> dict[str, Any]:
    """Looks, stalls of more than 20 ms by who had the processor, and the upper bound of the greatest lag's bucket."""
    grown = {bound: count - before.buckets.get(bound, 0.0) for bound, count in after.buckets.items()}
    looks = max(grown.values(), default=0.0)
    late = {holder: round(count - before.stalls.get(holder, 0.0)) for holder, count in after.stalls.items()}
    greatest = min((bound for bound, count in grown.items() if count >= looks), default=0.0)
    return {"looks": round(looks), "stalls": late, "greatest_ms_at_most": greatest * 1_000}
