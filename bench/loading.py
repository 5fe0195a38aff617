"""Fills a shop through its public calls, trains it, and waits until it is at rest; what was done is not done again."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import asyncpg
import click
import msgspec
from redis.asyncio import Redis
from rich.console import Console
from windowshop.recommender.v1 import catalog_pb2 as c
from windowshop.recommender.v1 import model_pb2 as m
from windowshop.recommender.v1 import recommendation_pb2 as r
from windowshop_client.arrival import product_arrived
from windowshop_client.client import Client
from windowshop_client.progress import progress, shares
from windowshop_client.training import train

from bench import synthetic_messages
from bench.processes import Watch
from bench.synthetic import MOST_SOLD, World, product_id, user_id

if TYPE_CHECKING:
    from bench.kept_shop import KeptShop

_INDEX = "text_embeddings_hnsw"

_PRODUCTS = 1_000
_EVENTS = 2_000
_STREAMS = 3
"""Uploads of events at a time: while messages of one are made, those of others are stored."""
_ARRIVAL_SECONDS = 900.0
_TRAIN_SECONDS = 7_200.0
_WHOLE_SECONDS = 120.0
_REST_SECONDS = 1_800.0
_HARDLY = 100
_NO_MORE_SECONDS = 90.0
"""Without a change: then all are there. What was stored before is read first."""
_DUE = "ws:1:marks:{marks}:due:"

console = Console(stderr=True)


def say(text: object) -> None:
    console.print(text, highlight=False)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Of the made-up shop."""

    products: int
    users: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.products}x{self.users}"

    @property
    def shared_buffers(self) -> str | None:
        """For a catalogue whose indexes do not fit in what PostgreSQL has by itself, what they take."""
        return None if self.products <= MOST_SOLD else "2560MB"


@dataclass(slots=True)
class Kept:
    """What a folder is known to have; written after each step."""

    path: Path
    sizes: Sizes
    now: datetime
    """The end of the history."""
    steps: dict[str, Any] = field(default_factory=dict)
    """Name of a step that is done -> what is to be said of it."""

    @classmethod
    def of(cls, path: Path, sizes: Sizes) -> "Kept":
        """A new one where there is none. Raises ClickException where the folder has another shop."""
        if not path.exists():
            return cls(path, sizes, datetime.now(UTC))
        kept = cls.read(path)
        if kept.sizes != sizes:
            raise click.ClickException(f"{path.parent} has another shop, of {kept.sizes}")
        return kept

    @classmethod
    def read(cls, path: Path) -> "Kept":
        known = msgspec.json.decode(path.read_bytes())
        return cls(path, Sizes(**known["sizes"]), datetime.fromisoformat(known["now"]), known["steps"])

    @property
    def whole(self) -> bool:
        """Whether nothing is left to be done."""
        return {"products", "events", "training", "text neighbours"} <= self.steps.keys() and (
            self.sizes.products <= MOST_SOLD or "text index" in self.steps
        )

    def grow(self, sizes: Sizes) -> None:
        """It is to become a larger one, whose products have other neighbours."""
        self.sizes = sizes
        self.steps.pop("text neighbours", None)
        self._write()

    def done(self, step: str, about: dict[str, Any]) -> None:
        self.steps[step] = about
        self._write()

    def _write(self) -> None:
        document = {"sizes": asdict(self.sizes), "now": self.now.isoformat(), "steps": self.steps}
        self.path.write_bytes(msgspec.json.encode(document))


