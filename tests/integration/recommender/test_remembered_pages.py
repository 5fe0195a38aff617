"""Pages in an order that was worked out a moment ago: what anybody does shows on the next page all the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from windowshop.recommender.v1 import catalog_pb2 as catalog
from windowshop.recommender.v1 import model_pb2
from windowshop.recommender.v1 import recommendation_pb2 as pb
from windowshop.recommender.v1 import serving_config_pb2 as configs

from services.recommender.pipeline import active_model, metrics
from tests.support.catalogue import import_products, product
from tests.support.learned import ranker
from tests.support.recommender import ids
from tests.support.stack import PostgresServer
from tests.support.trained_shop import Shop, trained_shop
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
async def shop(postgres: PostgresServer) -> AsyncIterator[Shop]:
    """The trained one, with rankers, for which it has too little of a log."""
    decode = active_model._decode
    order = ranker(own=2.0, alike_relative=1.0, taste_relative=1.0, collaborative_relative=0.5)

    def with_rankers(*version: Any) -> Any:
        return replace(decode(*version), rankers={"anything": order, "never_bought": order})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(active_model, "_decode", with_rankers)
        async with trained_shop(postgres) as started:
            yield started


async def ask(shop: Shop, user: str, config: str = "") -> tuple[pb.RecommendResponse, bool]:
    """A page, and whether its order was remembered."""
    before = metrics.REMEMBERED._value.get()
    page = await shop.service.recommend(user, config)
    assert not page.degraded
    return page, metrics.REMEMBERED._value.get() > before


async def remembered(shop: Shop, user: str) -> pb.RecommendResponse:
    """A page in a remembered order, as soon as the catalogue stood still for long enough."""

    async def found() -> pb.RecommendResponse | None:
        page, again = await ask(shop, user)
        return page if again else None

    page = await eventually(found, timeout=30)
    assert page is not None
    return page


async def test_a_page_is_the_same_without_being_made_again(shop: Shop) -> None:
    again = await remembered(shop, "audio-fan-0")
    explained = await shop.service.recommend("audio-fan-0", explain=True)
    assert ids(again) == ids(explained)
    assert [list(result.reasons) for result in again.results] == [list(result.reasons) for result in explained.results]
    assert [round(result.score, 3) for result in again.results] == [round(r.score, 3) for r in explained.results]
    assert again.results[0].product == explained.results[0].product
    token = (await remembered(shop, "audio-fan-0")).attribution_token
    assert token
    assert token != again.attribution_token
    following = await shop.service.recommend("audio-fan-0", page_token=again.next_page_token)
    assert len(following.results) == 10
    assert set(ids(following)).isdisjoint(ids(again))


async def test_a_view_shows_on_the_next_page(shop: Shop) -> None:
    before = await remembered(shop, "kitchen-fan-2")
    user = shop.features.users["kitchen-fan-2"]
    user.views.insert(0, "books-20")
    user.browsing_category = "Books"
    after, again = await ask(shop, "kitchen-fan-2")
    assert not again
    assert sum(id_.startswith("books") for id_ in ids(after)) > sum(id_.startswith("books") for id_ in ids(before))


async def test_what_is_sold_out_is_gone_at_once_and_comes_back(shop: Shop) -> None:
    first = ids(await remembered(shop, "garden-fan-3"))[0]
    await shop.service.set_stock(first, 0)
    page, again = await ask(shop, "garden-fan-3")
    assert first not in ids(page)
    assert len(page.results) == 10
    assert not again
    assert first not in ids(await remembered(shop, "garden-fan-3"))
    await shop.service.set_stock(first, 5)

    async def back() -> bool:
        return first in ids((await ask(shop, "garden-fan-3"))[0])

    await eventually(back)


async def test_a_new_price_and_a_new_title_are_shown_at_once(shop: Shop) -> None:
    first = (await remembered(shop, "books-fan-1")).results[0].product
    first.price, first.title = 99.5, "Another title"
    await shop.service.catalog.UpdateProduct(catalog.UpdateProductRequest(product=first), timeout=10)
    page, _ = await ask(shop, "books-fan-1")
    shown = {result.id: result.product for result in page.results}[first.id]
    assert (shown.price, shown.title) == (99.5, "Another title")


async def test_a_new_product_is_looked_at_by_everybody(shop: Shop) -> None:
    await remembered(shop, "audio-fan-5")
    await import_products(shop.service.catalog, [product("audio-new", title="Headphones model 5", price=12.0)])
    _, again = await ask(shop, "audio-fan-5")
    assert not again


async def test_an_edit_of_the_serving_config_counts_at_once(shop: Shop) -> None:
    await remembered(shop, "kitchen-fan-5")
    plain = configs.ServingConfig(id="recommended-for-you", diversity=configs.Diversity())
    try:
        await shop.service.configs.UpdateServingConfig(
            configs.UpdateServingConfigRequest(serving_config=plain), timeout=10
        )
        assert not (await ask(shop, "kitchen-fan-5"))[1]
    finally:
        await shop.service.configs.DeleteServingConfig(
            configs.DeleteServingConfigRequest(id="recommended-for-you"), timeout=10
        )


async def test_another_model_makes_its_own_pages_and_so_does_the_one_before(shop: Shop) -> None:
    first = (await remembered(shop, "audio-fan-7")).model_version
    other = await shop.service.train()
    assert other.state == model_pb2.ACTIVE
    page, again = await ask(shop, "audio-fan-7")
    assert (page.model_version, again) == (other.id, False)
    await remembered(shop, "audio-fan-7")
    await shop.service.models.ActivateModel(model_pb2.ActivateModelRequest(id=first), timeout=10)

    async def rolled_back() -> bool:
        page, again = await ask(shop, "audio-fan-7")
        assert page.model_version == first or not page.degraded
        return page.model_version == first and not again

    await eventually(rolled_back)


async def test_nothing_is_remembered_of_the_erased(shop: Shop) -> None:
    await remembered(shop, "books-fan-4")
    assert await shop.service.erase("books-fan-4") == {"signals": 1}
    for _ in range(3):
        assert not (await ask(shop, "books-fan-4"))[1]
    await remembered(shop, "books-fan-5")


async def test_what_live_features_order_is_made_each_time(shop: Shop) -> None:
    await remembered(shop, "garden-fan-6")
    for config in ("trending", "buy-it-again", "recently-viewed", "new-arrivals"):
        assert [(await ask(shop, "garden-fan-6", config))[1] for _ in range(2)] == [False, False]
