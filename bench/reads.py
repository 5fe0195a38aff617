"""`python -m bench reads`: processor time of a read within the feature server, without the calls that bring it there.

The server's own parts run in this process on a Valkey of their own; whatever is asked for is stored and good, and a
read that would ask the log fails. On a busy machine processor time grows too, up to twice: compare runs in turns.
"""

import itertools
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import click
import uvloop
from windowshop.features.v1 import features_pb2 as pb

from bench.results import FOLDER, circumstances, publish
from bench.scenarios import PRODUCT_FEATURES, USER_FEATURES
from deploy.local.valkey import Valkey
from services.features import definitions, transcoding
from services.features.app import clock_ms
from services.features.domain.features import KNOWN, NO_TOKEN, Entry, Feature, FeatureType, OnEvent, Table, Value
from services.features.level_ports import Greatest
from services.features.marking import Marker
from services.features.maxima import Maxima
from services.features.ports import Pending
from services.features.reading import Reader
from services.features.servicer import FeatureServicer
from services.features.stores import redis_cluster
from services.features.stores.online import RedisOnlineStore
from services.recommender.clients import USER_FEATURES as SHOPPER_FEATURES
from tests.support.stack import free_port

USERS, PRODUCTS = 2_000, 2_000
HISTORIES = {"few": 40, "many": 2_000}
"""Rows of a purchase history: somebody's, and the longest that is kept."""
_DAY = 86_400_000
_GREATEST = 500.0
_SECONDS = 0.2
"""Of processor time, of one measurement."""
_NEW = 5_000
"""Lists of products that come again so late that nothing made of them as lists is there any more."""

Call = Callable[[], Awaitable[Any]]


class Shop:
    """In the place of the log, the queue and the levels: what is stored is the newest there is."""

    level: float | None = None

    async def pending(self, entity: str, now_ms: int) -> Pending:
        return Pending(None, 1)

    async def greatest(self, feature: Feature, cursor: int | None) -> Greatest:
        return Greatest(True, self.level, clock_ms() - _DAY, None)


@click.command()
@click.option("--rounds", default=7, show_default=True)
@click.option("--output", default=FOLDER / "reads.json", show_default=True, type=click.Path(path_type=Path))
def command(rounds: int, output: Path) -> None:
    """Measures processor time of reads within the feature server."""
    about = circumstances()
    publish({"cpu_us": uvloop.run(measured(rounds)), "rounds": rounds, **about}, output)


async def measured(rounds: int) -> dict[str, dict[str, float]]:
    """Microseconds of processor time of a read, by kind: the least and the median of the rounds."""
    declared = definitions.load()
    shop = Shop()
    with TemporaryDirectory() as folder:
        valkey = Valkey(Path(folder) / "data", free_port(), log=Path(folder) / "log")
        await valkey.start()
        try:
            async with redis_cluster.connect(valkey.url, 5.0) as store:
                read_through = frozenset(f.entity for f in declared.features if f.on_event is OnEvent.READ_THROUGH)
                online = RedisOnlineStore(store, read_through)
                maxima = Maxima(shop, shop, shop, clock_ms)  # type: ignore[arg-type]  # what reads ask of them
                marker = Marker(online, clock_ms)
                reader = Reader(online, shop, shop, maxima, marker, clock_ms, random.random, transcoding.FOLD)  # type: ignore[arg-type]  # as above
                nobody: Any = None  # writes, erases, ...
                servicer = FeatureServicer(declared, reader, nobody, nobody, nobody, nobody, clock_ms)
                await fill(online, declared.features, shop)
                result = {name: await cpu_us(call, rounds) for name, call in calls(servicer).items()}
                await maxima.close()
        finally:
            await valkey.stop()
    return result


