"""What each serving config promises of its pages."""

from __future__ import annotations

import asyncpg
import grpc
import pytest
from windowshop.recommender.v1 import recommendation_pb2 as pb
from windowshop.recommender.v1 import serving_config_pb2 as configs

from tests.support.catalogue import import_products, product
from tests.support.feature_service import User
from tests.support.recommender import ids
from tests.support.trained_shop import Shop, error_of
from tests.support.waiting import eventually


async def test_discover_has_nothing_that_was_bought(shop: Shop) -> None:
    user = "kitchen-fan-0"
    bought = set(shop.features.users[user].purchases)
    assert bought & set(ids(await shop.service.recommend(user)))
    page = await shop.service.recommend(user, "discover")
    assert len(page.results) == 10
    assert sum(id_.startswith("kitchen") for id_ in ids(page)) >= 4, "it still fits the shopper"
    everything = await shop.service.recommend(user, "discover", 100)
    assert len(everything.results) == 100, "what fills a page was not bought either"
    assert not bought & set(ids(everything))


async def test_discover_knows_every_purchase_not_only_the_habits(shop: Shop) -> None:
    shop.features.users["veteran"] = User(
        purchases=[f"gone-{number}" for number in range(400)] + ["audio-00", "audio-01"]
    )
    everything = ids(await shop.service.recommend("veteran", "discover", 100))
    assert len(everything) == 100
    assert not {"audio-00", "audio-01"} & set(everything)
    assert "audio-00" not in ids(await shop.service.recommend("veteran", "buy-it-again", 100)), "no habit"


async def test_discover_for_who_bought_all_is_empty_with_a_reason(shop: Shop) -> None:
    rest = [name for name in shop.features.items if name != "audio-00"]
    shop.features.users["collector"] = User(purchases=rest)
    assert ids(await shop.service.recommend("collector", "discover")) == ["audio-00"]
    page = await shop.service.recommend("collector", "discover", exclude_product_ids=["audio-00"])
    assert not page.results
    assert page.empty_reason == "nothing is in stock that was never bought"


async def test_recently_viewed_is_in_the_order_of_the_views(shop: Shop) -> None:
    views = ["garden-03", "audio-07", "books-11", "audio-01"]
    shop.features.users["looker"] = User("Garden", views=views, purchases=["audio-01"])
    shop.features.guests["looker"] = User("Garden", views=views[1:])
    page = await shop.service.recommend("looker", "recently-viewed")
    assert ids(page) == views
    assert all(result.reasons[0] == "Viewed by you lately" for result in page.results)
    assert ids(await shop.service.recommend("", "recently-viewed", visitor_id="looker")) == views[1:]
    on_a_page = await shop.service.recommend("looker", "recently-viewed", product_ids=["garden-03"])
    assert ids(on_a_page) == views[1:]
    await shop.service.set_stock("books-11", 0)
    assert ids(await shop.service.recommend("looker", "recently-viewed")) == ["garden-03", "audio-07", "audio-01"]
    only = await shop.service.recommend("looker", "recently-viewed", exclude_product_ids=[*views[:2], views[3]])
    assert (ids(only), only.empty_reason) == ([], "nothing of it is in stock")
    await shop.service.set_stock("books-11", 7)


async def test_recently_viewed_without_views_says_so(shop: Shop) -> None:
    page = await shop.service.recommend("never-seen", "recently-viewed")
    assert (ids(page), page.empty_reason) == ([], "nothing was viewed lately")


async def test_a_cart_gets_what_the_same_people_take(shop: Shop) -> None:
    cart = ["garden-03", "garden-04"]
    page = await shop.service.recommend("", "frequently-bought-together", product_ids=cart)
    assert len(page.results) == 10
    assert not set(cart) & set(ids(page))
    assert sum(id_.startswith("garden") for id_ in ids(page)) >= 5
    of_cart = [f"Chosen by shoppers who took {title}" for title in ("Lawn mower model 3", "Watering can model 4")]
    assert page.results[0].reasons[0] in of_cart
    mixed = await shop.service.recommend("", "frequently-bought-together", product_ids=["garden-03", "audio-03"])
    assert {"garden", "audio"} <= {id_.split("-")[0] for id_ in ids(mixed)}


