"""Recommending over gRPC: a real database, a feature service that answers over gRPC from memory."""

from __future__ import annotations

import asyncio
import base64

import grpc
import pytest
from windowshop.recommender.v1 import catalog_pb2 as catalog
from windowshop.recommender.v1 import recommendation_pb2 as pb

from services.recommender.pipeline import recommender
from services.runtime.errors import from_bytes, from_rpc
from tests.support.catalogue import import_products, product
from tests.support.feature_service import User
from tests.support.recommender import ids, running_recommender
from tests.support.trained_shop import FANS, Shop, error_of
from tests.support.waiting import eventually


async def test_a_page_is_full_in_stock_and_explained(shop: Shop) -> None:
    page = await shop.service.recommend("audio-fan-0")
    assert len(set(ids(page))) == 10
    assert all(result.reasons for result in page.results)
    assert all(result.product.available_quantity > 0 for result in page.results)
    assert [result.score for result in page.results] == sorted((r.score for r in page.results), reverse=True)
    assert page.model_version
    assert not page.degraded
    token = page.attribution_token
    _, config, model, _ = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode().split("~")
    assert (config, model) == ("recommended-for-you", page.model_version)


async def test_a_stream_of_pages_says_what_calls_say(shop: Shop) -> None:
    stream = shop.service.recommendations.StreamRecommend(timeout=10)
    asked = [
        pb.RecommendRequest(user_id="audio-fan-0", page_size=5),
        pb.RecommendRequest(user_id="audio-fan-0", serving_config="nothing"),
        pb.RecommendRequest(user_id="not an id"),
        pb.RecommendRequest(),
    ]
    for number, ask in enumerate(asked, 7):
        await stream.write(pb.StreamRecommendRequest(number=number, ask=ask, timeout_ms=5_000))
    # Nobody waits for it, but it was answered already, or never asked.
    await stream.write(pb.StreamRecommendRequest(number=99))
    answers: dict[int, pb.StreamRecommendResponse] = {}
    for _ in asked:
        answer = await stream.read()
        assert isinstance(answer, pb.StreamRecommendResponse)
        answers[answer.number] = answer
    page = await shop.service.recommend("audio-fan-0", size=5)
    assert ids(answers[7].answer) == ids(page)
    assert len(answers[10].answer.results) == 10
    for number, ask in ((8, asked[1]), (9, asked[2])):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await shop.service.recommendations.Recommend(ask, timeout=10)
        assert vars(from_rpc(from_bytes(answers[number].error))) == vars(from_rpc(caught.value))
        assert not answers[number].HasField("answer")
    await stream.done_writing()
    assert await stream.read() == grpc.aio.EOF
    assert await stream.code() is grpc.StatusCode.OK


async def test_users_get_what_fits_them(shop: Shop) -> None:
    audio = await shop.service.recommend("audio-fan-1")
    garden = await shop.service.recommend("garden-fan-1")
    assert ids(audio) != ids(garden)
    assert sum(id_.startswith("audio") for id_ in ids(audio)) >= 5
    assert sum(id_.startswith("garden") for id_ in ids(garden)) >= 5


async def test_a_view_shows_in_the_next_page_and_taste_stays(shop: Shop) -> None:
    user = shop.features.users["kitchen-fan-2"]
    before = await shop.service.recommend("kitchen-fan-2")
    assert sum(id_.startswith("books") for id_ in ids(before)) < 3
    user.views.insert(0, "books-20")
    user.browsing_category = "Books"
    after = await shop.service.recommend("kitchen-fan-2")
    neighbours = [result for result in after.results if result.id.startswith("books")]
    assert len(neighbours) >= 3
    assert any("Because you viewed Poetry album model 20" in result.reasons for result in neighbours)
    assert sum(id_.startswith("kitchen") for id_ in ids(after)) >= 3


async def test_strangers_and_guests_get_popular_products(shop: Shop) -> None:
    stranger = await shop.service.recommend("never-seen")
    guest = await shop.service.recommend("", visitor_id="visitor-1")
    nobody = await shop.service.recommend()
    assert ids(stranger) == ids(guest) == ids(nobody)
    assert len(nobody.results) == 10
    assert any("Popular now" in result.reasons for result in nobody.results)
    assert not stranger.degraded


