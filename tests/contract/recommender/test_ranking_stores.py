"""What the ModelStore and the ScoreStore promise; run on PostgreSQL."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import numpy as np
import pytest

from services.recommender.domain.product import Product
from services.recommender.ranking_ports import ModelContents, ProductScores
from services.recommender.stores import models
from services.recommender.stores.catalog import PostgresCatalog
from services.recommender.stores.models import PostgresModels
from services.recommender.stores.postgres import Database
from services.recommender.stores.retrieval import PostgresRetrieval
from services.recommender.stores.scores import PostgresScores
from services.runtime.errors import ServiceError
from tests.support.catalogue import open_database
from tests.support.stack import PostgresServer
from tests.support.waiting import eventually

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[Database]:
    async with open_database(await postgres.create_database("recommender")) as opened:
        yield opened


async def trained(store: PostgresModels, model_id: str) -> None:
    """A version that serves, the one before it READY."""
    vectors = np.ones((1, 64), dtype=np.float32)
    await store.begin(model_id)
    await store.store(
        model_id, ModelContents(["p"], vectors, {"learned": b"\x00blob"}), {"products": 1.0}, {"why": "a test"}
    )
    await store.complete(model_id)
    await store.end()


async def vectors_of(database: Database, model_id: str) -> int:
    async with database.connection() as connection:
        count: int = await connection.fetchval("SELECT count(*) FROM product_factors WHERE model_id = $1", model_id)
    return count


async def test_a_version_keeps_its_contents_until_it_is_forgotten(database: Database) -> None:
    store = PostgresModels(database)
    await trained(store, "als-1")
    assert await store.artifacts("als-1") == {"learned": b"\x00blob"}
    active = await store.active()
    assert active is not None
    assert (active.metrics, active.lineage) == ({"products": 1.0}, {"why": "a test"})
    await trained(store, "als-2")
    await store.prune()
    assert await store.artifacts("als-1") == {}
    await store.begin("als-3")
    await store.store("als-3", ModelContents([], np.zeros((0, 64), dtype=np.float32), {"learned": b""}), {})
    await store.fail("als-3", "why")
    await store.end()
    assert await store.artifacts("als-3") == {}


@pytest.mark.parametrize("size", [0, 1, 6, 7, 8, 21, 30])
async def test_blobs_come_back_whole_from_pieces(
    database: Database, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(models, "_PIECE_BYTES", 7)
    store = PostgresModels(database)
    await store.begin("v")
    blobs = {"learned": bytes(range(size)), "ranker": b"a ranker, in another order", "small": b"x"}
    await store.store("v", ModelContents(["p"], np.ones((1, 64), dtype=np.float32), blobs), {})
    await store.end()
    assert await store.artifacts("v") == blobs
    async with database.connection() as connection:
        longest = await connection.fetchval("SELECT max(length(content)) FROM model_artifacts")
    assert longest == 7


async def test_a_run_that_fails_after_its_version_began_to_serve_leaves_it_alone(database: Database) -> None:
    store = PostgresModels(database)
    await trained(store, "als-1")
    await store.fail("als-1", "the answer to its completion was lost")
    active = await store.active()
    assert active is not None
    assert (active.id, active.reason) == ("als-1", "")
    assert (await store.artifacts("als-1"), await vectors_of(database, "als-1")) == ({"learned": b"\x00blob"}, 1)


async def test_pruning_spares_a_version_that_is_being_activated(database: Database) -> None:
    store = PostgresModels(database)
    await trained(store, "als-1")
    await trained(store, "als-2")
    async with database.transaction() as activating:
        # As activate() does, and commits only when the pruning has listed this version and waits to delete it.
        await activating.execute("LOCK TABLE models IN SHARE ROW EXCLUSIVE MODE")
        await activating.execute("UPDATE models SET state = 'READY' WHERE id = 'als-2'")
        await activating.execute("UPDATE models SET state = 'ACTIVE' WHERE id = 'als-1'")
        pruning = asyncio.create_task(store.prune())

        async def waits() -> bool:
            query = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'models'::regclass)"
            return bool(await activating.fetchval(query))

        await eventually(waits)
    await pruning

    assert await vectors_of(database, "als-1") == 1


async def test_pruning_forgets_what_could_be_activated(database: Database) -> None:
    store = PostgresModels(database)
    await trained(store, "als-1")
    await trained(store, "als-2")
    await store.prune()

    assert [model.id for model in await store.list(10, None)] == ["als-2"]
    assert (await vectors_of(database, "als-1"), await vectors_of(database, "als-2")) == (0, 1)


async def test_where_every_run_fails_history_does_not_pile_up(database: Database) -> None:
    store = PostgresModels(database)
    await trained(store, "als-1")
    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO models (id, state, create_time)"
            " SELECT 'new-' || n, 'FAILED', now() + n * interval '1 second' FROM generate_series(1, 25) n"
            " UNION ALL SELECT 'old', 'REJECTED', now() - interval '100 days'"
        )
    await store.begin("als-2")
    await store.end()
    left = {model.id for model in await store.list(50, None)}
    assert left == {"als-1", "als-2", *(f"new-{number}" for number in range(6, 26))}
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE models SET create_time = create_time - interval '100 days' WHERE id LIKE 'new%'"
        )
    await store.prune()
    assert {model.id for model in await store.list(50, None)} == {"als-1", "als-2"}


async def test_a_lock_that_cannot_be_asked_for_is_an_outage_and_leaves_no_connection(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a server that goes down between the connect and the question does to the question.
    monkeypatch.setattr(models, "_TRY_LOCK", "SELECT pg_terminate_backend(pg_backend_pid())")
    opened: list[asyncpg.Connection] = []
    dedicated = database.dedicated

    async def remembered() -> asyncpg.Connection:
        opened.append(await dedicated())
        return opened[-1]

    monkeypatch.setattr(database, "dedicated", remembered)
    with pytest.raises(ServiceError, match="DATABASE_UNAVAILABLE"):
        await PostgresModels(database).recover()
    assert [connection.is_closed() for connection in opened] == [True]


def scores(product_id: str, popularity: float, trend: float, rating: float) -> ProductScores:
    return ProductScores([product_id], np.array([popularity]), np.array([trend]), np.array([rating]))


async def stored(database: Database) -> tuple[float, ...]:
    async with database.connection() as connection:
        return tuple(await connection.fetchrow("SELECT popularity, trend, rating FROM product_scores"))


async def test_a_missing_score_leaves_what_is_stored(database: Database) -> None:
    store = PostgresScores(database)
    await PostgresCatalog(database).upsert([Product("p", "p")], NOW, NOW)
    assert await store.write(scores("p", 50.0, 7.0, 4.0)) == 1

    assert await store.write(scores("p", math.nan, math.nan, math.nan)) == 0
    assert await stored(database) == (50.0, 7.0, 4.0)
    assert await store.write(scores("p", math.nan, 8.0, math.nan)) == 1
    assert await stored(database) == (50.0, 8.0, 4.0)
    assert await store.write(scores("p", 0.0, math.nan, 5.0)) == 1
    assert await stored(database) == (0.0, 8.0, 5.0)
    assert await store.write(scores("unknown", 1.0, 1.0, 1.0)) == 0


@pytest.mark.parametrize("scored", [0, 25, 60])
async def test_the_showcase_is_the_best_of_all_and_of_each_category(database: Database, scored: int) -> None:
    products = [
        Product(f"p-{n:02}", "A thing", categories=(("Audio", "Books", "Garden")[n % 7 % 3],), available_quantity=n % 4)
        for n in range(60)
    ]
    await PostgresCatalog(database).upsert(products, NOW, NOW)
    popularity = np.array([float(n * 37 % 53) for n in range(scored)])
    ids = [product.id for product in products[:scored]]
    await PostgresScores(database).write(ProductScores(ids, popularity, popularity, popularity))

    known = dict(zip(ids, popularity.tolist(), strict=True))
    available = [product for product in products if product.available_quantity]
    ranked = sorted(available, key=lambda product: (-known.get(product.id, -1.0), product.id))
    best = {product.id for product in ranked[:9]}
    for category in ("Audio", "Books", "Garden"):
        best |= {p.id for p in [p for p in ranked if p.top_category == category and p.id in known][:4]}
    assert await PostgresRetrieval(database).showcase_ids(9, 4) == [p.id for p in ranked if p.id in best]
