"""A catalogue that streams to the feature service what a test tells it to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from windowshop.recommender.v1 import catalog_pb2 as pb
from windowshop.recommender.v1 import catalog_pb2_grpc as rpc


class StreamedCatalogue(rpc.CatalogServiceServicer):
    """The change stream of a catalogue; cursors are ``<epoch>:<number of messages>``."""

    def __init__(self) -> None:
        self.address = ""
        self.cursors: list[str] = []  # that followers came with
        self._epoch = 1
        self._pages: list[list[pb.ProductSignal]] = []
        self._news = asyncio.Condition()

    async def put(self, *signals: pb.ProductSignal) -> None:
        async with self._news:
            self._pages.append(list(signals))
            self._news.notify_all()

    async def replace(self, *signals: pb.ProductSignal) -> None:
        """Another catalogue, restored from elsewhere: followers have to start again."""
        async with self._news:
            self._epoch += 1
            self._pages = [list(signals)]
            self._news.notify_all()

    async def StreamProductSignals(
        self, request: pb.StreamProductSignalsRequest, context: Any
    ) -> AsyncIterator[pb.StreamProductSignalsResponse]:
        self.cursors.append(request.cursor)
        epoch, _, place = request.cursor.partition(":")
        sent = int(place) if epoch == str(self._epoch) else 0
        restart = epoch != str(self._epoch)
        following = self._epoch
        while following == self._epoch:
            page = self._pages[sent] if sent < len(self._pages) else []
            sent = min(sent + 1, len(self._pages))
            yield pb.StreamProductSignalsResponse(
                signals=page,
                cursor=f"{following}:{sent}",
                restart=restart,
                caught_up=sent == len(self._pages),
            )
            restart = False
            async with self._news:
                while sent == len(self._pages) and following == self._epoch:
                    await self._news.wait()


def signal(product_id: str, category: str = "Toys", price: float | None = 10.0, quantity: int = 10, **more: Any) -> Any:
    fields: dict[str, Any] = {"low_stock_threshold": 5, **more}
    if price is not None:
        fields["price"] = price
    return pb.ProductSignal(product_id=product_id, top_category=category, available_quantity=quantity, **fields)


@asynccontextmanager
async def running_catalogue() -> AsyncIterator[StreamedCatalogue]:
    catalogue = StreamedCatalogue()  # type: ignore[abstract]  # its other methods answer UNIMPLEMENTED
    server = grpc.aio.server()
    rpc.add_CatalogServiceServicer_to_server(catalogue, server)
    catalogue.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        yield catalogue
    finally:
        await server.stop(0)
