"""Which calls the gateway makes again when a service says that it cannot answer now."""

from typing import Any

import pytest

from services.runtime import errors
from tests.support.gateway import Gateway


def away(_: Any) -> Any:
    raise errors.unavailable("CATALOGUE_UNAVAILABLE", "the catalogue is away")


@pytest.mark.parametrize(
    ("rpc", "method", "path", "body"),
    [
        ("SetInventory", "POST", "/v1/products/p:setInventory", {"availableQuantity": 3}),
        ("UpdateProduct", "PATCH", "/v1/products/p", {"title": "Knife"}),
        ("DeleteProduct", "DELETE", "/v1/products/p", None),
        ("TrainModel", "POST", "/v1/models:train", {}),
        ("ActivateModel", "POST", "/v1/models/m:activate", {}),
    ],
)
async def test_a_write_that_could_undo_a_newer_one_is_sent_once(
    gateway: Gateway, rpc: str, method: str, path: str, body: dict[str, Any] | None
) -> None:
    gateway.backend.answers[rpc] = away
    status, problem = await gateway.json(method, path, json=body)
    assert (status, problem["reason"]) == (503, "CATALOGUE_UNAVAILABLE")
    assert len(gateway.backend.requests) == 1


async def test_a_read_is_tried_three_times(gateway: Gateway) -> None:
    gateway.backend.answers["GetProduct"] = away
    status, _ = await gateway.json("GET", "/v1/products/p")
    assert status == 503
    assert len(gateway.backend.requests) == 3
