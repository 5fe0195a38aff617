"""Neighbours by text that were stored are right after a start, whatever happened while nobody told of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from services.recommender.domain.assortment import Assortment
from services.recommender.domain.product import Product
from services.recommender.domain.signals import Anchor
from services.recommender.domain.text import text_digest
from services.recommender.pipeline import ahead, neighbours
from services.recommender.pipeline.ahead import NeighboursAhead
from services.recommender.pipeline.following import follow_catalogue
from services.recommender.pipeline.mirror import Mirror
from services.recommender.pipeline.neighbours import TextNeighbours
from services.recommender.ports import TextEmbedding
from services.recommender.ranking_ports import Neighbourhood
from services.recommender.stores.catalog import PostgresCatalog
from services.recommender.stores.embeddings import PostgresEmbeddings
from services.recommender.stores.neighbours import PostgresNeighbours
from services.recommender.stores.postgres import Database
from services.recommender.stores.retrieval import PostgresRetrieval
from services.recommender.stores.signals import PostgresChangeLog
from services.runtime.errors import unavailable
from tests.support.catalogue import open_database
from tests.support.stack import PostgresServer
from tests.support.waiting import eventually

IDS = [f"p{number:03}" for number in range(120)]


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[Database]:
    async with open_database(await postgres.create_database("recommender")) as opened:
        async with opened.connection() as connection:
            # Searches that leave nothing out.
            await connection.execute("DROP INDEX text_embeddings_hnsw")
        yield opened


class Counting(PostgresRetrieval):
    """Remembers what was searched for."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.searched: list[str] = []

    async def neighbours(self, ids: Sequence[str], limit: int) -> list[Neighbourhood]:
        self.searched += ids
        return await super().neighbours(ids, limit)


class Process:
    """What a process knows of texts."""

    def __init__(self, database: Database) -> None:
        self.retrieval, self._exact = Counting(database), PostgresRetrieval(database)
        self.mirror = Mirror(self.retrieval, Assortment(1_000, 60))
        store = PostgresNeighbours(database)
        self.texts = TextNeighbours(self.retrieval, store, self.mirror)
        self.ahead = NeighboursAhead(self.texts, store, self.retrieval, lambda: self.mirror.told)

    async def same_as_searched(self, ids: Sequence[str]) -> None:
        """For each product, what memory says at once is what a search says now."""
        for id_ in ids:
            found = self.texts.at_once((Anchor(id_, 1.0, "view"),), 20)
            assert found is not None, id_
            near = {one.id: one for one in await self._exact.neighbours([id_], 20)}
            expected = dict(zip(near[id_].ids, near[id_].cosines, strict=True)) if id_ in near else {}
            assert {hit.id: hit.score for hit in found} == pytest.approx(expected, abs=1e-3), id_


@asynccontextmanager
async def running(database: Database) -> AsyncIterator[Process]:
    process = Process(database)
    changes = PostgresChangeLog(database)
    parts = (changes.run(), follow_catalogue(changes, process.mirror), process.mirror.follow(), process.ahead.follow())
    tasks = {asyncio.create_task(part) for part in parts}
    try:
        await eventually(lambda: process.mirror.complete)
        yield process
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


class Shop:
    def __init__(self, database: Database) -> None:
        self._catalog = PostgresCatalog(database)
        self._embeddings = PostgresEmbeddings(database)
        self._dice = np.random.default_rng(3)

    async def put(self, *products: Product) -> None:
        now = datetime.now(UTC)
        await self._catalog.upsert(products, now, now)
        made = self._dice.normal(size=(len(products), 256)) + 0.7
        vectors = (made / np.linalg.norm(made, axis=1, keepdims=True)).astype(np.float32)
        await self._embeddings.put([TextEmbedding(text_digest(p), v) for p, v in zip(products, vectors, strict=True)])


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_IDLE_SECONDS", "_UNREAD_SECONDS", "_LOOK_SECONDS", "_PASS_SECONDS"):
        monkeypatch.setattr(ahead, name, 0.05)


async def until_stored(database: Database, *ids: str) -> None:
    """Until it is of these products that neighbours are stored."""

    async def same() -> bool:
        async with database.connection() as connection:
            found = await connection.fetch("SELECT product_id FROM text_neighbours")
        return {row["product_id"] for row in found} == set(ids)

    await eventually(same)


def product(id_: str, quantity: int = 3) -> Product:
    return Product(id_, f"Thing {id_}", available_quantity=quantity)