async def test_a_guest_and_a_user_of_a_minute_ago_have_a_vector(shop: Shop) -> None:
    shop.features.guests["first-visit"] = shop.features.users["first-visit"] = User("Books", views=["books-05"])
    for page in (
        await shop.service.recommend(visitor_id="first-visit", explain=True),
        await shop.service.recommend("first-visit", explain=True),
    ):
        collaborative = [
            result.id
            for result in page.results
            if "collaborative" in {found.source for found in result.explanation.sources}
        ]
        assert sum(id_.startswith("books") for id_ in collaborative) >= 3


async def test_what_a_guest_looks_at_counts(shop: Shop) -> None:
    shop.features.guests["audio-fan-9"] = User("Books", views=["books-20", "books-21"])
    page = await shop.service.recommend("", visitor_id="audio-fan-9")
    assert sum(id_.startswith("books") for id_ in ids(page)) >= 5
    assert any("Because you viewed Poetry album model 20" in result.reasons for result in page.results)
    assert not any(id_.startswith("audio") for id_ in ids(page)[:3]), "the user of the same id is somebody else"
    assert not page.degraded
    again = await shop.service.recommend("audio-fan-9", visitor_id="audio-fan-9")
    assert sum(id_.startswith("audio") for id_ in ids(again)) >= 5, "who is signed in is no guest"


@pytest.mark.parametrize("config", ["recommended-for-you", "trending"])
@pytest.mark.parametrize("size", [1, 3, 100])
async def test_pages_have_the_size_that_was_asked_for(shop: Shop, config: str, size: int) -> None:
    page = await shop.service.recommend("audio-fan-3", config, size)
    assert len(set(ids(page))) == size


async def test_similar_items_are_of_the_same_kind(shop: Shop) -> None:
    page = await shop.service.recommendations.ListSimilarProducts(
        pb.ListSimilarProductsRequest(product_id="garden-03", page_size=8), timeout=10
    )
    assert len(page.results) == 8
    assert "garden-03" not in ids(page)
    assert sum(id_.startswith("garden") for id_ in ids(page)) >= 7
    assert page.serving_config == "similar-items"
    assert "Similar to Lawn mower model 3" in page.results[0].reasons


async def test_buy_it_again_is_what_the_user_bought(shop: Shop) -> None:
    page = await shop.service.recommend("books-fan-0", "buy-it-again")
    assert sorted(ids(page)) == sorted(shop.features.users["books-fan-0"].purchases)
    assert page.results[0].reasons[0] == "Bought by you before"


async def test_buy_it_again_without_purchases_is_empty_with_a_reason(shop: Shop) -> None:
    page = await shop.service.recommend("never-seen", "buy-it-again")
    assert not page.results
    assert page.empty_reason == "no earlier purchases"
    assert page.attribution_token


async def test_excluded_products_and_those_of_the_page_are_not_shown(shop: Shop) -> None:
    first = ids(await shop.service.recommend("audio-fan-4"))
    page = await shop.service.recommend("audio-fan-4", exclude_product_ids=first[:5], product_ids=[first[5]])
    assert not set(first[:6]) & set(ids(page))
    assert len(page.results) == 10


