"""A receiver of StreamProductSignals that keeps what it is told, as the feature service's worker does."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import grpc
from windowshop.recommender.v1 import catalog_pb2 as pb
from windowshop.recommender.v1 import catalog_pb2_grpc as rpc

from services.runtime.lifecycle import background


class Follower:
    """Keeps the newest signals of every product; reconnects from its cursor whenever the stream ends."""

    def __init__(self, stub: rpc.CatalogServiceAsyncStub) -> None:
        self._stub = stub
        self.products: dict[str, pb.ProductSignal] = {}
        self.cursor = ""
        self.caught_up = False
        self.restarts = 0
        self.failures: list[grpc.StatusCode] = []

    async def run(self, breaks: random.Random | None = None) -> None:
        """Follows until cancelled; with ``breaks`` also leaves and comes back now and then."""
        while True:
            try:
                async for message in self._stub.StreamProductSignals(
                    pb.StreamProductSignalsRequest(cursor=self.cursor), timeout=100
                ):
                    self.take(message)
                    if breaks is not None and breaks.random() < 0.1:
                        break
            except grpc.aio.AioRpcError as error:
                self.failures.append(error.code())
                await asyncio.sleep(0.02)

    def take(self, message: pb.StreamProductSignalsResponse) -> None:
        """Applies one message."""
        if message.restart:
            self.products.clear()
            self.restarts += 1
        for signal in message.signals:
            if signal.deleted:
                self.products.pop(signal.product_id, None)
            else:
                self.products[signal.product_id] = signal
        self.cursor = message.cursor
        self.caught_up = message.caught_up


@contextlib.asynccontextmanager
async def following(stub: rpc.CatalogServiceAsyncStub, breaks: random.Random | None = None) -> AsyncIterator[Follower]:
    """A follower that runs during the block."""
    follower = Follower(stub)
    async with background("follower", follower.run(breaks)):
        yield follower
