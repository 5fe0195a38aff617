"""What else a shop does beside its traffic: imports, training, another index of the texts; and looks at memory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter, time
from typing import Any

import asyncpg
from windowshop_client.client import Client

from bench import synthetic_messages
from bench.kept_shop import KeptShop
from bench.loading import RejectedError, train_version
from bench.processes import memory, own_memory, usages

LOOK_SECONDS = 10.0
_IMPORTED = 5_000
"""Products, and events, of each import."""
_IMPORT_EVERY = 20.0
_VIEW = "detail-page-view"
_TRAIN_PAUSE = 5.0
_INDEX_PAUSE = 60.0
# Another index of the same texts, beside the one that serves; its name says that it may go.
_INDEX = "bench_soak_index"


@dataclass(frozen=True, slots=True)
class Look:
    """MB by process: of its own, and with what is shared."""

    second: float
    own_mb: dict[str, float]
    memory_mb: dict[str, float]


@dataclass(slots=True)
class Seen:
    """What went on meanwhile, and what was seen."""

    looks: list[Look] = field(default_factory=list)
    imports: list[float] = field(default_factory=list)
    """Seconds each; so the next two."""
    trainings: list[float] = field(default_factory=list)
    indexes: list[float] = field(default_factory=list)
    orders: list[str] = field(default_factory=list)
    """How each version orders."""
    errors: list[str] = field(default_factory=list)


@asynccontextmanager
async def everything(found: KeptShop) -> AsyncIterator[Seen]:
    """All of it, over and over while this is open."""
    seen = Seen()
    async with found.client() as client:
        others = [
            asyncio.create_task(_import(found, client, seen)),
            asyncio.create_task(_train(found, client, seen)),
            asyncio.create_task(_index(found, seen)),
            asyncio.create_task(_look(found, seen)),
        ]
        try:
            yield seen
        finally:
            for task in others:
                task.cancel()
            ended = await asyncio.gather(*others, return_exceptions=True)
            seen.errors += [repr(end) for end in ended if not isinstance(end, asyncio.CancelledError)]


async def _look(found: KeptShop, seen: Seen) -> None:
    begin = perf_counter()
    while True:
        now = usages(found.shop, found.postgres)
        seen.looks.append(Look(round(perf_counter() - begin, 1), own_memory(now), memory(now)))
        await asyncio.sleep(LOOK_SECONDS)


async def _import(found: KeptShop, client: Client, seen: Seen) -> None:
    """Products with other prices, and looks at products of now, up to three times a minute."""
    world, history, run, stamp = found.world, found.world.history(), 0, round(time())
    while True:
        run += 1
        with _noted(seen, seen.imports):
            start = (run * _IMPORTED) % max(1, world.products - _IMPORTED)
            products = synthetic_messages.products(world, start, min(start + _IMPORTED, world.products))
            for product in products:
                product.price = round(product.price * (1 + run % 7 / 100), 2)
            await client.import_products(products[first : first + 500] for first in range(0, len(products), 500))
            first = (run * _IMPORTED) % max(1, len(history) - _IMPORTED)
            now = datetime.now(UTC)
            events = list(synthetic_messages.events(world, history, now, first, first + _IMPORTED))
            for number, event in enumerate(events):
                event.event_id = f"soak{stamp}.{run}.{number}"
                # Not bought again: the newest weeks would teach that everybody buys what they bought, which reciprocal
                # ranks say as well as a ranker; and pages without one are others: live features, and never remembered.
                event.event_type = _VIEW
                event.event_time.FromDatetime(now)
            await client.import_events(events[place : place + 500] for place in range(0, _IMPORTED, 500))
        await asyncio.sleep(_IMPORT_EVERY)


async def _train(found: KeptShop, client: Client, seen: Seen) -> None:
    """One version after the other: read, learned, stored, indexed, loaded, and served unless the one before is better:
    on the same log, that is a matter of chance."""
    while True:
        with _noted(seen, seen.trainings), contextlib.suppress(RejectedError):
            lineage = (await train_version(found, client))["lineage"]
            seen.orders.append(lineage.get("ranker_anything") or lineage.get("ranker", ""))
        await asyncio.sleep(_TRAIN_PAUSE)


async def _index(found: KeptShop, seen: Seen) -> None:
    """Another index of the texts, again and again, as a change of its parameters would build it."""
    async with _connection(found) as connection:
        while True:
            with _noted(seen, seen.indexes):
                await connection.execute(
                    f"CREATE INDEX CONCURRENTLY {_INDEX} ON text_embeddings"
                    " USING hnsw (text_embedding halfvec_cosine_ops) WITH (m = 8, ef_construction = 64)"
                )
            with _noted(seen):
                await connection.execute(f"DROP INDEX IF EXISTS {_INDEX}")
            await asyncio.sleep(_INDEX_PAUSE)


@asynccontextmanager
async def _connection(found: KeptShop) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(found.postgres.dsn("recommender"))
    try:
        # What fits there is built at once; the rest goes in one by one, which takes many times as long.
        await connection.execute("SET max_parallel_maintenance_workers = 0; SET maintenance_work_mem = '256MB'")
        yield connection
    finally:
        connection.terminate()
        cleaner = await asyncpg.connect(found.postgres.dsn("recommender"))
        try:
            await cleaner.execute(f"DROP INDEX IF EXISTS {_INDEX}")
        finally:
            await cleaner.close()


@contextlib.contextmanager
def _noted(seen: Seen, took: list[float] | None = None) -> Iterator[None]:
    """Seconds of what was done; what fails is told at the end, and the rest goes on."""
    begin = perf_counter()
    try:
        yield
    except Exception as error:  # whatever it was: the others are to go on
        seen.errors.append(f"{type(error).__name__}: {error}"[:200])
    else:
        if took is not None:
            took.append(round(perf_counter() - begin, 1))
