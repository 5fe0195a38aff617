"""DELETE /v1/users/{id}: both services are asked at once, and their counts added."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from windowshop.features.v1 import features_pb2 as features
from windowshop.recommender.v1 import privacy_pb2 as privacy

from services.runtime.errors import unavailable
from tests.support.gateway import Gateway
from tests.support.gateway_answers import delete_entity

SUM = {"removed": {"events": 3, "lines": 4, "records": 1, "queued": 1, "signals": 2}}


@pytest.mark.parametrize(("path", "entity"), [("/v1/users/a@b", "User"), ("/v1/visitors/a@b", "Visitor")])
async def test_both_services_erase_and_the_counts_are_added(gateway: Gateway, path: str, entity: str) -> None:
    assert await gateway.json("DELETE", path) == (200, SUM)

    asked = {type(request): (request.entity, request.id) for request in gateway.backend.requests}
    assert asked == dict.fromkeys((features.DeleteEntityRequest, privacy.DeleteEntityRequest), (entity, "a@b"))


async def test_counts_of_one_kind_are_one_count(gateway: Gateway) -> None:
    def answer(request: Any) -> Any:
        kind = privacy if isinstance(request, privacy.DeleteEntityRequest) else features
        return kind.DeleteEntityResponse(removed={"records": 2})

    gateway.backend.answers["DeleteEntity"] = answer
    assert await gateway.json("DELETE", "/v1/users/u") == (200, {"removed": {"records": 4}})


async def test_they_are_asked_at_the_same_time(gateway: Gateway) -> None:
    both = asyncio.Barrier(2)

    async def answer(request: Any) -> Any:
        async with asyncio.timeout(5):
            await both.wait()
        return delete_entity(request)

    gateway.backend.answers["DeleteEntity"] = answer
    assert await gateway.json("DELETE", "/v1/users/u") == (200, SUM)


@pytest.mark.parametrize("down", [features, privacy])
async def test_with_one_down_the_other_does_its_part_and_the_call_is_repeated(gateway: Gateway, down: Any) -> None:
    done: list[Any] = []
    healthy = asyncio.Event()

    async def answer(request: Any) -> Any:
        if isinstance(request, down.DeleteEntityRequest) and not healthy.is_set():
            raise unavailable("STORE_DOWN", "not now", retry_after=2.0)
        await asyncio.sleep(0.05)  # later than the refusal
        done.append(type(request))
        return delete_entity(request)

    gateway.backend.answers["DeleteEntity"] = answer
    async with gateway.http.delete(f"{gateway.url}/v1/users/u") as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "2")
        assert (await response.json(content_type=None))["reason"] == "STORE_DOWN"
    assert len(done) == 1
    healthy.set()
    assert await gateway.json("DELETE", "/v1/users/u") == (200, SUM)


async def test_bad_ids_and_parameters_are_refused(gateway: Gateway) -> None:
    for path in ("/v1/users/~a", "/v1/users/a%20b", "/v1/users/u?dryRun=true"):
        status, problem = await gateway.json("DELETE", path)
        assert (status, problem["code"]) == (400, "INVALID_ARGUMENT")
    assert not gateway.backend.requests