def calls(servicer: FeatureServicer) -> dict[str, Call]:
    """What is measured: reads of different entities one after the other."""
    chance = random.Random(2)

    def batch(
        entity: str,
        prefix: str,
        among: int,
        count: int,
        features: Sequence[str],
        in_rows: bool = False,
        distinct: int = 50,
    ) -> Call:
        read = servicer.rows if in_rows else servicer.batch
        asked = [
            pb.BatchGetFeaturesRequest(
                entity=entity, ids=[f"{prefix}_{n:07}" for n in chance.sample(range(among), count)], features=features
            ).SerializeToString()
            for _ in range(distinct)
        ]
        turns = itertools.cycle(asked)

        async def call() -> None:
            answer = await read(pb.BatchGetFeaturesRequest.FromString(next(turns)), 1.0)
            if answer.degraded:
                raise click.ClickException("a store did not answer in time")
            answer.SerializeToString()

        return call

    users = {f"user_{count}": batch("User", "few", USERS, count, USER_FEATURES) for count in (1, 16, 64)}
    both = {
        f"{name}{suffix}": batch(*asked, in_rows=in_rows)
        for name, asked in {
            "shopper_1": ("User", "few", USERS, 1, SHOPPER_FEATURES),
            "shopper_1_of_long_history": ("User", "many", USERS // 20, 1, SHOPPER_FEATURES),
            "products_200": ("Product", "prod", PRODUCTS, 200, PRODUCT_FEATURES),
        }.items()
        for suffix, in_rows in (("", False), ("_in_rows", True))
    }
    both["products_200_in_rows_new"] = batch("Product", "prod", PRODUCTS, 200, PRODUCT_FEATURES, True, _NEW)
    return {**users, "user_1_of_long_history": batch("User", "many", USERS // 20, 1, USER_FEATURES), **both}


async def cpu_us(call: Call, rounds: int) -> dict[str, float]:
    """Of this process, by call."""
    samples = []
    for _ in range(rounds + 1):
        started, count = time.process_time(), 0
        while time.process_time() - started < _SECONDS:
            await call()
            count += 1
        samples.append((time.process_time() - started) / count * 1e6)
    return {"least": round(min(samples[1:]), 1), "median": round(median(samples[1:]), 1)}


async def fill(online: RedisOnlineStore, features: Sequence[Feature], shop: Shop) -> None:
    """Everything that is declared, of everybody, computed now."""
    chance = random.Random(1)
    for entity, prefix, count, rows in (
        ("Product", "prod", PRODUCTS, 0),
        ("User", "few", USERS, HISTORIES["few"]),
        ("User", "many", USERS // 20, HISTORIES["many"]),
    ):
        stored = [f for f in features if f.entity == entity and f.on_event is not OnEvent.ALWAYS]
        for start in range(0, count, 50):
            ids = [f"{prefix}_{n:07}" for n in range(start, start + 50)]
            entries = {}
            for entity_id, record in zip(ids, await online.begin(entity, ids), strict=True):
                now_ms = clock_ms()
                new = {f.number: Entry(now_ms, record.token, value(f, rows, chance, now_ms)) for f in stored}
                entries[entity_id] = record, {KNOWN: Entry(now_ms, NO_TOKEN, True), **new}
            await online.write(entity, _DAY, entries)
    scale = next(f.relative for f in features if f.relative is not None)
    shop.level = scale.level(_GREATEST, clock_ms())


def value(feature: Feature, rows: int, chance: random.Random, now_ms: int) -> Value:
    """One of the feature's type, tables with so many rows."""
    if feature.relative is not None:
        return [chance.uniform(0.1, 100), _GREATEST]
    if feature.type is FeatureType.TABLE:
        keys = tuple(f"prod_{n:07}" for n in chance.sample(range(100_000), rows))
        return Table(keys, ("a", "b", "c", "d"), tuple(chance.uniform(0, now_ms / 1_000) for _ in range(4 * rows)))
    if feature.type is FeatureType.STRING_LIST:
        return [f"prod_{n:07}" for n in chance.sample(range(100_000), 20)]
    if feature.type is FeatureType.STRING:
        return chance.choice(["Home", "Toys", "medium", "in_stock"])
    return chance.randrange(9) if feature.type is FeatureType.INT else chance.uniform(1, 5)
