"""ImportProducts: what is kept, what is refused, what FULL deletes, and the embeddings that come with it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import grpc
import pytest
from windowshop.recommender.v1 import catalog_pb2 as pb

from services.recommender.embeddings import WordLlamaEmbedder
from services.recommender.indexing import TextIndexer
from services.recommender.servicer.importing import ImportSession
from services.recommender.servicer.products import read_product
from services.recommender.stores.embeddings import PostgresEmbeddings
from services.runtime.errors import from_rpc
from tests.support.catalogue import Catalogue, ids_of, import_products, product, running_catalogue
from tests.support.stack import PostgresServer


@pytest.fixture
async def catalogue(postgres: PostgresServer) -> AsyncIterator[Catalogue]:
    async with running_catalogue(await postgres.create_database("recommender")) as running:
        yield running


async def reason_of(catalogue: Catalogue, *chunks: list[pb.Product], mode: pb.ImportMode.ValueType) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await import_products(catalogue.stub, *chunks, mode=mode)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return from_rpc(caught.value).reason


async def test_counts(catalogue: Catalogue) -> None:
    first = await import_products(catalogue.stub, [product("a"), product("b")], [product("c")])
    again = await import_products(catalogue.stub, [product("a"), product("b", price=1), product("d")])

    assert (first.created, first.updated, first.unchanged) == (3, 0, 0)
    assert (again.created, again.updated, again.unchanged) == (1, 1, 1)
    assert await ids_of(catalogue.stub) == ["a", "b", "c", "d"]


async def test_nothing_sent_is_nothing_done(catalogue: Catalogue) -> None:
    assert await import_products(catalogue.stub) == pb.ImportProductsResponse()
    assert await import_products(catalogue.stub, []) == pb.ImportProductsResponse()


async def test_good_lines_are_kept_beside_bad_ones(catalogue: Catalogue) -> None:
    summary = await import_products(
        catalogue.stub, [product("a"), product("b c"), product("d", price=-1)], [product("e"), product("f", title="")]
    )

    assert (summary.created, summary.rejected) == (2, 3)
    assert [(e.index, e.id, e.reason, e.field) for e in summary.error_samples] == [
        (1, "b c", "INVALID_ID", "id"),
        (2, "d", "OUT_OF_RANGE", "price"),
        (4, "f", "REQUIRED", "title"),
    ]
    assert all(sample.message for sample in summary.error_samples)
    assert await ids_of(catalogue.stub) == ["a", "e"]


async def test_errors_are_sampled_and_counted(catalogue: Catalogue) -> None:
    summary = await import_products(catalogue.stub, [pb.Product(id="x" * 5_000)] * 150)

    assert (summary.rejected, len(summary.error_samples)) == (150, 100)
    assert summary.error_samples[99].index == 99
    assert len(summary.error_samples[0].id) == 128


async def test_the_last_line_of_an_id_wins(catalogue: Catalogue) -> None:
    summary = await import_products(
        catalogue.stub, [product("a", price=1), product("a", price=2)], [product("a", price=3)]
    )

    assert (summary.created, summary.updated) == (1, 2), "every line is counted once"
    assert (await catalogue.stub.GetProduct(pb.GetProductRequest(id="a"), timeout=5)).price == 3


async def test_full_deletes_what_is_not_named(catalogue: Catalogue) -> None:
    await import_products(catalogue.stub, [product(f"p{number}") for number in range(10)])

    summary = await import_products(catalogue.stub, [product("p1")], [product("p2"), product("new")], mode=pb.FULL)
    assert (summary.created, summary.unchanged, summary.deleted) == (1, 2, 8)
    assert await ids_of(catalogue.stub) == ["new", "p1", "p2"]


async def test_full_keeps_a_product_whose_line_is_bad(catalogue: Catalogue) -> None:
    await import_products(catalogue.stub, [product("a"), product("b"), product("c")])

    summary = await import_products(catalogue.stub, [product("a"), product("b", price=-1)], mode=pb.FULL)
    assert (summary.rejected, summary.deleted) == (1, 1)
    assert await ids_of(catalogue.stub) == ["a", "b"]


@pytest.mark.parametrize("chunks", [[[]], [[], []]])
async def test_an_empty_full_import_is_refused(catalogue: Catalogue, chunks: list[list[pb.Product]]) -> None:
    await import_products(catalogue.stub, [product("a")])

    assert await reason_of(catalogue, *chunks, mode=pb.FULL) == "EMPTY_FULL_IMPORT"
    assert await ids_of(catalogue.stub) == ["a"]


async def test_a_full_import_without_a_good_line_deletes_nothing(catalogue: Catalogue) -> None:
    await import_products(catalogue.stub, [product("a")])

    summary = await import_products(catalogue.stub, [pb.Product(id="not a product")], mode=pb.FULL)
    assert (summary.rejected, summary.deleted) == (1, 0)
    assert await ids_of(catalogue.stub) == ["a"]


async def test_full_keeps_what_others_created_meanwhile(catalogue: Catalogue) -> None:
    session = ImportSession(catalogue.store, catalogue.indexer, catalogue.clock)
    await import_products(catalogue.stub, [product("meanwhile")])

    await session.add([product("a")])
    assert (await session.finish(full=True)).deleted == 0
    assert await ids_of(catalogue.stub) == ["a", "meanwhile"]


async def test_a_count_made_during_an_import_is_newer_than_the_feed(catalogue: Catalogue) -> None:
    await import_products(catalogue.stub, [product("a", available_quantity=5)])
    session = ImportSession(catalogue.store, catalogue.indexer, catalogue.clock)
    catalogue.clock.ahead = timedelta(seconds=1)
    await catalogue.stub.SetInventory(pb.SetInventoryRequest(id="a", available_quantity=0), timeout=5)

    await session.add([product("a", available_quantity=5)])
    await session.finish(full=False)
    assert (await catalogue.stub.GetProduct(pb.GetProductRequest(id="a"), timeout=5)).available_quantity == 0


async def test_too_much_in_one_message(catalogue: Catalogue) -> None:
    too_many = [product(f"p{number}") for number in range(1001)]

    assert await reason_of(catalogue, too_many, mode=pb.INCREMENTAL) == "TOO_MANY_PRODUCTS"


async def test_an_unknown_mode(catalogue: Catalogue) -> None:
    unknown: pb.ImportMode.ValueType = 7  # type: ignore[assignment]  # what a newer client may send

    assert await reason_of(catalogue, [product("a")], mode=unknown) == "INVALID_IMPORT_MODE"


async def test_texts_are_embedded_once_and_when_they_change(catalogue: Catalogue) -> None:
    await import_products(catalogue.stub, [product("a"), product("b")])
    assert sorted(catalogue.embedder.texts) == ["Title of a. Home > Kitchen", "Title of b. Home > Kitchen"]

    catalogue.embedder.texts.clear()
    await import_products(catalogue.stub, [product("a", price=3), product("b", title="Renamed")])
    assert catalogue.embedder.texts == ["Renamed. Home > Kitchen"]
    await catalogue.stub.UpdateProduct(pb.UpdateProductRequest(product=pb.Product(id="a", brand="Acme")), timeout=5)
    assert catalogue.embedder.texts[1:] == ["Title of a. Acme. Home > Kitchen"]


async def test_real_embeddings_find_what_means_the_same(catalogue: Catalogue) -> None:
    embedder = WordLlamaEmbedder()
    await embedder.load()
    indexer = TextIndexer(PostgresEmbeddings(catalogue.database), catalogue.changes, embedder)
    titles = {"espresso": "Espresso coffee machine", "hose": "Garden hose 20 m", "novel": "Crime novel, paperback"}
    stored = [read_product(product(name, title=title, categories=[]))[0] for name, title in titles.items()]
    await catalogue.store.upsert(stored, catalogue.clock(), catalogue.clock())
    await indexer.index(list(titles))

    nearest = (
        "SELECT p.id FROM text_embeddings e JOIN products p ON p.text_digest = e.text_digest"
        " ORDER BY e.text_embedding <=> (SELECT $1::real[]::vector::halfvec(256)) LIMIT 1"
    )
    async with catalogue.database.connection() as connection:
        for text, expected in (("cappuccino maker", "espresso"), ("watering the lawn", "hose"), ("book", "novel")):
            vector = (await embedder.embed([text]))[0]
            assert await connection.fetchval(nearest, vector.tolist()) == expected
    embedder.close()
