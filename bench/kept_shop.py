"""A whole shop of the size that is asked for: started, loaded and trained once, and found again in its folder."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import asyncpg
import click
from redis.asyncio import Redis
from windowshop_client.client import Client, connect

from bench import loading
from bench.loading import Kept, Sizes, say
from bench.synthetic import MOST_SOLD, World
from deploy.local.folder import FolderError, locked
from deploy.local.identity import unprivileged
from deploy.local.postgres import Postgres
from tests.support.shop import Shop, free_ports

NOTE = "kept.json"
DATABASES = ("features", "recommender")

_SETTINGS = {
    # Loading writes gigabytes: with the default of 1 GB it would make a checkpoint every few seconds.
    "max_wal_size": "4GB",
    # An index of a million texts is built in the memory of processes, not in /dev/shm, which containers keep small.
    "dynamic_shared_memory_type": "mmap",
}


@dataclass(frozen=True, slots=True)
class KeptShop:
    """A running shop with all its processes."""

    shop: Shop
    postgres: Postgres
    world: World
    about: dict[str, Any]
    """Seconds of starting, loading and training, and what was trained."""
    recommenders: int = 1
    """Processes of that kind."""

    @property
    def redis_url(self) -> str:
        return f"redis://127.0.0.1:{self.shop.ports['REDIS_PORT']}/0"

    async def stored_mb(self) -> dict[str, float]:
        """Of the databases with their indexes, and of what Redis has."""
        sizes = {}
        for name in DATABASES:
            connection = await asyncpg.connect(self.postgres.dsn(name))
            try:
                sizes[name] = round(await connection.fetchval("SELECT pg_database_size(current_database())") / 1e6, 1)
            finally:
                await connection.close()
        async with Redis.from_url(self.redis_url) as redis:
            sizes["valkey"] = round((await redis.info("memory"))["used_memory"] / 1e6, 1)
        return sizes

    def client(self) -> AbstractAsyncContextManager[Client]:
        """Of both services."""
        return connect(features=self.shop.features_address, recommender=self.shop.recommender_address)


@asynccontextmanager
async def kept_shop(
    data: Path | None, sizes: Sizes, *, ranked: bool = True, recommenders: int = 1
) -> AsyncIterator[KeptShop]:
    """Loaded, trained, and at rest. `data`: keeps it as it was loaded, and what it has of this size is used again;
    None: nothing is kept. `ranked`: the version that serves has to have a trained ranker. `recommenders`: processes of
    that kind.

    What runs is a copy of what is kept: shoppers would have views of all runs before, those who come most thousands.
    """
    if data is None:
        with _temporary() as place:
            async with _running(place, sizes, ranked, recommenders) as found:
                yield found
        return
    place = _place(data, sizes)
    if not Kept.of(place / NOTE, sizes).whole:
        async with _running(place, sizes, ranked, recommenders):
            pass
    with _copy(place) as copy:
        async with _running(copy, sizes, ranked, recommenders) as found:
            yield found


async def loaded(data: Path, sizes: Sizes, *, recommenders: int = 1) -> dict[str, Any]:
    """What is to be said of the shop that the folder keeps, which is loaded, and trained where this code cannot read
    its version."""
    async with _running(_place(data, sizes), sizes, True, recommenders) as found:
        return found.about


@asynccontextmanager
async def _running(place: Path, sizes: Sizes, ranked: bool, recommenders: int) -> AsyncIterator[KeptShop]:
    kept = Kept.of(place / NOTE, sizes)
    settings = _SETTINGS if sizes.shared_buffers is None else {**_SETTINGS, "shared_buffers": sizes.shared_buffers}
    postgres = Postgres(
        place / "postgres", free_ports(1)[0], log=place / "postgres.log", databases=DATABASES, settings=settings
    )
    await postgres.start(timeout=120)
    try:
        shop = Shop(place / "data", demo=False)
        shop.environment["WINDOWSHOP_RECOMMENDERS"] = str(recommenders)
        shop.environment |= {f"{name.upper()}_DATABASE_URL": postgres.near_dsn(name) for name in DATABASES}
        begin = perf_counter()
        await shop.start()
        try:
            started = round(perf_counter() - begin, 1)
            say(f"started in {started} s")
            found = KeptShop(
                shop, postgres, World(sizes.products, sizes.users), {"start_seconds": started}, recommenders
            )
            found.about.update(await loading.fill(found, kept, ranked=ranked))
            yield found
        finally:
            await shop.stop(timeout=120)
    finally:
        await postgres.stop(grace=120)


@contextmanager
def _temporary() -> Iterator[Path]:
    place = Path(tempfile.mkdtemp(prefix="shop-"))
    # PostgreSQL's own user, where we are root, must be able to go through.
    place.chmod(0o711)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _place(data: Path, sizes: Sizes) -> Path:
    """Where the folder keeps this shop. A catalogue of which most is never sold begins as a copy of the one that has
    the rest, where that is there."""
    place = data.absolute() / sizes.name
    base = data.absolute() / Sizes(min(sizes.products, MOST_SOLD), sizes.users).name
    with _usable(place):
        if not place.exists() and (base / NOTE).exists():
            # Under its own name when it is there: half a copy is no shop.
            begun = place.with_name(f"{place.name}.begun")
            with locked(base / "data"), _copied(base, begun):
                Kept.read(begun / NOTE).grow(sizes)
                begun.rename(place)
        place.mkdir(mode=0o711, parents=True, exist_ok=True)
    return place


@contextmanager
def _copy(place: Path) -> Iterator[Path]:
    """Of a whole shop beside it, for the block. Until that ends nobody else can have one."""
    copy = place.with_name(f"{place.name}.running")
    with ExitStack() as held:
        with _usable(copy):
            held.enter_context(locked(place / "data"))
            held.enter_context(_copied(place, copy))
        yield copy


@contextmanager
def _copied(place: Path, copy: Path) -> Iterator[None]:
    """Where it cannot be made, and after the block, nothing is left of it."""
    if copy.exists():  # of a run that was killed, whose shop may be about to end
        with locked(copy / "data"):
            shutil.rmtree(copy)
    say(f"copying {place} ...")
    try:
        shutil.copytree(place, copy, ignore=_sockets)
        # Copied by root, it is root's; where its server runs as somebody else, it has to be theirs.
        unprivileged().own(copy / "postgres")
        yield
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def _sockets(folder: str, names: list[str]) -> list[str]:
    """Those of servers that were killed, which cannot be copied."""
    return [name for name in names if (Path(folder) / name).is_socket()]


@contextmanager
def _usable(place: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, shutil.Error, FolderError) as error:
        raise click.ClickException(f"{place} cannot be used: {error}") from error