async def fill(found: "KeptShop", kept: Kept, *, ranked: bool) -> dict[str, Any]:
    """Products, history, a version, with a ranker where it has to be `ranked`; each where it is not there yet. What is
    to be said of them."""
    async with found.client() as client:
        if "products" not in kept.steps:
            kept.done("products", await _products(client, found.world, 0, found.world.sold))
        if "events" not in kept.steps:
            kept.done("events", await _events(client, found.world, kept.now))
        if "training" not in kept.steps or (ranked and not await _ranked(client)):
            kept.done("training", await train_version(found, client))
            if ranked and not await _ranked(client):
                raise click.ClickException("recommendations are not ordered by a trained ranker")
        if "more products" not in kept.steps and found.world.products > found.world.sold:
            kept.done("more products", await _more_products(found, client))
        if "text index" not in kept.steps and found.world.products > found.world.sold:
            kept.done("text index", await _index_texts(found))
        if "text neighbours" not in kept.steps:
            kept.done("text neighbours", await _find_neighbours(found))
    await at_rest(found.redis_url)
    await _compact(found.redis_url)
    return dict(kept.steps)


async def _products(client: Client, world: World, first: int, end: int) -> dict[str, Any]:
    """Those from number `first` on and below `end`, until the feature service knows the last one."""
    begin = perf_counter()
    with progress("products", end - first, console=console) as advance:
        chunks = (
            synthetic_messages.products(world, start, min(start + _PRODUCTS, end))
            for start in range(first, end, _PRODUCTS)
        )
        answer: c.ImportProductsResponse = await client.import_products(chunks, sent=advance)
    imported = perf_counter() - begin
    if answer.rejected:
        raise click.ClickException(f"{answer.rejected} products were refused: {answer.error_samples[:1]}")
    say("waiting until the feature service knows the products ...")
    if not await product_arrived(client, product_id(end - 1), timeout=_ARRIVAL_SECONDS):
        raise click.ClickException("the feature service did not hear of the products")
    return {"seconds": round(perf_counter() - begin, 1), "per_second": round((end - first) / imported)}


async def _more_products(found: "KeptShop", client: Client) -> dict[str, Any]:
    """What nobody has looked at, without the index of texts, which is made after them: a new text's place in it costs a
    search, the longer the more there are."""
    async with _owner(found) as connection:
        await connection.execute(f"DROP INDEX IF EXISTS {_INDEX}")
    return await _products(client, found.world, found.world.sold, found.world.products)


async def _index_texts(found: "KeptShop") -> dict[str, Any]:
    say("building the index of texts ...")
    begin = perf_counter()
    async with _owner(found) as connection:
        await connection.execute("SET maintenance_work_mem = '2GB'; SET max_parallel_maintenance_workers = 2")
        # As the service's migration has it.
        await connection.execute(
            f"CREATE INDEX IF NOT EXISTS {_INDEX} ON text_embeddings"
            " USING hnsw (text_embedding halfvec_cosine_ops) WITH (m = 8, ef_construction = 64)"
        )
        await connection.execute("VACUUM ANALYZE")
    return {"seconds": round(perf_counter() - begin, 1)}


async def _find_neighbours(found: "KeptShop") -> dict[str, Any]:
    """The recommender finds and stores them by itself, at half a core's expense; until then pages have to search."""
    say("waiting until the neighbours by text are found ...")
    begin = since = perf_counter()
    stored = (0, None)
    async with _owner(found) as connection:
        while perf_counter() < since + _NO_MORE_SECONDS:
            await asyncio.sleep(1)
            # A larger catalogue finds those of the smaller one anew.
            now = await connection.fetchrow("SELECT count(*), max(find_time) FROM text_neighbours")
            if tuple(now) != stored:
                stored, since = tuple(now), perf_counter()
    return {"seconds": round(since - begin, 1), "products": stored[0]}


@asynccontextmanager
async def _owner(found: "KeptShop") -> AsyncIterator[asyncpg.Connection]:
    """Of the recommender's tables."""
    connection = await asyncpg.connect(found.postgres.dsn("recommender"))
    try:
        yield connection
    finally:
        await connection.close()


