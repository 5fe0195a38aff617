"""Facts of candidates are the same from memory as from the store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from services.recommender.domain.assortment import Assortment
from services.recommender.domain.product import Product
from services.recommender.domain.signals import Anchor
from services.recommender.domain.text import text_digest
from services.recommender.pipeline.announcing import AnnouncingCatalog
from services.recommender.pipeline.columns import Columns
from services.recommender.pipeline.mirror import Mirror
from services.recommender.ports import TextEmbedding
from services.recommender.ranking_ports import ProductScores
from services.recommender.stores.catalog import PostgresCatalog
from services.recommender.stores.embeddings import PostgresEmbeddings
from services.recommender.stores.postgres import Database
from services.recommender.stores.retrieval import PostgresRetrieval
from services.recommender.stores.scores import PostgresScores
from tests.support.catalogue import open_database
from tests.support.stack import PostgresServer
from tests.support.waiting import eventually

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[Database]:
    async with open_database(await postgres.create_database("recommender")) as opened:
        yield opened


def some_products() -> list[Product]:
    made = [
        Product(
            f"p-{number:02}",
            f"Thing number {number}",
            categories=(("Audio", "Garden", "")[number % 3],) if number % 3 < 2 else (),
            brand=("Ada", "")[number % 2],
            price=None if number % 7 == 0 else 3.0 * number,
            available_quantity=number % 5 * 2,
            rating_average=4.0 if number % 2 else None,
            rating_count=number % 2,
        )
        for number in range(40)
    ]
    times = [Product(f"t-{n}", f"Timed {n}", available_quantity=3, **more) for n, more in enumerate(TIMES)]  # type: ignore[arg-type]  # each value has its field's type
    return made + times


TIMES = (
    {"available_time": NOW - HOUR},
    {"available_time": NOW + HOUR},
    {"expire_time": NOW - HOUR},
    {"expire_time": NOW + HOUR},
)


@asynccontextmanager
async def followed(retrieval: PostgresRetrieval, texts: int) -> AsyncIterator[Mirror]:
    """A mirror that read everything, and follows."""
    mirror = Mirror(retrieval, Assortment(1_000, texts))
    mirror.restarted()
    following = asyncio.create_task(mirror.follow())
    try:
        await eventually(lambda: mirror.complete)
        yield mirror
    finally:
        following.cancel()
        await asyncio.wait({following})


@pytest.mark.parametrize("texts", [100, 20, 0], ids=["all texts fit", "some texts fit", "no text fits"])
async def test_facts_are_the_same_from_memory(database: Database, texts: int) -> None:
    products = some_products()
    await PostgresCatalog(database).upsert(products, NOW, NOW)
    dice = np.random.default_rng(7)
    vectors = dice.normal(size=(len(products), 256)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[11] = 0.0
    embedded = [TextEmbedding(text_digest(p), v) for p, v in zip(products[2:], vectors[2:], strict=True)]
    await PostgresEmbeddings(database).put(embedded)
    ids = [product.id for product in products]
    scored = ProductScores(ids[:30], np.arange(30.0), np.zeros(30), np.full(30, np.nan))
    await PostgresScores(database).write(scored)

    retrieval = PostgresRetrieval(database)
    async with followed(retrieval, texts) as mirror:
        pass

    anchors = (Anchor("p-05", 1.0, "view"), Anchor("p-08", 0.8, "view"), Anchor("p-00", 1.0, "view"))
    asked = [*ids[::-1], "nobody"]
    rows = await retrieval.facts(asked, anchors, vectors=True)
    nothing = Assortment(1, 1)
    stored = Columns(nothing, asked, nothing.find(asked), asked, rows, 0.0)
    lacking = [id_ for id_ in asked if mirror.assortment.lacks_vector[mirror.assortment.find([id_])[0]]]
    near = [] if texts == 100 else lacking
    places = mirror.assortment.find(asked)
    told = [row for row in rows if row.card.id in near]
    memory = Columns(mirror.assortment, asked, places, near, told, NOW.timestamp())

    assert memory.kept.tolist() == stored.kept.tolist()
    assert len(memory.kept) == 34, "available ones only"
    assert memory.categories() == stored.categories()
    assert memory.brands() == stored.brands()
    for name in ("popularity", "rating", "low_stock"):
        np.testing.assert_array_equal(getattr(memory, name)(), getattr(stored, name)())
    bands = {"Audio": [0.0, 50.0, 100.0], "Garden": [3.0, 60.0]}
    np.testing.assert_array_equal(memory.price_percentile(bands), stored.price_percentile(bands))
    if texts == 100:
        np.testing.assert_allclose(memory.similarity(anchors), stored.similarity(anchors), atol=1e-6)
        np.testing.assert_array_equal(memory.vectors(), stored.vectors())


async def test_an_import_of_other_prices_leaves_nothing_to_be_read(database: Database) -> None:
    """What is made of the products agrees with what is read of them."""
    products = some_products()
    store = PostgresCatalog(database)
    await store.upsert(products, NOW, NOW)
    vectors = np.ones((len(products), 256), dtype=np.float32) / 16
    await PostgresEmbeddings(database).put(
        [TextEmbedding(text_digest(product), vector) for product, vector in zip(products, vectors, strict=True)]
    )
    retrieval = PostgresRetrieval(database)
    async with followed(retrieval, 100) as mirror:
        dearer = [replace(product, price=1.0 + (product.price or 0.0)) for product in products[10:]]
        announcing = AnnouncingCatalog(store, mirror)
        await announcing.upsert([*products[:10], *dearer], NOW, NOW)
        dearer[0] = replace(dearer[0], price=99.0)
        await announcing.change(dearer[0].id, lambda _: (dearer[0], False), NOW)
        assert mirror.settled
        assert mirror.assortment.differing(*await retrieval.versions_after("", 100)) == []
        places = mirror.assortment.find([product.id for product in dearer])
        assert mirror.assortment.price[places].tolist() == [product.price for product in dearer]
