"""explain: what a page says of how it came about."""

from __future__ import annotations

import math

import pytest
from windowshop.recommender.v1 import recommendation_pb2 as pb

from services.recommender.domain.scoring import COLUMNS
from tests.support.catalogue import import_products, product
from tests.support.recommender import ids
from tests.support.trained_shop import Shop, shop_products


@pytest.mark.parametrize("config", ["recommended-for-you", "similar-items", "buy-it-again", "trending"])
async def test_contributions_sum_to_the_score(shop: Shop, config: str) -> None:
    page = await shop.service.recommend("audio-fan-0", config, product_ids=["audio-20"], explain=True)
    assert page.results
    for result in page.results:
        parts = result.explanation.contributions
        assert tuple(part.column for part in parts) == COLUMNS
        assert all(part.contribution == part.weight * part.value for part in parts)
        assert math.isclose(sum(part.contribution for part in parts), result.score, abs_tol=1e-6)


async def test_sources_have_rank_and_score_and_sum_to_their_column(shop: Shop) -> None:
    page = await shop.service.recommend("audio-fan-1", explain=True)
    for result in page.results:
        sources = result.explanation.sources
        assert sources
        assert all(found.rank >= 1 for found in sources)
        assert [found.share for found in sources] == sorted((found.share for found in sources), reverse=True)
        fusion = next(part for part in result.explanation.contributions if part.column == "fusion")
        assert math.isclose(sum(found.share for found in sources), fusion.value, abs_tol=1e-9)
    around = [found for result in page.results for found in result.explanation.sources if found.source == "semantic"]
    views = shop.features.users["audio-fan-1"].views
    assert around
    assert {found.anchor_product_id for found in around} <= set(views)
    assert all(0 < found.score <= 1 for found in around)


async def test_a_session_says_what_it_moved(shop: Shop) -> None:
    user = shop.features.users["kitchen-fan-4"]
    user.views.insert(0, "books-20")
    user.browsing_category = "Books"
    page = await shop.service.recommend("kitchen-fan-4", size=20, explain=True)
    moved = [result for result in page.results if "session-share" in result.explanation.moved_by]
    neighbours = [r for r in page.results if any(s.anchor_product_id == "books-20" for s in r.explanation.sources)]
    assert set(ids(pb.RecommendResponse(results=moved))) <= {result.id for result in neighbours}
    assert len(neighbours) >= 6


async def test_what_fills_a_short_page_says_so(shop: Shop) -> None:
    await import_products(shop.service.catalog, [product("unheard-of", title="Thing", categories=["Things"])])
    others = [item.id for item in shop_products()]
    page = await shop.service.recommend(config="trending", exclude_product_ids=others, explain=True)
    assert ids(page) == ["unheard-of"]
    assert page.results[0].score == 0
    explanation = page.results[0].explanation
    assert list(explanation.moved_by) == ["fill"]
    assert not explanation.contributions
    assert [found.source for found in explanation.sources] == ["fill"]


async def test_only_who_asks_is_told_and_the_page_is_the_same(shop: Shop) -> None:
    plain = await shop.service.recommend("garden-fan-1")
    explained = await shop.service.recommend("garden-fan-1", explain=True)
    assert not any(result.HasField("explanation") for result in plain.results)
    assert all(result.HasField("explanation") for result in explained.results)
    assert ids(plain) == ids(explained)


async def test_similar_products_are_explained_too(shop: Shop) -> None:
    request = pb.ListSimilarProductsRequest(product_id="garden-03", explain=True)
    page = await shop.service.recommendations.ListSimilarProducts(request, timeout=10)
    first = page.results[0].explanation
    assert "garden-03" in {found.anchor_product_id for found in first.sources}
    assert math.isclose(sum(part.contribution for part in first.contributions), page.results[0].score, abs_tol=1e-6)
