"""Updates through the gateway to the real recommender: what a partial product means is decided by both."""

from collections.abc import AsyncIterator

import pytest

from tests.support.gateway import Backend, Gateway, running_gateway
from tests.support.recommender import running_recommender
from tests.support.stack import PostgresServer, free_port
from tests.support.waiting import eventually

FULL = {
    "title": "Lamp",
    "description": "Bright.",
    "categories": ["Home > Lamps"],
    "brand": "Lux",
    "price": 19.5,
    "tags": ["new"],
    "attributes": {"colour": "red"},
    "availableQuantity": 3,
}


@pytest.fixture
async def shop(postgres: PostgresServer) -> AsyncIterator[Gateway]:
    port = free_port()
    async with (
        running_recommender(await postgres.create_database("recommender"), f"127.0.0.1:{free_port()}", port=port),
        running_gateway(Backend(), free_port(), port) as gateway,
    ):
        await eventually(gateway.readiness.ready)
        yield gateway


async def test_an_update_clears_what_it_names_as_empty_and_keeps_what_it_leaves_out(shop: Gateway) -> None:
    status, made = await shop.json("PATCH", "/v1/products/a?allowMissing=true", json=FULL)
    assert (status, made["brand"], made["price"]) == (200, "Lux", 19.5)
    cleared: dict[str, object] = {
        "description": "",
        "brand": "",
        "tags": [],
        "categories": [],
        "attributes": {},
        "price": None,
    }
    status, product = await shop.json("PATCH", "/v1/products/a", json=cleared)
    assert status == 200
    assert "price" not in product
    assert {name: product[name] for name in cleared if name != "price"} == {
        name: value for name, value in cleared.items() if name != "price"
    }
    assert (product["title"], product["availableQuantity"]) == ("Lamp", 3)


async def test_a_product_that_was_read_can_be_sent_back(shop: Gateway) -> None:
    await shop.json("PATCH", "/v1/products/a?allowMissing=true", json=FULL)
    _, read = await shop.json("GET", "/v1/products/a")
    status, product = await shop.json("PATCH", "/v1/products/a", json={**read, "title": "Lantern"})
    assert status == 200
    assert {**product, "updateTime": ""} == {**read, "title": "Lantern", "updateTime": ""}


async def test_an_update_that_names_nothing_changes_nothing(shop: Gateway) -> None:
    _, made = await shop.json("PATCH", "/v1/products/a?allowMissing=true", json=FULL)
    status, product = await shop.json("PATCH", "/v1/products/a", json={})
    assert (status, {**product, "updateTime": ""}) == (200, {**made, "updateTime": ""})


async def test_a_title_is_not_cleared(shop: Gateway) -> None:
    await shop.json("PATCH", "/v1/products/a?allowMissing=true", json=FULL)
    status, problem = await shop.json("PATCH", "/v1/products/a", json={"title": ""})
    assert (status, problem["errors"][0]["field"]) == (400, "title")
