"""Shops, products and shoppers that nobody knows anything about yet: the best that is possible, never an error."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
import pytest
from windowshop.recommender.v1 import recommendation_pb2 as pb

from services.runtime.errors import from_rpc
from tests.support.catalogue import import_products, product
from tests.support.feature_service import FakeFeatures, User, running_features
from tests.support.recommender import RunningRecommender, ids, running_recommender
from tests.support.stack import PostgresServer
from tests.support.trained_shop import Shop, shop_products
from tests.support.waiting import eventually

# What is empty by its meaning when nobody did anything yet, with what it says.
OWN = {
    "buy-it-again": "no earlier purchases",
    "recently-viewed": "nothing was viewed lately",
    "new-arrivals": "nothing new is in stock",
}
FOR_ALL = ("recommended-for-you", "discover", "trending")
FOR_PRODUCTS = ("similar-items", "frequently-bought-together")
# A user, a guest, nobody known: user id and visitor id.
WHO = (("somebody", ""), ("", "guest"), ("", ""))


@dataclass(frozen=True, slots=True)
class ColdShop:
    """A recommender without a model, of a shop where nothing happened."""

    service: RunningRecommender
    features: FakeFeatures


@contextlib.asynccontextmanager
async def cold_shop(postgres: PostgresServer) -> AsyncIterator[ColdShop]:
    async with (
        running_features() as server,
        running_recommender(await postgres.create_database("recommender"), server.address) as service,
    ):
        yield ColdShop(service, server.features)


@pytest.fixture(scope="module")
async def empty(postgres: PostgresServer) -> AsyncIterator[ColdShop]:
    """Not even a product."""
    async with cold_shop(postgres) as shop:
        yield shop


@pytest.fixture(scope="module")
async def cold(postgres: PostgresServer) -> AsyncIterator[ColdShop]:
    """120 products, one of them with a title alone, and no event."""
    async with cold_shop(postgres) as shop:
        await import_products(shop.service.catalog, [*shop_products(), product("bare", title="Thing", categories=[])])
        yield shop


@pytest.mark.parametrize("who", WHO)
async def test_an_empty_shop_has_empty_pages_with_a_reason(empty: ColdShop, who: tuple[str, str]) -> None:
    for config in (*FOR_ALL, *OWN):
        page = await empty.service.recommend(who[0], config, visitor_id=who[1])
        assert not page.results
        assert page.empty_reason
        assert not page.degraded
        assert not page.next_page_token


async def test_an_empty_shop_has_nothing_like_a_product(empty: ColdShop) -> None:
    for config in FOR_PRODUCTS:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await empty.service.recommend(config=config, product_ids=["any"])
        assert from_rpc(caught.value).reason == "PRODUCT_NOT_FOUND"


async def test_the_first_products_are_on_the_next_page(postgres: PostgresServer) -> None:
    async with cold_shop(postgres) as shop:
        assert not (await shop.service.recommend()).results
        await import_products(shop.service.catalog, [product("first", title="The first")])
        page = await shop.service.recommend()
        assert ids(page) == ["first"]
        assert list(page.results[0].reasons) == ["Popular now"]


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("config", [*FOR_ALL, *FOR_PRODUCTS])
async def test_without_any_event_pages_are_full(cold: ColdShop, config: str, who: tuple[str, str]) -> None:
    user, visitor = who
    on_page = ["garden-03"] if config in FOR_PRODUCTS else []
    page = await cold.service.recommend(user, config, visitor_id=visitor, product_ids=on_page)
    assert len(set(ids(page))) == 10
    assert all(result.reasons for result in page.results)
    assert not page.degraded
    assert page.model_version == ""
    token = page.next_page_token
    rest = await cold.service.recommend(user, config, 100, visitor_id=visitor, product_ids=on_page, page_token=token)
    assert len(rest.results) == 100
    assert not set(ids(page)) & set(ids(rest))


@pytest.mark.parametrize(("config", "reason"), OWN.items())
async def test_without_any_event_own_lists_say_why_they_are_empty(cold: ColdShop, config: str, reason: str) -> None:
    page = await cold.service.recommend("somebody", config)
    assert (ids(page), page.empty_reason) == ([], reason)


@pytest.mark.parametrize("config", FOR_PRODUCTS)
async def test_a_product_with_a_title_alone_has_a_page(cold: ColdShop, config: str) -> None:
    page = await cold.service.recommend(config=config, product_ids=["bare"])
    assert len(page.results) == 10
    assert "bare" not in ids(page)


async def test_without_any_event_likeness_goes_by_text(cold: ColdShop) -> None:
    request = pb.ListSimilarProductsRequest(product_id="garden-03", page_size=8)
    page = await cold.service.recommendations.ListSimilarProducts(request, timeout=10)
    assert sum(id_.startswith("garden") for id_ in ids(page)) >= 7


@pytest.mark.parametrize("who", ["guest", "user"])
async def test_one_view_shapes_the_next_page(cold: ColdShop, who: str) -> None:
    seen = User("Books", views=["books-20"])
    if who == "guest":
        cold.features.guests["one-view"] = seen
        page = await cold.service.recommend(visitor_id="one-view")
    else:
        cold.features.users["one-view"] = seen
        page = await cold.service.recommend("one-view")
    assert len(page.results) == 10
    assert sum(id_.startswith("books") for id_ in ids(page)) >= 5
    assert page.results[0].reasons[0] == "Because you viewed Poetry album model 20"


async def test_one_view_of_a_product_that_is_gone_does_no_harm(cold: ColdShop) -> None:
    cold.features.guests["late"] = User("Books", views=["no-longer"])
    for config in FOR_ALL:
        page = await cold.service.recommend(config=config, visitor_id="late")
        assert len(page.results) == 10
        assert not page.degraded


async def test_the_only_product_in_stock_is_shown(postgres: PostgresServer) -> None:
    async with cold_shop(postgres) as shop:
        sold_out = [product(f"gone-{n}", title=f"Lamp {n}", available_quantity=0) for n in range(30)]
        await import_products(shop.service.catalog, [*sold_out, product("left", title="A lamp")])
        shop.features.users["fan"] = User("Lamps", views=["gone-1"], purchases=["gone-2"])
        for config in FOR_ALL:
            assert ids(await shop.service.recommend("fan", config)) == ["left"]
        for config in FOR_PRODUCTS:
            assert ids(await shop.service.recommend("fan", config, product_ids=["gone-1"])) == ["left"]


async def test_a_new_product_is_found_among_known_ones_by_its_text(shop: Shop) -> None:
    """In a trained shop, where everything else has behaviour that speaks for it."""
    made = product(
        "garden-new",
        title="Lawn mower model 3 plus",
        description="A lawn mower for everyone.",
        categories=["Garden > Lawn mower"],
        price=12.0,
    )
    await import_products(shop.service.catalog, [made])
    shop.features.guests["gardener"] = User("Garden", views=["garden-03"])

    async def found() -> pb.Recommendation:
        page = await shop.service.recommend(visitor_id="gardener", size=25, explain=True)
        return next(result for result in page.results if result.id == "garden-new")

    result = await found()
    assert "Because you viewed Lawn mower model 3" in result.reasons
    assert "semantic" in {source.source for source in result.explanation.sources}


async def test_a_new_user_among_known_ones_gets_a_page_and_one_view_turns_it(shop: Shop) -> None:
    before = await shop.service.recommend("newcomer")
    assert len(before.results) == 10
    shop.features.users["newcomer"] = User("Books", views=["books-20"])

    async def turned() -> bool:
        page = await shop.service.recommend("newcomer")
        return len(page.results) == 10 and sum(id_.startswith("books") for id_ in ids(page)) >= 5

    assert await eventually(turned)