async def _events(client: Client, world: World, now: datetime) -> dict[str, Any]:
    """Several uploads, each in the order of time: the log's days fill one after the other."""
    history = world.history()
    begin = perf_counter()
    starts = iter(range(0, len(history), _EVENTS))
    with progress("events", len(history), console=console) as advance:

        async def upload() -> int:
            chunks = (
                list(synthetic_messages.events(world, history, now, start, min(start + _EVENTS, len(history))))
                for start in starts
            )
            answer = await client.import_events(chunks, sent=advance)
            return int(answer.accepted + answer.duplicates)

        stored = sum(await asyncio.gather(*(upload() for _ in range(_STREAMS))))
    if stored != len(history):
        raise click.ClickException(f"{stored:,} of {len(history):,} events were stored")
    seconds = perf_counter() - begin
    lines = len(history.products)
    return {
        "seconds": round(seconds, 1),
        "events": stored,
        "lines": lines,
        "per_second": round(stored / seconds),
    }


class RejectedError(click.ClickException):
    """A version was trained to its end, and is worse than the one that serves."""


async def train_version(found: "KeptShop", client: Client) -> dict[str, Any]:
    """Through the public call; a version that does not serve in the end is an error, RejectedError where it is that."""
    begin = perf_counter()
    async with Watch(found.shop, found.postgres) as watch:
        with shares("training", console=console) as report:
            model = await train(client, report=report, timeout=_TRAIN_SECONDS)
    if model.state != m.ACTIVE:
        error = RejectedError if model.state == m.REJECTED else click.ClickException
        raise error(f"the model is {m.ModelState.Name(model.state)}: {model.reason}")
    wanted = ("ndcg_anything", "ndcg_new", "products", "users", "interactions", "rows_anything")
    about = {
        "seconds": round(perf_counter() - begin, 1),
        "model": model.id,
        "peak_mb": watch.peak_mb,
        "cpu_seconds": watch.cpu_seconds,
        "lineage": dict(model.lineage),
        "metrics": {name: round(model.metrics[name], 4) for name in wanted if name in model.metrics},
    }
    say(about)
    return about


async def _ranked(client: Client) -> bool:
    """Whether pages are ordered by a trained ranker of this code: a version that is too old for it is not loaded."""
    request = r.RecommendRequest(user_id=user_id(0), page_size=10, explain=True)
    deadline = perf_counter() + _WHOLE_SECONDS
    while True:
        answer = await client.recommend(request, timeout=30.0)
        if not answer.degraded:
            columns = {part.column for one in answer.results for part in one.explanation.contributions}
            return "intercept" in columns
        if perf_counter() > deadline:
            break
        await asyncio.sleep(0.5)
    if set(answer.degraded) == {"model"}:
        say("the trained version is not loaded")
        return False
    raise click.ClickException(f"no whole answer within {_WHOLE_SECONDS:g} s: {', '.join(answer.degraded)} missing")


async def _compact(redis_url: str) -> None:
    """Redis as a snapshot: the commands that made it, one by one, would be played back at the next start."""
    async with Redis.from_url(redis_url) as redis:
        await redis.bgrewriteaof()
        while True:
            about = await redis.info("persistence")
            if not (about["aof_rewrite_in_progress"] or about["aof_rewrite_scheduled"]):
                return
            await asyncio.sleep(0.1)


async def at_rest(redis_url: str) -> None:
    """Until for two seconds hardly anything is overdue: the worker has done what there was, and keeps up."""
    begin, calm = perf_counter(), 0
    async with Redis.from_url(redis_url) as redis:
        while calm < 8:
            if perf_counter() > begin + _REST_SECONDS:
                raise click.ClickException(f"the worker is not done within {_REST_SECONDS:g} s")
            await asyncio.sleep(0.25)
            late = round((datetime.now(UTC) - timedelta(seconds=2)).timestamp() * 1_000)
            overdue = [await redis.zcount(_DUE + entity, "-inf", late) for entity in ("User", "Product")]
            calm = calm + 1 if sum(overdue) < _HARDLY else 0
    if perf_counter() - begin > 5:
        say(f"at rest after {perf_counter() - begin:.0f} s, load average {os.getloadavg()[0]:.1f}")
