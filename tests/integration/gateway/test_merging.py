"""POST /v1/visitors/{visitorId}:merge: the guest in the path, the user in the body."""

from __future__ import annotations

from typing import Any

import pytest
from windowshop.features.v1 import features_pb2 as features

from services.runtime.errors import unavailable
from tests.support.gateway import Gateway

PATH = "/v1/visitors/v-1:merge"


async def test_a_guest_becomes_a_user(gateway: Gateway) -> None:
    assert await gateway.json("POST", PATH, json={"userId": "ann"}) == (200, {"events": 3, "lines": 2, "erased": 0})
    assert gateway.backend.requests == [features.MergeVisitorRequest(visitor_id="v-1", user_id="ann")]


@pytest.mark.parametrize(
    ("path", "sent", "field"),
    [
        (PATH, {"json": {"user": "ann"}}, "user"),
        (PATH, {"json": {"userId": 7}}, "userId"),
        (PATH, {"json": {"userId": "ann", "visitorId": "v-2"}}, "visitorId"),
        ("/v1/visitors/v~:merge", {"json": {"userId": "ann"}}, "visitorId"),
    ],
)
async def test_what_is_wrong_is_named(gateway: Gateway, path: str, sent: dict[str, Any], field: str) -> None:
    status, problem = await gateway.json("POST", path, **sent)
    assert (status, problem["errors"][0]["field"]) == (400, field)
    assert not gateway.backend.requests


async def test_without_a_body_nobody_signs_in(gateway: Gateway) -> None:
    status, problem = await gateway.json("POST", PATH)
    assert (status, problem["reason"]) == (400, "BODY_MISSING")


async def test_it_may_be_repeated(gateway: Gateway) -> None:
    def down(_: Any) -> Any:
        raise unavailable("MERGE_INCOMPLETE", "not now", retry_after=2.0)

    gateway.backend.answers["MergeVisitor"] = down
    async with gateway.http.post(f"{gateway.url}{PATH}", json={"userId": "ann"}) as response:
        assert (response.status, response.headers["Retry-After"]) == (503, "2")
        assert (await response.json(content_type=None))["reason"] == "MERGE_INCOMPLETE"
