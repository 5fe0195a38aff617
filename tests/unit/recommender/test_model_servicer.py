"""Activating a version: what is loaded for it, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from windowshop.recommender.v1 import model_pb2 as pb

from services.recommender.ranking_ports import ModelVersion
from services.recommender.servicer.model import ModelServicer
from services.runtime.errors import ServiceError, failed_precondition

NOW = datetime(2026, 11, 23, tzinfo=UTC)


class Store:
    """One version, in a state."""

    def __init__(self, state: str) -> None:
        self.model = ModelVersion("v-1", state, NOW, NOW, 1.0, {}, "")

    async def get(self, model_id: str) -> ModelVersion | None:
        return self.model if model_id == "v-1" else None

    async def activate(self, model_id: str) -> ModelVersion:
        if self.model.state != "READY":
            raise failed_precondition("MODEL_NOT_READY", "it is not")
        return self.model


async def activated(state: str) -> list[str]:
    """What happened."""
    happened: list[str] = []

    async def prepare(model_id: str) -> None:
        happened.append(f"prepared {model_id}")

    def switched(model_id: str) -> None:
        happened.append(f"switched {model_id}")

    store: Any = Store(state)
    nobody: Any = None
    servicer = ModelServicer(store, nobody, prepare, switched)
    try:
        await servicer.ActivateModel(pb.ActivateModelRequest(id="v-1"), nobody)
    except ServiceError as error:
        happened.append(error.reason)
    return happened


async def test_a_version_is_prepared_before_it_serves() -> None:
    assert await activated("READY") == ["prepared v-1", "switched v-1"]


@pytest.mark.parametrize("state", ["TRAINING", "ACTIVE", "FAILED", "REJECTED"])
async def test_what_cannot_be_activated_takes_no_memory(state: str) -> None:
    assert await activated(state) == ["MODEL_NOT_READY"]
