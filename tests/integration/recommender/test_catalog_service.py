"""CatalogService over gRPC on real PostgreSQL: what a shop's backend sees."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from windowshop.recommender.v1 import catalog_pb2 as pb

from services.runtime.errors import ServiceError, from_rpc
from tests.support.catalogue import Catalogue, ids_of, import_products, product, running_catalogue
from tests.support.stack import PostgresServer

T = TypeVar("T")
TIMEOUT = 10


@pytest.fixture
async def catalogue(postgres: PostgresServer) -> AsyncIterator[Catalogue]:
    async with running_catalogue(await postgres.create_database("recommender")) as running:
        yield running


async def error_of(call: Awaitable[T]) -> ServiceError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc(caught.value)


async def get(catalogue: Catalogue, product_id: str) -> pb.Product:
    return await catalogue.stub.GetProduct(pb.GetProductRequest(id=product_id), timeout=TIMEOUT)


async def update(catalogue: Catalogue, sent: pb.Product, *mask: str, allow_missing: bool = False) -> pb.Product:
    request = pb.UpdateProductRequest(
        product=sent, update_mask=FieldMask(paths=mask) if mask else None, allow_missing=allow_missing
    )
    return await catalogue.stub.UpdateProduct(request, timeout=TIMEOUT)


async def set_inventory(
    catalogue: Catalogue, product_id: str, quantity: int | None, at: datetime | None = None
) -> pb.SetInventoryResponse:
    request = pb.SetInventoryRequest(id=product_id, available_quantity=quantity)
    if at is not None:
        request.set_time.FromDatetime(at)
    return await catalogue.stub.SetInventory(request, timeout=TIMEOUT)


class TestRead:
    async def test_a_stored_product(self, catalogue: Catalogue) -> None:
        sent = product("p1", price=9.5, tags=["a"], attributes={"k": "v"}, low_stock_threshold=2)
        await import_products(catalogue.stub, [sent])

        found = await get(catalogue, "p1")
        assert found.update_time == found.create_time
        for name in ("create_time", "update_time", "rating_count"):
            found.ClearField(name)
        assert found == sent

    async def test_an_unknown_product(self, catalogue: Catalogue) -> None:
        error = await error_of(get(catalogue, "nobody"))

        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "PRODUCT_NOT_FOUND")
        assert error.metadata == {"productId": "nobody"}

    async def test_an_impossible_id(self, catalogue: Catalogue) -> None:
        error = await error_of(get(catalogue, "a b"))

        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ID")
        assert [violation.field for violation in error.violations] == ["id"]

    async def test_pages_cover_everything_once(self, catalogue: Catalogue) -> None:
        await import_products(catalogue.stub, [product(f"p{number}") for number in range(25)])

        seen: list[str] = []
        sizes: list[int] = []
        token = ""
        while not sizes or token:
            page = await catalogue.stub.ListProducts(
                pb.ListProductsRequest(page_size=10, page_token=token), timeout=TIMEOUT
            )
            seen += [found.id for found in page.products]
            sizes.append(len(page.products))
            token = page.next_page_token
        assert (sizes, seen) == ([10, 10, 5], sorted(f"p{number}" for number in range(25)))

    async def test_a_last_page_that_is_full_has_no_successor(self, catalogue: Catalogue) -> None:
        await import_products(catalogue.stub, [product("a"), product("b")])

        page = await catalogue.stub.ListProducts(pb.ListProductsRequest(page_size=2), timeout=TIMEOUT)
        assert (len(page.products), page.next_page_token) == (2, "")

    async def test_pages_of_large_products_end_early(self, catalogue: Catalogue) -> None:
        large = [product(f"p{number}", attributes={f"k{n}": "ü" * 1_000 for n in range(50)}) for number in range(70)]
        await import_products(catalogue.stub, large[:40], large[40:])

        seen: list[str] = []
        token = ""
        while not seen or token:
            page = await catalogue.stub.ListProducts(
                pb.ListProductsRequest(page_size=1000, page_token=token), timeout=TIMEOUT
            )
            assert 0 < page.ByteSize() < 4 * 1024 * 1024, "what any client of gRPC takes"
            seen += [found.id for found in page.products]
            token = page.next_page_token
        assert seen == sorted(found.id for found in large)

    async def test_a_page_of_many_small_products_has_them_all(self, catalogue: Catalogue) -> None:
        await import_products(catalogue.stub, [product(f"p{number:03}") for number in range(250)])

        page = await catalogue.stub.ListProducts(pb.ListProductsRequest(page_size=240), timeout=TIMEOUT)
        rest = await catalogue.stub.ListProducts(
            pb.ListProductsRequest(page_size=1000, page_token=page.next_page_token), timeout=TIMEOUT
        )
        assert [found.id for found in page.products] == [f"p{number:03}" for number in range(240)]
        assert [found.id for found in rest.products] == [f"p{number:03}" for number in range(240, 250)]
        assert not rest.next_page_token

    @pytest.mark.parametrize(
        ("request_", "reason"),
        [
            (pb.ListProductsRequest(page_size=-1), "INVALID_PAGE_SIZE"),
            (pb.ListProductsRequest(page_size=1001), "INVALID_PAGE_SIZE"),
            (pb.ListProductsRequest(page_token="made up"), "INVALID_PAGE_TOKEN"),
        ],
    )
    async def test_bad_pages(self, catalogue: Catalogue, request_: pb.ListProductsRequest, reason: str) -> None:
        error = await error_of(catalogue.stub.ListProducts(request_, timeout=TIMEOUT))

        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)


class TestUpdate:
    async def test_the_mask_decides(self, catalogue: Catalogue) -> None:
        await import_products(catalogue.stub, [product("p", price=5.0, brand="B")])

        changed = await update(catalogue, pb.Product(id="p", title="New", price=7), "title", "brand")
        assert (changed.title, changed.price, changed.brand, changed.available_quantity) == ("New", 5.0, "", 10)
        assert changed == await get(catalogue, "p")

    async def test_without_a_mask_the_set_fields_change(self, catalogue: Catalogue) -> None:
        await import_products(catalogue.stub, [product("p", price=5.0)])

        changed = await update(catalogue, pb.Product(id="p", price=0, available_quantity=0))
        assert (changed.title, changed.price, changed.available_quantity) == ("Title of p", 0.0, 0)

    async def test_a_missing_product(self, catalogue: Catalogue) -> None:
        assert (await error_of(update(catalogue, product("p")))).reason == "PRODUCT_NOT_FOUND"

        created = await update(catalogue, product("p", price=3.0), "title", allow_missing=True)
        assert (created.price, created.available_quantity) == (3.0, 10)

    async def test_an_unknown_path(self, catalogue: Catalogue) -> None:
        error = await error_of(update(catalogue, product("p"), "colour", allow_missing=True))

        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_UPDATE_MASK")
        assert await ids_of(catalogue.stub) == []

    async def test_the_result_must_be_a_good_product(self, catalogue: Catalogue) -> None:
        await import_products(catalogue.stub, [product("p")])

        error = await error_of(update(catalogue, pb.Product(id="p", price=-1), "price", "title"))
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUIRED")
        assert [violation.field for violation in error.violations] == ["title", "price"]
        late = pb.Product(id="p", expire_time=Timestamp(seconds=2**60))
        assert (await error_of(update(catalogue, late))).reason == "INVALID_TIMESTAMP"
        assert (await get(catalogue, "p")).title == "Title of p"


class TestDelete:
    async def test_once(self, catalogue: Catalogue) -> None:
        await import_products(catalogue.stub, [product("p")])
        request = pb.DeleteProductRequest(id="p")

        await catalogue.stub.DeleteProduct(request, timeout=TIMEOUT)
        error = await error_of(catalogue.stub.DeleteProduct(request, timeout=TIMEOUT))
        assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "PRODUCT_NOT_FOUND")


class TestSetInventory:
    async def test_the_newest_count_wins(self, catalogue: Catalogue) -> None:
        await import_products(catalogue.stub, [product("p", available_quantity=5)])
        now = datetime.now(UTC)

        first = await set_inventory(catalogue, "p", 3, now + timedelta(seconds=60))
        assert first == pb.SetInventoryResponse(available_quantity=3, applied=True)
        older = await set_inventory(catalogue, "p", 9, now + timedelta(seconds=59))
        assert older == pb.SetInventoryResponse(available_quantity=3, applied=False)
        same_time = await set_inventory(catalogue, "p", 0, now + timedelta(seconds=60))
        assert same_time == pb.SetInventoryResponse(available_quantity=0, applied=True)
        assert (await get(catalogue, "p")).available_quantity == 0

    async def test_now_is_the_default(self, catalogue: Catalogue) -> None:
        await import_products(catalogue.stub, [product("p", available_quantity=5)])

        assert (await set_inventory(catalogue, "p", 2)).applied
        assert not (await set_inventory(catalogue, "p", 9, datetime.now(UTC) - timedelta(seconds=30))).applied

    async def test_after_the_answer_the_product_is_not_available(self, catalogue: Catalogue) -> None:
        await import_products(catalogue.stub, [product("p")])
        assert await catalogue.store.available(["p"], catalogue.clock())

        await set_inventory(catalogue, "p", 0)
        assert await catalogue.store.available(["p"], catalogue.clock()) == []

    @pytest.mark.parametrize(
        ("quantity", "ahead", "field", "reason"),
        [
            (None, 0, "availableQuantity", "REQUIRED"),
            (-1, 0, "availableQuantity", "OUT_OF_RANGE"),
            (1, 600, "setTime", "OUT_OF_RANGE"),
        ],
    )
    async def test_bad_requests(
        self, catalogue: Catalogue, quantity: int | None, ahead: int, field: str, reason: str
    ) -> None:
        at = datetime.now(UTC) + timedelta(seconds=ahead)

        error = await error_of(set_inventory(catalogue, "p", quantity, at))
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
        assert [violation.field for violation in error.violations] == [field]

    async def test_an_unknown_product(self, catalogue: Catalogue) -> None:
        assert (await error_of(set_inventory(catalogue, "p", 1))).reason == "PRODUCT_NOT_FOUND"
