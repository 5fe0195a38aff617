"""The whole recommender as a running gRPC server, from its own composition root, in this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
from windowshop.recommender.v1 import catalog_pb2 as catalog
from windowshop.recommender.v1 import (
    catalog_pb2_grpc,
    model_pb2_grpc,
    privacy_pb2,
    privacy_pb2_grpc,
    recommendation_pb2_grpc,
    serving_config_pb2_grpc,
)
from windowshop.recommender.v1 import model_pb2 as model
from windowshop.recommender.v1 import recommendation_pb2 as pb

from services.recommender.app import run
from services.recommender.settings import RecommenderSettings
from tests.support.stack import free_port
from tests.support.waiting import eventually


@dataclass(frozen=True, slots=True)
class RunningRecommender:
    """A recommender to talk to."""

    catalog: catalog_pb2_grpc.CatalogServiceAsyncStub
    recommendations: recommendation_pb2_grpc.RecommendationServiceAsyncStub
    models: model_pb2_grpc.ModelServiceAsyncStub
    privacy: privacy_pb2_grpc.PrivacyServiceAsyncStub
    configs: serving_config_pb2_grpc.ServingConfigServiceAsyncStub
    channel: grpc.aio.Channel
    ops_port: int

    async def recommend(self, user: str = "", config: str = "", size: int = 10, **more: object) -> pb.RecommendResponse:
        """A page."""
        request = pb.RecommendRequest(user_id=user, serving_config=config, page_size=size, **more)  # type: ignore[arg-type]  # each value has its field's type
        return await self.recommendations.Recommend(request, timeout=10)

    async def set_stock(self, product_id: str, quantity: int) -> None:
        """Acknowledged when it returns."""
        await self.catalog.SetInventory(
            catalog.SetInventoryRequest(id=product_id, available_quantity=quantity), timeout=10
        )

    async def erase(self, id_: str, entity: str = "User") -> dict[str, int]:
        """What was removed, by kind."""
        request = privacy_pb2.DeleteEntityRequest(entity=entity, id=id_)
        return dict((await self.privacy.DeleteEntity(request, timeout=10)).removed)

    async def train(self) -> model.Model:
        """Trains and waits for the outcome."""
        started = await self.models.TrainModel(model.TrainModelRequest(), timeout=10)

        async def finished() -> model.Model | None:
            found = await self.models.GetModel(model.GetModelRequest(id=started.id), timeout=10)
            return None if found.state == model.TRAINING else found

        outcome = await eventually(finished, timeout=60)
        assert outcome is not None
        return outcome


def ids(page: pb.RecommendResponse) -> list[str]:
    """The products of a page."""
    return [result.id for result in page.results]


@contextlib.asynccontextmanager
async def running_recommender(dsn: str, features_address: str, **settings: object) -> AsyncIterator[RunningRecommender]:
    """Serving when it yields; everything is closed afterwards. It trains by command only, unless told otherwise."""
    values: dict[str, object] = {
        "database_url": dsn,
        "features_address": features_address,
        "port": free_port(),
        "ops_port": free_port(),
        "train_every": 0.0,
        "scores_every": 0.2,
        "drain_seconds": 0.5,
        **settings,
    }
    configured = RecommenderSettings(**values)  # type: ignore[arg-type]  # checked by pydantic
    stopping = asyncio.Event()

    async def serve() -> None:
        async with contextlib.AsyncExitStack() as closers:
            await run(configured, stopping, closers)

    service = asyncio.create_task(serve())
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{configured.port}") as channel:
            running = RunningRecommender(
                catalog_pb2_grpc.CatalogServiceStub(channel),
                recommendation_pb2_grpc.RecommendationServiceStub(channel),
                model_pb2_grpc.ModelServiceStub(channel),
                privacy_pb2_grpc.PrivacyServiceStub(channel),
                serving_config_pb2_grpc.ServingConfigServiceStub(channel),
                channel,
                configured.ops_port,
            )
            await _serving(running, service)
            yield running
    finally:
        stopping.set()
        await service


async def _serving(running: RunningRecommender, service: asyncio.Task[None]) -> None:
    async def answers() -> bool:
        if service.done():
            await service
        try:
            await running.models.ListModels(model.ListModelsRequest(), timeout=2)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAVAILABLE:
                raise
            return False
        return True

    await eventually(answers, timeout=30)