async def test_sold_out_products_vanish_at_once_and_come_back(shop: Shop) -> None:
    user = "garden-fan-5"
    chosen = shop.features.users[user].purchases[0]
    shop.features.users[user].views.append(chosen)
    pages: dict[str, dict[str, object]] = {
        "recommended-for-you": {},
        "buy-it-again": {},
        "recently-viewed": {},
        "trending": {},
        "frequently-bought-together": {"product_ids": ["garden-29"]},
        "similar-items": {"product_ids": ["garden-29"]},
    }

    async def shown_on() -> set[str]:
        return {
            config
            for config, more in pages.items()
            if chosen in ids(await shop.service.recommend(user, config, 100, **more))
        }

    assert await shown_on() == set(pages), "only then does it prove anything when it is gone"
    await shop.service.set_stock(chosen, 0)
    assert await shown_on() == set()
    await shop.service.set_stock(chosen, 3)

    async def back() -> bool:
        return await shown_on() == set(pages)

    # Lists that are the same for everyone are made anew now and then only.
    await eventually(back)


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (pb.RecommendRequest(serving_config="nonsense"), "SERVING_CONFIG_NOT_FOUND"),
        (pb.RecommendRequest(page_size=101), "INVALID_PAGE_SIZE"),
        (pb.RecommendRequest(page_size=-1), "INVALID_PAGE_SIZE"),
        (pb.RecommendRequest(user_id="a b"), "INVALID_ID"),
        (pb.RecommendRequest(user_id="x" * 1_000_000), "INVALID_ID"),
        (pb.RecommendRequest(visitor_id="a/b"), "INVALID_ID"),
        (pb.RecommendRequest(product_ids=["ok", ""]), "INVALID_ID"),
        (pb.RecommendRequest(exclude_product_ids=["x"] * 501), "INVALID_ARGUMENT"),
        (pb.RecommendRequest(product_ids=["x"] * 21), "INVALID_ARGUMENT"),
        (pb.RecommendRequest(device="d" * 33), "INVALID_ARGUMENT"),
        (pb.RecommendRequest(serving_config="similar-items"), "REQUIRED"),
        (pb.RecommendRequest(serving_config="similar-items", product_ids=["gone"]), "PRODUCT_NOT_FOUND"),
    ],
)
async def test_bad_requests_are_refused(shop: Shop, request_: pb.RecommendRequest, reason: str) -> None:
    error = await error_of(shop.service.recommendations.Recommend(request_, timeout=10))
    assert error.reason == reason
    expected = grpc.StatusCode.NOT_FOUND if reason.endswith("_NOT_FOUND") else grpc.StatusCode.INVALID_ARGUMENT
    assert error.code is expected


async def test_products_like_an_unknown_one_are_not_found(shop: Shop) -> None:
    request = pb.ListSimilarProductsRequest(product_id="no-such-product")
    error = await error_of(shop.service.recommendations.ListSimilarProducts(request, timeout=10))
    assert error.reason == "PRODUCT_NOT_FOUND"


async def test_a_new_product_is_found_by_its_text(shop: Shop) -> None:
    await import_products(
        shop.service.catalog,
        [product("fresh-mic", title="Microphone model 99", categories=["Audio > Microphone"], price=12.0)],
    )
    request = pb.ListSimilarProductsRequest(product_id="audio-02", page_size=20)

    async def found() -> bool:
        return "fresh-mic" in ids(await shop.service.recommendations.ListSimilarProducts(request, timeout=10))

    await eventually(found)


async def test_a_deleted_product_has_no_similar_ones_and_a_new_one_has(shop: Shop) -> None:
    request = pb.ListSimilarProductsRequest(product_id="short-lived")
    similar = shop.service.recommendations.ListSimilarProducts
    for _ in range(2):
        assert (await error_of(similar(request, timeout=10))).reason == "PRODUCT_NOT_FOUND"
        await import_products(shop.service.catalog, [product("short-lived", title="Travel guide model 98")])
        assert (await similar(request, timeout=10)).results
        await shop.service.catalog.DeleteProduct(catalog.DeleteProductRequest(id="short-lived"), timeout=10)


async def test_more_than_can_be_answered_in_time_is_refused_not_answered_worse(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All 250 callers and their refusals share this process and its core: on a busy machine half a second is no outage.
    monkeypatch.setattr(recommender, "_PAGE_SECONDS", 2.0)
    async with running_recommender(shop.dsn, shop.features_address, pages_at_once=1) as narrow:
        calls = (narrow.recommend(f"audio-fan-{number % FANS}") for number in range(250))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert len((await narrow.recommend("audio-fan-0")).results) == 10
    pages = [outcome for outcome in outcomes if isinstance(outcome, pb.RecommendResponse)]
    refused = [from_rpc(outcome) for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert {(error.code, error.reason) for error in refused} == {(grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")}
    assert all(error.retry_after for error in refused)
    assert len(pages) + len(refused) == 250
    assert len(pages) >= 5, "one at work and four that waited"
    assert not any("catalogue" in page.degraded for page in pages), "overload is no outage"
