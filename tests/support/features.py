"""A feature server, or its worker, in the process of the test, on real stores."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import asyncpg
import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from windowshop.features.v1 import features_pb2 as pb
from windowshop.features.v1 import features_pb2_grpc as rpc

from services.features import app
from services.features.settings import FeatureSettings
from services.runtime.lifecycle import StoppingError
from tests.support.stack import free_port
from tests.support.waiting import eventually

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class FeatureServer:
    """A running server and its door."""

    settings: FeatureSettings
    stub: rpc.FeatureServiceAsyncStub

    @property
    def dsn(self) -> str:
        return self.settings.database_url.get_secret_value()

    async def get(self, entity: str, entity_id: str, *features: str) -> pb.GetFeaturesResponse:
        request = pb.GetFeaturesRequest(entity=entity, id=entity_id, features=features)
        return await self.stub.GetFeatures(request, timeout=10)

    async def batch(self, entity: str, ids: Sequence[str], *features: str) -> pb.BatchGetFeaturesResponse:
        request = pb.BatchGetFeaturesRequest(entity=entity, ids=ids, features=features)
        return await self.stub.BatchGetFeatures(request, timeout=10)

    async def write(self, *events: pb.Event) -> pb.WriteEventsResponse:
        return await self.stub.WriteEvents(pb.WriteEventsRequest(events=events), timeout=10)

    async def execute(self, statement: str, *arguments: Any) -> None:
        connection = await asyncpg.connect(self.dsn)
        try:
            await connection.execute(statement, *arguments)
        finally:
            await connection.close()

    async def stock(
        self, product_id: str, category: str | None = "Toys", quantity: int = 10, threshold: int = 5,
        price: float | None = 10.0, rating: float | None = None, ratings: int = 0, brand: str | None = None,
    ) -> None:  # fmt: skip
        """Puts a product into the copy of the catalogue, as the worker would."""
        await self.execute(
            "INSERT INTO product_signals (product_id, top_category, price, available_quantity, low_stock_threshold,"
            " rating_average, rating_count, brand, generation) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0)",
            product_id, category, price, quantity, threshold, rating, ratings, brand,
        )  # fmt: skip


def settings(dsn: str, redis_url: str, **changes: Any) -> FeatureSettings:
    values: dict[str, Any] = {
        "FEATURES_DATABASE_URL": dsn,
        "FEATURES_REDIS_URL": redis_url,
        "FEATURES_PORT": free_port(),
        "FEATURES_OPS_PORT": free_port(),
        "FEATURES_WORKER_OPS_PORT": free_port(),
        "WINDOWSHOP_LOG_LEVEL": "warning",
        # Other processes want this machine's two cores too; what times out in production in 50 ms may not here.
        "FEATURES_REDIS_TIMEOUT": 0.5,
    }
    return FeatureSettings(**(values | changes))


@asynccontextmanager
async def running(role: Any, configured: FeatureSettings) -> AsyncIterator[None]:
    """A role of the service until the end of the block."""
    stopping = asyncio.Event()

    async def run() -> None:
        async with AsyncExitStack() as closers:
            with suppress(StoppingError):  # then whoever stopped it says why
                await role(configured, stopping, closers)

    task = asyncio.create_task(run())
    try:
        yield
        assert not task.done() or task.exception() is None
    finally:
        stopping.set()
        await asyncio.wait_for(task, 20)


@asynccontextmanager
async def running_server(dsn: str, redis_url: str, **changes: Any) -> AsyncIterator[FeatureServer]:
    """A server that is ready."""
    configured = settings(dsn, redis_url, **changes)
    async with (
        running(app.serve, configured),
        grpc.aio.insecure_channel(f"127.0.0.1:{configured.port}") as channel,
    ):
        from grpc_health.v1 import health_pb2, health_pb2_grpc

        health = health_pb2_grpc.HealthStub(channel)

        async def serving() -> bool:
            try:
                answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=1)
            except grpc.aio.AioRpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

        await eventually(serving, 60)  # it waits for a machine that others use, too
        yield FeatureServer(configured, rpc.FeatureServiceStub(channel))


@asynccontextmanager
async def running_worker(
    dsn: str, redis_url: str, catalogue: str = "127.0.0.1:1", **changes: Any
) -> AsyncIterator[None]:
    """A worker; without a ``catalogue`` it follows none."""
    configured = settings(dsn, redis_url, FEATURES_RECOMMENDER_ADDRESS=catalogue, **changes)
    async with running(app.work, configured):
        yield


def event(kind: str, user: str = "", *products: str, ago: float | None = 0.0, **fields: Any) -> pb.Event:
    """An event ``ago`` seconds before now (None: without a time), with an id of its own unless one is given."""
    message = pb.Event(event_type=kind, user_id=user, **{"event_id": f"event-{next(_numbers)}"} | fields)
    if not message.product_details:
        message.product_details.extend(pb.ProductDetail(product_id=product) for product in products)
    if ago is not None:
        message.event_time.CopyFrom(at(time.time() - ago))
    return message


def at(seconds: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(round(seconds * 1_000_000))
    return stamp
