"""A whole shop of the size that is asked for: started, loaded and trained once, and found again in its folder."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
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
    """Loaded, trained, and at rest. `data`: is kept, and what it has of this size is used again; None: a temporary one.
    `ranked`: the version that serves has to have a trained ranker. `recommenders`: processes of that kind.

    A catalogue of which most is never sold begins as a copy of the one that has the rest, where that is there.
    """
    with _place(data, sizes) as place:
        kept = Kept.of(place / NOTE, sizes)
        settings = {**_SETTINGS, "shared_buffers": sizes.shared_buffers}
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
def _place(data: Path | None, sizes: Sizes) -> Iterator[Path]:
    if data is None:
        temporary = Path(tempfile.mkdtemp(prefix="shop-"))
        # PostgreSQL's own user, where we are root, must be able to go through.
        temporary.chmod(0o711)
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return
    place = data.absolute() / sizes.name
    base = data.absolute() / Sizes(min(sizes.products, MOST_SOLD), sizes.users).name
    try:
        if not place.exists() and (base / NOTE).exists():
            say(f"beginning with a copy of {base} ...")
            with locked(base / "data"):
                shutil.copytree(base, place)
            Kept.read(place / NOTE).grow(sizes)
        place.mkdir(mode=0o711, parents=True, exist_ok=True)
    except (OSError, shutil.Error, FolderError) as error:
        raise click.ClickException(f"{place} cannot be used: {error}") from error
    yield place
