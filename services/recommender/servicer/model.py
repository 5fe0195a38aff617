"""ModelService: model versions over gRPC."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import grpc
from windowshop.recommender.v1 import model_pb2, model_pb2_grpc

from services.recommender.ranking_ports import ModelStore, ModelVersion
from services.recommender.servicer.messages import write_time
from services.recommender.servicer.paging import decode_token, encode_token, page_size
from services.recommender.training.trainer import Trainer
from services.runtime.errors import not_found
from services.runtime.identifiers import check_id

SERVICE = model_pb2.DESCRIPTOR.services_by_name["ModelService"].full_name

Context = grpc.aio.ServicerContext[Any, Any]

DEFAULT_PAGE = 20
MAX_PAGE = 100


class ModelServicer(model_pb2_grpc.ModelServiceServicer):
    """Checks, asks the store or the trainer, answers."""

    def __init__(
        self,
        store: ModelStore,
        trainer: Trainer,
        prepare: Callable[[str], Awaitable[None]],
        activated: Callable[[str], None],
    ) -> None:
        """``prepare`` gets this process ready to serve a version, ``activated`` is told that it serves."""
        self._store = store
        self._trainer = trainer
        self._prepare = prepare
        self._activated = activated

    def register(self, server: grpc.aio.Server) -> None:
        """Adds this service to a server."""
        model_pb2_grpc.add_ModelServiceServicer_to_server(self, server)

    async def ListModels(self, request: model_pb2.ListModelsRequest, context: Context) -> model_pb2.ListModelsResponse:
        """A page of versions, newest first."""
        size = page_size(request.page_size, DEFAULT_PAGE, MAX_PAGE)
        after = _position(decode_token("models", request.page_token))
        # One more than asked tells whether another page follows.
        found = await self._store.list(size + 1, after)
        token = encode_token("models", _key(found[size - 1])) if len(found) > size else ""
        return model_pb2.ListModelsResponse(models=[_write(model) for model in found[:size]], next_page_token=token)

    async def GetModel(self, request: model_pb2.GetModelRequest, context: Context) -> model_pb2.Model:
        """One version."""
        model = await self._store.get(check_id(request.id, "id"))
        if model is None:
            raise not_found("MODEL_NOT_FOUND", "there is no such model")
        return _write(model)

    async def TrainModel(self, request: model_pb2.TrainModelRequest, context: Context) -> model_pb2.Model:
        """Begins a run."""
        return _write(await self._trainer.start())

    async def ActivateModel(self, request: model_pb2.ActivateModelRequest, context: Context) -> model_pb2.Model:
        """Makes a version the one that serves."""
        model_id = check_id(request.id, "id")
        found = await self._store.get(model_id)
        # Another one would take the memory, and the mask of the stock, of the version that goes on serving.
        if found is not None and found.state == "READY":
            await self._prepare(model_id)
        model = await self._store.activate(model_id)
        self._activated(model.id)
        return _write(model)


def _write(model: ModelVersion) -> model_pb2.Model:
    return model_pb2.Model(
        id=model.id,
        state=model_pb2.ModelState.Value(model.state),
        create_time=write_time(model.create_time),
        finish_time=write_time(model.finish_time),
        progress=model.progress,
        metrics=model.metrics,
        reason=model.reason,
        lineage=model.lineage,
    )


def _key(model: ModelVersion) -> str:
    return f"{model.create_time.astimezone(UTC).isoformat()} {model.id}"


def _position(key: str) -> tuple[datetime, str] | None:
    if not key:
        return None
    time, _, model_id = key.partition(" ")
    return datetime.fromisoformat(time), model_id
