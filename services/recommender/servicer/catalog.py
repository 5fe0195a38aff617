"""CatalogService: the catalogue over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import grpc
from windowshop.recommender.v1 import catalog_pb2, catalog_pb2_grpc

from services.recommender.domain.product import MAX_COUNT, Product, merge, problems
from services.recommender.indexing import TextIndexer
from services.recommender.ports import CatalogStore, ChangeLog, Clock
from services.recommender.servicer.importing import BATCH, ImportSession
from services.recommender.servicer.messages import read_time, refuse
from services.recommender.servicer.paging import decode_token, encode_token, page_size
from services.recommender.servicer.products import fields_to_change, read_product, write_product
from services.recommender.servicer.signals import follow
from services.runtime.errors import ServiceError, invalid_argument, invalid_field, not_found, unavailable
from services.runtime.identifiers import check_id

SERVICE = catalog_pb2.DESCRIPTOR.services_by_name["CatalogService"].full_name

Context = grpc.aio.ServicerContext[Any, Any]

DEFAULT_PAGE = 50
MAX_PAGE = 1_000
# A page ends before it is larger, whatever its size: clients of gRPC take 4 MiB when nobody told them otherwise, and a
# product at all its limits has more than 300 KB.
PAGE_BYTES = 3 * 1024 * 1024
# Read at once, so that a page of large products is not read whole to be cut.
_READ = 100
# Clocks of senders may run ahead by this; more is a mistake that would block every later count.
MAX_AHEAD = timedelta(minutes=5)
# grpc.aio reports a broken stream as its end and, a moment later, as cancelled. Before a FULL import deletes
# what it did not see, it waits for that moment.
SETTLE_SECONDS = 0.2


class CatalogServicer(catalog_pb2_grpc.CatalogServiceServicer):
    """Checks, asks the store, answers; keeps nothing itself."""

    def __init__(self, store: CatalogStore, changes: ChangeLog, indexer: TextIndexer, clock: Clock) -> None:
        self._store = store
        self._changes = changes
        self._indexer = indexer
        self._clock = clock

    async def GetProduct(self, request: catalog_pb2.GetProductRequest, context: Context) -> catalog_pb2.Product:
        """The product, available or not."""
        product = await self._store.get(check_id(request.id, "id"))
        if product is None:
            raise _unknown(request.id)
        return write_product(product)

    async def ListProducts(
        self, request: catalog_pb2.ListProductsRequest, context: Context
    ) -> catalog_pb2.ListProductsResponse:
        """A page of all products, by id."""
        size = page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE)
        after = decode_token("products", request.page_token)
        response = catalog_pb2.ListProductsResponse()
        used = 0
        while True:
            # One more than wanted tells whether another page follows.
            wanted = min(_READ, size - len(response.products))
            found = await self._store.page(after, wanted + 1)
            for product in found[:wanted]:
                message = write_product(product)
                used += message.ByteSize()
                if response.products and used > PAGE_BYTES:
                    response.next_page_token = encode_token("products", after)
                    return response
                response.products.append(message)
                after = product.id
            if len(found) <= wanted:
                return response
            if len(response.products) == size:
                response.next_page_token = encode_token("products", after)
                return response

    async def UpdateProduct(self, request: catalog_pb2.UpdateProductRequest, context: Context) -> catalog_pb2.Product:
        """Merges the named fields into the stored product, or stores the product as sent when it may be new."""
        check_id(request.product.id, "id")
        fields = fields_to_change(request.product, request.update_mask)
        sent, found = read_product(request.product)
        # What the mask leaves out is not looked at: a partial product has no title, for example.
        unreadable = [problem for problem in found if problem.reason == "INVALID_TIMESTAMP"]

        def decide(stored: Product | None) -> tuple[Product, bool]:
            if stored is None:
                if not request.allow_missing:
                    raise _unknown(request.product.id)
                refuse(found)
                return sent, True
            merged = merge(stored, sent, fields)
            refuse([*unreadable, *problems(merged)])
            return merged, "available_quantity" in fields

        product, _ = await self._store.change(request.product.id, decide, self._clock())
        await self._indexer.index([product.id])
        return write_product(product)

    async def DeleteProduct(
        self, request: catalog_pb2.DeleteProductRequest, context: Context
    ) -> catalog_pb2.DeleteProductResponse:
        """Removes the product; NOT_FOUND when it is not there."""
        if not await self._store.delete(check_id(request.id, "id")):
            raise _unknown(request.id)
        return catalog_pb2.DeleteProductResponse()

    async def ImportProducts(
        self, request_iterator: AsyncIterator[catalog_pb2.ImportProductsRequest], context: Context
    ) -> catalog_pb2.ImportProductsResponse:
        """Upserts the stream's products; FULL deletes the others once the stream is known to be whole."""
        session = ImportSession(self._store, self._indexer, self._clock)
        full = first = False
        try:
            async for request in request_iterator:
                if not first:
                    first, full = True, _is_full(request.mode)
                if len(request.products) > BATCH:
                    raise invalid_field("products", f"must be at most {BATCH} a message", reason="TOO_MANY_PRODUCTS")
                await session.add(request.products)
            if full:
                if session.lines == 0:
                    raise invalid_argument(
                        "a FULL import without a product would delete the whole catalogue",
                        reason="EMPTY_FULL_IMPORT",
                    )
                await asyncio.sleep(SETTLE_SECONDS)
                if context.cancelled():
                    raise unavailable("STREAM_BROKEN", "the stream broke; nothing was deleted")
            return await session.finish(full)
        finally:
            await session.close()

    async def SetInventory(
        self, request: catalog_pb2.SetInventoryRequest, context: Context
    ) -> catalog_pb2.SetInventoryResponse:
        """Sets the stock, unless a newer count is known; durable and seen by every recommendation from then on."""
        check_id(request.id, "id")
        if not request.HasField("available_quantity"):
            raise invalid_field("availableQuantity", "must be given", reason="REQUIRED")
        if not 0 <= request.available_quantity <= MAX_COUNT:
            raise invalid_field("availableQuantity", f"must be from 0 to {MAX_COUNT}", reason="OUT_OF_RANGE")
        now = counted = self._clock()
        if request.HasField("set_time"):
            try:
                counted = read_time(request.set_time)
            except ValueError:
                raise invalid_field("setTime", "must be an instant", reason="INVALID_TIMESTAMP") from None
            if counted > now + MAX_AHEAD:
                raise invalid_field("setTime", "must be at most 5 minutes in the future", reason="OUT_OF_RANGE")
        outcome = await self._store.set_inventory(request.id, request.available_quantity, counted, now)
        if outcome is None:
            raise _unknown(request.id)
        return catalog_pb2.SetInventoryResponse(available_quantity=outcome.available_quantity, applied=outcome.applied)

    async def StreamProductSignals(
        self, request: catalog_pb2.StreamProductSignalsRequest, context: Context
    ) -> AsyncIterator[catalog_pb2.StreamProductSignalsResponse]:
        """Every product's signals, then each change as it commits."""
        async for message in follow(self._changes, request.cursor):
            yield message


def _is_full(mode: catalog_pb2.ImportMode.ValueType) -> bool:
    if mode not in catalog_pb2.ImportMode.values():
        raise invalid_field("mode", "must be INCREMENTAL or FULL", reason="INVALID_IMPORT_MODE")
    return mode == catalog_pb2.FULL


def _unknown(product_id: str) -> ServiceError:
    return not_found("PRODUCT_NOT_FOUND", f"the catalogue has no product {product_id}", productId=product_id)
