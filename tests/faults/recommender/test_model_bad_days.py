"""Recommending while a model version goes, or is broken: always a page, and nothing of two versions in one answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from windowshop.recommender.v1 import recommendation_pb2 as pb

from tests.support.recommender import RunningRecommender, ids, running_recommender
from tests.support.stack import PostgresServer
from tests.support.trained_shop import Shop, trained_shop
from tests.support.waiting import eventually

# What only a version in memory finds.
LEARNT = {"taste", "collaborative", "alike", "popular_in_kinds", "best_sellers", "rising", "co_chosen"}


@pytest.fixture
async def shop(postgres: PostgresServer) -> AsyncIterator[Shop]:
    async with trained_shop(postgres) as started:
        yield started


def sources(page: pb.RecommendResponse) -> set[str]:
    return {found.source for result in page.results for found in result.explanation.sources}


async def whole(service: RunningRecommender) -> pb.RecommendResponse:
    page = await service.recommend("audio-fan-1", explain=True)
    assert len(set(ids(page))) == 10
    # With a version everything that it knows, without one nothing of it.
    assert bool(page.model_version) == bool(sources(page) & LEARNT), (page.model_version, sources(page))
    return page


async def test_a_version_that_is_deleted_under_requests_serves_until_it_is_noticed(shop: Shop) -> None:
    assert (await whole(shop.service)).model_version
    connection = await asyncpg.connect(shop.dsn)
    try:
        await connection.execute("SELECT drop_model_storage(id) FROM models")
        await connection.execute("DELETE FROM models")
    finally:
        await connection.close()
    versions = set[str]()

    async def noticed() -> bool:
        pages = await asyncio.gather(*(whole(shop.service) for _ in range(5)))
        versions.update(page.model_version for page in pages)
        return "" in versions

    await eventually(noticed)
    assert len(versions) == 2
    assert not (await whole(shop.service)).degraded
    assert len((await shop.service.recommend("audio-fan-1", "discover")).results) == 10


async def test_a_version_that_is_broken_serves_what_needs_none(shop: Shop) -> None:
    connection = await asyncpg.connect(shop.dsn)
    try:
        await connection.execute("UPDATE model_artifacts SET content = '\\x00' WHERE name = 'learned'")
    finally:
        await connection.close()
    async with running_recommender(shop.dsn, shop.features_address) as other:
        page = await other.recommend("audio-fan-1", explain=True)
        assert page.model_version, "it is the one that is active"
        assert len(set(ids(page))) == 10
        assert list(page.degraded) == ["model"]
        assert not sources(page) & LEARNT
        assert "buy_again" in sources(page)


async def test_when_everything_is_sold_out_no_page_shows_anything(shop: Shop) -> None:
    connection = await asyncpg.connect(shop.dsn)
    try:
        everything = [row["id"] for row in await connection.fetch("SELECT id FROM products")]
    finally:
        await connection.close()
    await asyncio.gather(*(shop.service.set_stock(id_, 0) for id_ in everything))
    for config in ("recommended-for-you", "discover", "buy-it-again", "trending", "new-arrivals", "recently-viewed"):
        for user in ("audio-fan-1", "stranger", ""):
            page = await shop.service.recommend(user, config, explain=True)
            # A busy machine may answer without the shopper's features, in time.
            assert (ids(page), set(page.degraded) - {"features"}) == ([], set()), (config, user)
            assert page.empty_reason
    for config in ("similar-items", "frequently-bought-together"):
        page = await shop.service.recommend("audio-fan-1", config, product_ids=everything[:1])
        assert (ids(page), set(page.degraded) - {"features"}) == ([], set()), config