@pytest.mark.parametrize(
    ("cart", "reason", "code"),
    [
        ([], "REQUIRED", grpc.StatusCode.INVALID_ARGUMENT),
        (["gone"], "PRODUCT_NOT_FOUND", grpc.StatusCode.NOT_FOUND),
    ],
)
async def test_a_cart_of_nothing_is_refused(shop: Shop, cart: list[str], reason: str, code: grpc.StatusCode) -> None:
    request = pb.RecommendRequest(serving_config="frequently-bought-together", product_ids=cart)
    error = await error_of(shop.service.recommendations.Recommend(request, timeout=10))
    assert (error.reason, error.code) == (reason, code)


async def test_a_product_unknown_beside_known_ones_does_no_harm(shop: Shop) -> None:
    cart = ["gone", "audio-05"]
    page = await shop.service.recommend("", "frequently-bought-together", product_ids=cart)
    assert len(page.results) == 10


async def test_new_arrivals_are_new(shop: Shop) -> None:
    empty = await shop.service.recommend("audio-fan-0", "new-arrivals")
    assert (ids(empty), empty.empty_reason) == ([], "nothing new is in stock"), "a first load is no arrival"
    connection = await asyncpg.connect(shop.dsn)
    await connection.execute("UPDATE products SET create_time = create_time - interval '2 days'")
    await connection.close()
    names = ["new-hose", "new-pan", "new-atlas"]
    titles = ["Garden hose model 77", "Frying pan model 77", "Travel guide model 77"]
    made = [product(name, title=title, categories=["New"]) for name, title in zip(names, titles, strict=True)]
    await import_products(shop.service.catalog, made)

    async def arrived() -> bool:
        return set(ids(await shop.service.recommend("audio-fan-0", "new-arrivals"))) == set(names)

    await eventually(arrived)
    page = await shop.service.recommend("audio-fan-0", "new-arrivals")
    assert all("New" in result.reasons for result in page.results)
    assert page.next_page_token == ""


@pytest.mark.parametrize("config", ["discover", "frequently-bought-together", "recently-viewed"])
async def test_the_contributions_of_every_config_sum_to_the_score(shop: Shop, config: str) -> None:
    page = await shop.service.recommend("books-fan-3", config, product_ids=["books-29"], explain=True)
    assert page.results
    for result in page.results:
        total = sum(part.contribution for part in result.explanation.contributions)
        assert total == pytest.approx(result.score, abs=1e-6)


@pytest.mark.parametrize("vectors", [configs.TEXT, configs.MODEL])
async def test_a_diverse_page_has_fewer_that_are_alike(shop: Shop, vectors: configs.DiversityVectors.ValueType) -> None:
    user = "garden-fan-1"
    before = await shop.service.configs.GetServingConfig(
        configs.GetServingConfigRequest(id="recommended-for-you"), timeout=10
    )
    edit = configs.ServingConfig(
        id="recommended-for-you", diversity=configs.Diversity(mmr_lambda=0.2, mmr_vectors=vectors)
    )

    async def page() -> list[str]:
        return ids(await shop.service.recommend(user))

    plain = configs.ServingConfig(id="recommended-for-you", diversity=configs.Diversity())
    try:
        await shop.service.configs.UpdateServingConfig(
            configs.UpdateServingConfigRequest(serving_config=plain), timeout=10
        )
        alike = await page()
        await shop.service.configs.UpdateServingConfig(
            configs.UpdateServingConfigRequest(serving_config=edit), timeout=10
        )
        diverse = await page()
        assert diverse != alike
        if vectors == configs.TEXT:  # of one kind: of one text, nearly
            assert sum(id_.startswith("garden") for id_ in diverse) < sum(id_.startswith("garden") for id_ in alike)
        explained = await shop.service.recommend(user, explain=True)
        assert not explained.degraded
        assert any("mmr" in result.explanation.moved_by for result in explained.results)
    finally:
        restored = await shop.service.configs.DeleteServingConfig(
            configs.DeleteServingConfigRequest(id="recommended-for-you"), timeout=10
        )
    assert restored.restored == before
