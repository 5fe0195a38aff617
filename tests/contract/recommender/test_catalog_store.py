"""What every CatalogStore, EmbeddingStore and ChangeLog promises; run on PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import numpy as np
import pytest

from services.recommender.domain.change import ProductChange, Stored
from services.recommender.domain.product import Product, merge
from services.recommender.domain.text import text_digest
from services.recommender.pipeline.shelf import Shelf
from services.recommender.ports import StockOutcome, TextEmbedding, UpsertOutcome
from services.recommender.stores.catalog import PostgresCatalog
from services.recommender.stores.embeddings import PostgresEmbeddings
from services.recommender.stores.postgres import Database
from services.recommender.stores.signals import PostgresChangeLog
from tests.support.catalogue import HashEmbedder, open_database
from tests.support.stack import PostgresServer

NOW = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
EARLIER = NOW - timedelta(hours=1)

RICH = Product(
    id="p1",
    title='Kettle "XL" \\ {1,2}',
    description="Boils\nwater",
    categories=("Home > Kitchen, etc", '"quoted"', "NULL"),
    brand="Äcme",
    price=0.1 + 0.2,
    currency_code="EUR",
    available_quantity=3,
    low_stock_threshold=0,
    rating_average=4.5,
    rating_count=10,
    tags=("", "{}"),
    attributes={"ключ": "✓", "a": ""},
    available_time=datetime(1, 1, 1, tzinfo=UTC),
    expire_time=datetime(9999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
)


@pytest.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[Database]:
    async with open_database(await postgres.create_database("recommender")) as opened:
        yield opened


@pytest.fixture
def store(database: Database) -> PostgresCatalog:
    return PostgresCatalog(database)


@pytest.fixture
def embeddings(database: Database) -> PostgresEmbeddings:
    return PostgresEmbeddings(database)


@pytest.fixture
def log(database: Database) -> PostgresChangeLog:
    return PostgresChangeLog(database)


async def put(
    store: PostgresCatalog, *products: Product, now: datetime = NOW, counted: datetime | None = None
) -> UpsertOutcome:
    return await store.upsert(products, now, counted or now)


def plain(*ids: str, quantity: int = 1) -> list[Product]:
    return [Product(id=product_id, title=product_id, available_quantity=quantity) for product_id in ids]


def ids(products: Sequence[Product]) -> list[str]:
    return [product.id for product in products]


async def test_a_product_comes_back_as_it_was(store: PostgresCatalog) -> None:
    await put(store, RICH)

    assert await store.get("p1") == replace(RICH, create_time=NOW, update_time=NOW)
    assert await store.get("p2") is None


async def test_pages_follow_the_bytes_of_the_ids(store: PostgresCatalog) -> None:
    await put(store, *plain("b", "a", "B", "_", "10", "9", "a.1", "a:1", "a@1", "a-1"))
    in_order = ["10", "9", "B", "_", "a", "a-1", "a.1", "a:1", "a@1", "b"]

    assert ids(await store.page("", 100)) == in_order
    assert ids(await store.page("B", 3)) == ["_", "a", "a-1"]
    assert await store.page("b", 3) == []


async def test_upsert_tells_new_from_different_from_equal(store: PostgresCatalog, log: PostgresChangeLog) -> None:
    assert await put(store, RICH, *plain("p2")) == UpsertOutcome(2, 0, 0)
    _, head = await log.position()
    assert await put(store, RICH, *plain("p2"), now=LATER) == UpsertOutcome(0, 0, 2)
    assert (await log.position())[1] == head, "an equal product is not a change"
    assert await put(store, replace(RICH, price=1.0), *plain("p2", "p3"), now=LATER) == UpsertOutcome(1, 1, 1)
    assert await store.get("p1") == replace(RICH, price=1.0, create_time=NOW, update_time=LATER)


async def test_upsert_tells_what_became_of_each(store: PostgresCatalog, log: PostgresChangeLog) -> None:
    await put(store, *plain("equal", "other", "counted", quantity=7))
    await store.set_inventory("counted", 3, counted=LATER, now=LATER)
    _, head = await log.position()
    other, counted = (replace(product, price=1.0) for product in plain("other", "counted", quantity=7))

    outcome = await put(store, *plain("equal", quantity=7), other, counted, *plain("new"), now=LATER, counted=NOW)

    assert outcome.stored["equal"] == Stored(0, 7)
    changes = {change.product_id: change for change in await log.changes(head, 10)}
    told = {id_: Stored(change.change_seq, change.available_quantity) for id_, change in changes.items()}
    assert told.keys() == {"other", "counted", "new"}
    assert told["counted"].available_quantity == 3
    assert outcome.stored == told | {"equal": Stored(0, 7)}


@pytest.mark.parametrize(
    "change",
    [
        {"title": "x"},
        {"description": ""},
        {"categories": ()},
        {"brand": ""},
        {"price": None},
        {"currency_code": ""},
        {"available_quantity": 4},
        {"low_stock_threshold": 1},
        {"rating_average": None, "rating_count": 0},
        {"rating_count": 11},
        {"tags": ()},
        {"attributes": {}},
        {"available_time": None},
        {"expire_time": None},
    ],
    ids=lambda change: next(iter(change)),
)
async def test_every_field_counts_as_a_difference(store: PostgresCatalog, change: dict[str, object]) -> None:
    changed = replace(RICH, **change)  # type: ignore[arg-type]  # each value has its field's type
    await put(store, RICH)

    assert await put(store, changed, now=LATER) == UpsertOutcome(0, 1, 0)
    assert await store.get("p1") == replace(changed, create_time=NOW, update_time=LATER)


async def test_an_older_import_keeps_the_newer_count_but_brings_the_rest(store: PostgresCatalog) -> None:
    await put(store, *plain("p", quantity=7))
    await store.set_inventory("p", 0, counted=LATER, now=LATER)

    assert await put(store, *plain("p", quantity=7), now=LATER, counted=NOW) == UpsertOutcome(0, 0, 1)
    renamed = Product(id="p", title="new title", available_quantity=7)
    assert await put(store, renamed, now=LATER, counted=NOW) == UpsertOutcome(0, 1, 0)
    kept = await store.get("p")
    assert kept is not None
    assert (kept.title, kept.available_quantity) == ("new title", 0)


async def test_a_newer_count_of_the_same_stock_is_newer_all_the_same(
    store: PostgresCatalog, log: PostgresChangeLog
) -> None:
    await put(store, *plain("in"), *plain("out", quantity=0), now=EARLIER)
    _, head = await log.position()
    assert await put(store, *plain("in"), *plain("out", quantity=0), now=LATER) == UpsertOutcome(0, 0, 2)
    assert (await log.position())[1] == head, "a confirmed count is not a change"

    assert await store.set_inventory("in", 0, counted=NOW, now=LATER) == StockOutcome(1, applied=False)
    assert await store.set_inventory("out", 7, counted=NOW, now=LATER) == StockOutcome(0, applied=False)
    for product_id in ("in", "out"):
        kept = await store.get(product_id)
        assert kept is not None
        assert kept.update_time == EARLIER


async def test_change_to_the_same_stock_is_a_newer_count(store: PostgresCatalog) -> None:
    await put(store, *plain("p", quantity=0), now=EARLIER)

    await store.change("p", lambda stored: (stored or RICH, True), LATER)
    assert await store.set_inventory("p", 7, counted=NOW, now=LATER) == StockOutcome(0, applied=False)


async def test_the_newest_count_wins(store: PostgresCatalog) -> None:
    await put(store, *plain("p", quantity=5))
    set_to = partial(store.set_inventory, "p", now=LATER)

    assert await set_to(9, counted=EARLIER) == StockOutcome(5, applied=False)
    assert await set_to(4, counted=NOW) == StockOutcome(4, applied=True), "equally old applies"
    assert await set_to(0, counted=LATER) == StockOutcome(0, applied=True)
    assert await set_to(8, counted=NOW) == StockOutcome(0, applied=False)
    assert await store.set_inventory("unknown", 1, LATER, LATER) is None


@pytest.mark.parametrize(
    ("product", "available"),
    [
        (Product("p", "t", available_quantity=1), True),
        (Product("p", "t", available_quantity=0), False),
        (Product("p", "t", available_quantity=1, available_time=NOW), True),
        (Product("p", "t", available_quantity=1, available_time=LATER), False),
        (Product("p", "t", available_quantity=1, expire_time=LATER), True),
        (Product("p", "t", available_quantity=1, expire_time=NOW), False),
        (Product("p", "t", available_quantity=1, available_time=EARLIER, expire_time=LATER), True),
    ],
)
async def test_availability(store: PostgresCatalog, product: Product, available: bool) -> None:
    await put(store, product)

    assert bool(await store.available(["p"], NOW)) is available


async def test_available_keeps_the_order_asked_for(store: PostgresCatalog) -> None:
    await put(store, *plain("a", "b", "c"), *plain("gone", quantity=0))

    assert ids(await store.available(["c", "gone", "unknown", "a", "b"], NOW)) == ["c", "a", "b"]
    assert await store.available([], NOW) == []


async def test_details_are_told_once_and_availability_always(store: PostgresCatalog) -> None:
    shelf = Shelf(store, lambda: NOW)
    await store.upsert([RICH, Product("b", "B", available_quantity=1), Product("gone", "Gone")], NOW, NOW)
    first = await shelf.available(["p1", "b", "gone", "unknown"])
    assert set(first) == {"p1", "b"}
    assert replace(first["p1"], create_time=None, update_time=None) == RICH
    again = await shelf.available(["b", "p1"])
    assert all(again[id_] is first[id_] for id_ in again), "the same objects: nothing was told again"
    shelf.restarted()
    assert (await shelf.available(["b"]))["b"] is not first["b"]
    rows = await store.current(["p1", "b"], [0, 0], NOW)
    known = {row.id: row.change_seq for row in rows}
    assert [row.product for row in await store.current(["p1", "b"], [known["p1"], known["b"]], NOW)] == [None, None]

    await store.set_inventory("b", 0, LATER, LATER)
    assert set(await shelf.available(["p1", "b"])) == {"p1"}
    await store.set_inventory("b", 9, LATER, LATER)
    assert (await shelf.available(["b"]))["b"].available_quantity == 9
    await store.change("p1", lambda stored: (replace(RICH, title="Renamed"), False), LATER)
    assert (await shelf.available(["p1"]))["p1"].title == "Renamed"
    await store.delete("p1")
    assert await shelf.available(["p1"]) == {}
    await store.upsert([Product("p1", "Another", available_quantity=1)], LATER, LATER)
    assert (await shelf.available(["p1"]))["p1"].title == "Another"


async def test_change_merges_under_the_lock(store: PostgresCatalog, log: PostgresChangeLog) -> None:
    await put(store, RICH)
    sent = Product(id="p1", title="New")

    changed, change_seq = await store.change(
        "p1", lambda stored: (merge(stored or sent, sent, {"title"}), False), LATER
    )
    assert change_seq == (await log.position())[1]
    assert changed == replace(RICH, title="New", create_time=NOW, update_time=LATER)
    created, change_seq = await store.change("p2", lambda stored: (stored or replace(sent, id="p2"), True), LATER)
    assert change_seq == (await log.position())[1]
    assert created == replace(sent, id="p2", create_time=LATER, update_time=LATER)


async def test_change_counts_the_stock_only_when_told(store: PostgresCatalog) -> None:
    await put(store, *plain("p", quantity=5))

    await store.change("p", lambda stored: (merge(stored or RICH, RICH, {"price"}), False), LATER)
    assert await store.set_inventory("p", 6, NOW, LATER) == StockOutcome(6, applied=True)
    await store.change("p", lambda stored: (merge(stored or RICH, RICH, {"available_quantity"}), True), LATER)
    assert await store.set_inventory("p", 9, NOW, LATER) == StockOutcome(3, applied=False)


async def test_what_change_is_refused_with_is_passed_on(store: PostgresCatalog) -> None:
    def refuse(_: Product | None) -> tuple[Product, bool]:
        raise KeyError("no")

    with pytest.raises(KeyError):
        await store.change("p", refuse, NOW)
    assert await store.get("p") is None


async def test_delete(store: PostgresCatalog) -> None:
    await put(store, *plain("p"))

    assert await store.delete("p")
    assert not await store.delete("p")
    assert await store.get("p") is None


async def test_delete_others_spares_the_named_and_the_new(store: PostgresCatalog) -> None:
    await put(store, *plain("a", "b", "c"))
    await put(store, *plain("new"), now=LATER)

    assert await store.delete_others({"b", "unknown"}, NOW) == 2
    assert ids(await store.page("", 10)) == ["b", "new"]


async def test_changes_come_in_order_with_the_newest_state(store: PostgresCatalog, log: PostgresChangeLog) -> None:
    await put(store, RICH, *plain("p2", "p3"))
    await store.set_inventory("p1", 0, LATER, LATER)
    await store.delete("p2")

    found = await log.changes(0, 10)
    assert [(change.product_id, change.deleted) for change in found] == [("p3", False), ("p1", False), ("p2", True)]
    assert found[1] == ProductChange(found[1].change_seq, "p1", False, "Home", RICH.price, 0, 0, 4.5, 10, RICH.brand)
    assert [change.change_seq for change in found] == sorted(change.change_seq for change in found)
    assert await log.changes(0, 2) == found[:2]
    assert await log.changes(found[1].change_seq, 10) == found[2:]
    assert (await log.position())[1] == found[2].change_seq


async def test_a_product_that_comes_back_is_no_longer_deleted(store: PostgresCatalog, log: PostgresChangeLog) -> None:
    await put(store, *plain("p"))
    await store.delete("p")
    await put(store, *plain("p"))

    assert [(change.product_id, change.deleted) for change in await log.changes(0, 10)] == [("p", False)]


async def test_an_empty_catalogue_has_a_name_and_no_changes(log: PostgresChangeLog) -> None:
    epoch, head = await log.position()

    assert (len(epoch), head) == (32, 0)
    assert await log.changes(0, 10) == []


def embedding(product: Product) -> TextEmbedding:
    return TextEmbedding(text_digest(product), HashEmbedder.vector(product.title))


async def test_embeddings_follow_the_text(
    database: Database, store: PostgresCatalog, embeddings: PostgresEmbeddings
) -> None:
    await put(store, *plain("a", "b"))
    assert ids(await embeddings.missing(["b", "unknown"])) == ["b"]
    assert sorted(ids(await embeddings.any_missing(10))) == ["a", "b"]
    assert len(await embeddings.any_missing(1)) == 1
    async with database.connection() as connection:
        last = await connection.fetchval("SELECT change_seq FROM products WHERE id = 'a'")
    assert "a" not in ids(await embeddings.any_missing(10, last))

    await embeddings.put([embedding(product) for product in plain("b", "a")])
    assert await embeddings.any_missing(10) == []
    await put(store, *plain("a", quantity=9))
    assert await embeddings.missing(["a"]) == [], "the stock is no text"
    await put(store, Product(id="a", title="renamed"))
    assert ids(await embeddings.missing(["a", "b"])) == ["a"]


async def test_equal_texts_share_an_embedding(
    database: Database, store: PostgresCatalog, embeddings: PostgresEmbeddings
) -> None:
    twins = [Product(id="a", title="same"), Product(id="b", title="same")]
    await put(store, *twins)
    await embeddings.put([embedding(twins[0])])
    await embeddings.put([embedding(twins[1])])

    assert await embeddings.any_missing(10) == []
    async with database.connection() as connection:
        rows = await connection.fetch("SELECT product_id, text_embedding FROM product_embeddings ORDER BY product_id")
        assert await connection.fetchval("SELECT count(*) FROM text_embeddings") == 1
    assert [row["product_id"] for row in rows] == ["a", "b"]
    for row in rows:
        np.testing.assert_allclose(row["text_embedding"].to_numpy(), HashEmbedder.vector("same"), atol=1e-3)


async def test_embeddings_that_nobody_needs_are_forgotten(
    database: Database, store: PostgresCatalog, embeddings: PostgresEmbeddings
) -> None:
    await put(store, *plain("a", "b"))
    await embeddings.put([embedding(product) for product in plain("a", "b")])
    await store.delete("a")
    await embeddings.forget_unused()

    assert await embeddings.any_missing(10) == []
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM text_embeddings") == 1