async def test_what_was_found_once_is_right_after_a_start(database: Database) -> None:
    shop, catalog = Shop(database), PostgresCatalog(database)
    await shop.put(*(product(id_, number % 6) for number, id_ in enumerate(IDS)))
    soon = datetime.now(UTC) + timedelta(seconds=1)
    await shop.put(replace(product("begins"), available_time=soon), replace(product("ends"), expire_time=soon))
    async with running(database) as first:
        await until_stored(database, *IDS, "begins", "ends")
        # The time of one may come already.
        assert sorted(id_ for id_ in first.retrieval.searched if id_ != "begins") == sorted((*IDS, "ends")), "each once"

    later = datetime.now(UTC) + timedelta(hours=1)
    await shop.put(product("new"), replace(product("p000"), title="Another text"))
    await catalog.set_inventory("p006", 5, later, later)  # it had none
    await catalog.set_inventory("p007", 0, later, later)
    # Prices; and every sixth had no stock.
    await catalog.upsert([replace(product(id_), price=2.0) for id_ in IDS[20:60]], later, later)
    await catalog.delete("p008")
    await eventually(lambda: datetime.now(UTC) > soon)

    left = [id_ for id_ in (*IDS, "begins", "ends", "new") if id_ != "p008"]
    async with running(database) as second:
        await until_stored(database, *left)
        await second.same_as_searched(left)
        again = {"new", "p000", "p006", "begins", *(id_ for id_ in IDS[20:60] if int(id_[1:]) % 6 == 0)}
        assert set(second.retrieval.searched) == again, "those that can be found newly, whose own lists go, nobody else"


async def test_before_the_catalogue_is_in_memory_what_is_stored_spares_the_search(database: Database) -> None:
    shop, catalog = Shop(database), PostgresCatalog(database)
    await shop.put(*(product(id_, number % 6) for number, id_ in enumerate(IDS)))
    async with running(database):
        await until_stored(database, *IDS)
    later = datetime.now(UTC) + timedelta(hours=1)
    await shop.put(*(product(f"new{number}") for number in range(20)), replace(product("p001"), title="Another text"))
    await catalog.set_inventory("p006", 5, later, later)  # it had none
    await catalog.delete("p008")
    await catalog.upsert([product(id_, 0) for id_ in IDS[9:60]], later, later)

    store, searches, asked = PostgresNeighbours(database), PostgresRetrieval(database), ("p002", "p003", "p000")
    texts = TextNeighbours(searches, store, Mirror(searches, Assortment(1_000, 60)))
    for limit, spared in ((10, 3), (40, 0)):
        anchors = tuple(Anchor(id_, 0.8**place, "view") for place, id_ in enumerate(asked))
        assert texts.at_once(anchors, limit) is None
        expected = {(hit.anchor, hit.id): hit.score for hit in await searches.semantic(anchors, limit)}
        found = {(hit.anchor, hit.id): hit.score for hit in await texts.fetch(anchors, limit)}
        assert found == pytest.approx(expected, abs=1e-5)
        assert sum(len(one.ids) >= limit for one in await store.available(asked, limit)) == spared
    assert await store.available(["p001", "new0", "p008", "unheard-of"], 10) == []


async def test_what_nobody_can_make_up_for_is_searched_for_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "NEWS", 8)
    monkeypatch.setattr(ahead, "NEWS", 8)
    shop = Shop(database)
    await shop.put(*(product(id_) for id_ in IDS[:50]))
    async with running(database):
        await until_stored(database, *IDS[:50])
    await shop.put(*(product(id_) for id_ in IDS[50:59]))
    async with running(database) as second:
        await until_stored(database, *IDS[:59])
        await second.same_as_searched(IDS[:59])
        assert sorted(second.retrieval.searched) == IDS[:59]


async def test_where_more_began_than_can_be_told_what_was_found_before_is_searched_for_again(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(neighbours, "NEWS", 8)
    monkeypatch.setattr(ahead, "NEWS", 8)
    monkeypatch.setattr(ahead, "_BEHIND", 4)
    shop, ids = Shop(database), [*IDS[:30], *(f"begins{number}" for number in range(12))]
    soon = datetime.now(UTC) + timedelta(seconds=1)
    await shop.put(*(product(id_) for id_ in IDS[:30]))
    await shop.put(*(replace(product(id_), available_time=soon) for id_ in ids[30:]))
    async with running(database):
        await until_stored(database, *ids)
    await eventually(lambda: datetime.now(UTC) > soon)
    async with running(database) as second:
        await eventually(lambda: len(second.texts.kept or ()) == len(ids))
        await second.same_as_searched(ids)


async def test_what_cannot_be_swept_up_keeps_nothing_from_being_stored(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: PostgresNeighbours) -> None:
        raise unavailable("DATABASE_UNAVAILABLE", "too slow for that")

    monkeypatch.setattr(PostgresNeighbours, "forget_deleted", away)
    await Shop(database).put(*(product(id_) for id_ in IDS[:5]))
    async with running(database):
        await until_stored(database, *IDS[:5])
