"""Page after page: nothing twice, nothing sold out, an end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from windowshop.recommender.v1 import recommendation_pb2 as pb

from tests.support.catalogue import import_products, product
from tests.support.recommender import ids
from tests.support.trained_shop import PER_CATEGORY, Shop, error_of

Between = Callable[[int, pb.RecommendResponse], Awaitable[None]]
PRODUCTS = 4 * PER_CATEGORY


async def nothing(_: int, __: pb.RecommendResponse) -> None:
    """Between two pages."""


async def all_pages(
    shop: Shop, user: str, config: str = "", size: int = 10, between: Between = nothing, **more: object
) -> list[list[str]]:
    pages: list[list[str]] = []
    token = ""
    while True:
        page = await shop.service.recommend(user, config, size, page_token=token, **more)
        assert not page.degraded
        pages.append(ids(page))
        token = page.next_page_token
        if not token:
            return pages
        await between(len(pages), page)


def flat(pages: list[list[str]]) -> list[str]:
    return [id_ for page in pages for id_ in page]


@pytest.mark.parametrize("config", ["recommended-for-you", "trending"])
@pytest.mark.parametrize("size", [7, 60, 100])
async def test_all_products_come_and_none_twice(shop: Shop, config: str, size: int) -> None:
    pages = await all_pages(shop, "audio-fan-0", config, size)
    assert len(flat(pages)) == len(set(flat(pages))) == PRODUCTS
    assert all(len(page) == size for page in pages[:-1])
    assert pages[-1], "whoever is told of a next page gets something"


async def test_no_page_repeats_a_product_while_behaviour_changes(shop: Shop) -> None:
    user = shop.features.users["kitchen-fan-7"]

    async def browse(number: int, page: pb.RecommendResponse) -> None:
        # What was on the page is viewed, and something of another kind: the next list is a new one.
        user.views[:0] = [page.results[0].id, f"books-{number:02d}"]
        user.browsing_category = "Books"

    pages = await all_pages(shop, "kitchen-fan-7", between=browse)
    assert len(flat(pages)) == len(set(flat(pages))) == PRODUCTS
    assert sum(id_.startswith("books") for id_ in pages[1]) >= 2, "the page after a view follows it"


async def test_what_is_sold_out_between_two_pages_is_on_none_after(shop: Shop) -> None:
    first = await shop.service.recommend("garden-fan-0")
    expected = ids(await shop.service.recommend("garden-fan-0", page_token=first.next_page_token))
    await shop.service.set_stock(expected[0], 0)
    second = await shop.service.recommend("garden-fan-0", page_token=first.next_page_token)
    assert len(second.results) == 10
    assert expected[0] not in ids(second)
    await shop.service.set_stock(expected[0], 7)


async def test_lists_that_end_end(shop: Shop) -> None:
    pages = await all_pages(shop, "books-fan-0", "buy-it-again", 2)
    assert [len(page) for page in pages] == [2, 2, 1]
    assert sorted(flat(pages)) == sorted(shop.features.users["books-fan-0"].purchases)


async def test_excluded_products_stay_away_and_the_page_size_may_change(shop: Shop) -> None:
    first = await shop.service.recommend("audio-fan-2", size=5)
    hidden = ids(await shop.service.recommend("audio-fan-2", size=5, page_token=first.next_page_token))
    second = await shop.service.recommend(
        "audio-fan-2", size=20, page_token=first.next_page_token, exclude_product_ids=hidden
    )
    assert len(second.results) == 20
    assert not set(ids(second)) & {*ids(first), *hidden}


async def test_similar_products_have_pages_too(shop: Shop) -> None:
    similar = shop.service.recommendations.ListSimilarProducts
    first = await similar(pb.ListSimilarProductsRequest(product_id="garden-03"), timeout=10)
    request = pb.ListSimilarProductsRequest(product_id="garden-03", page_token=first.next_page_token)
    second = await similar(request, timeout=10)
    assert not set(ids(first)) & set(ids(second))
    assert sum(id_.startswith("garden") for id_ in ids(second)) >= 7
    assert "garden-03" not in ids(second)


@pytest.mark.parametrize("token", ["x", "AAAAAAAAAAAA", "a b", "A" * 5_000])
async def test_what_is_no_token_is_refused(shop: Shop, token: str) -> None:
    page = shop.service.recommendations.Recommend(pb.RecommendRequest(page_token=token), timeout=10)
    assert (await error_of(page)).reason == "INVALID_PAGE_TOKEN"
    similar = pb.ListSimilarProductsRequest(product_id="garden-03", page_token=token)
    refused = await error_of(shop.service.recommendations.ListSimilarProducts(similar, timeout=10))
    assert refused.reason == "INVALID_PAGE_TOKEN"


async def test_a_token_is_of_one_shopper(shop: Shop) -> None:
    token = (await shop.service.recommend("audio-fan-2")).next_page_token
    request = pb.RecommendRequest(user_id="audio-fan-3", page_token=token)
    error = await error_of(shop.service.recommendations.Recommend(request, timeout=10))
    assert error.reason == "INVALID_PAGE_TOKEN"


async def test_five_hundred_results_are_the_end(shop: Shop) -> None:
    more = [product(f"lamp-{number}", title=f"Lamp {number}", categories=["Lamps"]) for number in range(450)]
    await import_products(shop.service.catalog, more)
    pages = await all_pages(shop, "audio-fan-5", size=90)
    assert [len(page) for page in pages] == [90] * 5 + [50]
    assert len(set(flat(pages))) == 500
