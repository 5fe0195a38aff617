"""Recommending while something is down: a page with a mark, never an error, and everything as before afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest
from prometheus_client import REGISTRY
from windowshop.recommender.v1 import recommendation_pb2 as pb

from tests.support.catalogue import import_products, product
from tests.support.feature_service import FeatureServer, Item, User, running_features
from tests.support.proxy import Proxy, running_proxy
from tests.support.recommender import RunningRecommender, ids, running_recommender
from tests.support.stack import PostgresServer
from tests.support.waiting import eventually

# The longest that a client of ours waits for a recommendation; the promise is far below.
PATIENCE = 1.0
PRODUCTS = [f"{group}-{number}" for group in ("red", "blue") for number in range(15)]


@dataclass(frozen=True, slots=True)
class Shop:
    """A recommender that lost nothing yet."""

    service: RunningRecommender
    features: FeatureServer
    postgres: PostgresServer
    database: Proxy

    async def page(self, user: str = "red-fan", config: str = "", size: int = 10) -> pb.RecommendResponse:
        request = pb.RecommendRequest(user_id=user, serving_config=config, page_size=size)
        return await self.service.recommendations.Recommend(request, timeout=PATIENCE)

    async def lose_the_store(self) -> None:
        """Like a power cut; the server's last processes may answer for a moment longer."""
        await self.postgres.kill()

        async def lost() -> bool:
            return "catalogue" in (await self.page()).degraded

        await eventually(lost)

    async def healthy(self) -> bool:
        page = await self.page()
        return not page.degraded and len(page.results) == 10


@pytest.fixture
async def shop(postgres_factory: Callable[[], Awaitable[PostgresServer]]) -> AsyncIterator[Shop]:
    postgres = await postgres_factory()
    dsn = await postgres.create_database("recommender")
    target = urlsplit(dsn)
    async with running_features() as features, running_proxy(target.port or 0) as database:
        fake = features.features
        fake.users["red-fan"] = User("red", views=["red-1", "red-2"], purchases=["red-3", "red-4"])
        fake.items |= {name: Item(popularity=50.0 - place) for place, name in enumerate(PRODUCTS)}
        through = dsn.replace(f":{target.port}/", f":{database.port}/")
        async with running_recommender(through, features.address) as service:
            made = [product(name, categories=[name.partition("-")[0]], title=f"A {name}") for name in PRODUCTS]
            await import_products(service.catalog, made)
            shop = Shop(service, features, postgres, database)
            await eventually(shop.healthy, timeout=30)

            async def copied() -> bool:
                return "Popular now" in (await shop.page("", "trending")).results[0].reasons

            await eventually(copied, timeout=30)
            await eventually(lambda: REGISTRY.get_sample_value("windowshop_showcase_products") == len(PRODUCTS))
            yield shop


async def test_without_the_feature_service_the_last_known_taste_counts(shop: Shop) -> None:
    before = await shop.page()
    await shop.features.stop()
    page = await shop.page()
    assert "features" in page.degraded
    assert len(page.results) == 10
    assert sum(id_.startswith("red") for id_ in ids(page)) >= sum(id_.startswith("red") for id_ in ids(before)) - 1
    stranger = await shop.page("stranger")
    assert len(stranger.results) == 10
    await shop.features.start()
    await eventually(shop.healthy, timeout=30)


async def test_a_hung_feature_service_costs_little_and_then_nothing(shop: Shop) -> None:
    shop.features.features.hang = True
    for _ in range(6):
        page = await shop.page()
        assert "features" in page.degraded
        assert len(page.results) == 10
    asked = shop.features.features.asked
    pages = await asyncio.gather(*(shop.page() for _ in range(20)))
    assert all("features" in page.degraded for page in pages)
    # Without the breaker 40; with it, one try at most for each second that this took.
    assert shop.features.features.asked - asked <= 3
    shop.features.features.hang = False
    await eventually(shop.healthy, timeout=30)


async def test_what_the_feature_service_lacks_is_passed_on(shop: Shop) -> None:
    shop.features.features.degraded = ["online-store"]
    page = await shop.page()
    assert page.degraded == ["features"]
    assert len(page.results) == 10


async def test_without_the_store_popular_products_come_from_memory_but_none_that_sold_out(shop: Shop) -> None:
    await shop.service.set_stock("red-5", 0)
    await shop.lose_the_store()
    for config in ("", "trending"):
        page = await shop.page(config=config, size=30)
        assert "catalogue" in page.degraded
        assert len(page.results) >= 20
        assert "red-5" not in ids(page)
        assert all(result.reasons and result.product.title for result in page.results)
    page = await shop.page()
    assert ids(page)[0].startswith("red")
    await shop.postgres.start()
    await eventually(shop.healthy, timeout=30)
    assert "red-5" not in ids(await shop.page(size=30))


async def test_without_the_store_nothing_bought_is_an_empty_page_with_a_reason(shop: Shop) -> None:
    await shop.lose_the_store()
    page = await shop.page("stranger", "buy-it-again")
    assert not page.results
    assert page.empty_reason == "the catalogue is not available"
    explained = await shop.service.recommend("red-fan", explain=True)
    for result in explained.results:
        assert list(result.explanation.moved_by) == ["memory"]
        assert sum(part.contribution for part in result.explanation.contributions) == pytest.approx(
            result.score, abs=1e-6
        )
    again = await shop.page("red-fan", "buy-it-again")
    assert sorted(ids(again)) == ["red-3", "red-4"]
    assert ids(await shop.page("red-fan", "recently-viewed")) == ["red-1", "red-2"]
    assert not {"red-3", "red-4"} & set(ids(await shop.page("red-fan", "discover", 30)))
    request = pb.ListSimilarProductsRequest(product_id="blue-1", page_size=5)
    similar = await shop.service.recommendations.ListSimilarProducts(request, timeout=PATIENCE)
    assert "catalogue" in similar.degraded
    assert len(similar.results) == 5
    assert "blue-1" not in ids(similar)


async def test_a_hung_store_does_not_hang_a_page(shop: Shop) -> None:
    shop.database.stall()
    for _ in range(4):
        page = await shop.page()
        assert "catalogue" in page.degraded
        assert len(page.results) == 10
    shop.database.flow()
    await eventually(shop.healthy, timeout=30)


async def test_with_everything_down_there_is_still_a_page(shop: Shop) -> None:
    await shop.features.stop()
    await shop.lose_the_store()
    page = await shop.page()
    assert {"catalogue", "features"} <= set(page.degraded)
    assert len(page.results) == 10


async def test_a_service_that_starts_without_features_recommends(
    postgres_factory: Callable[[], Awaitable[PostgresServer]],
) -> None:
    postgres = await postgres_factory()
    async with running_recommender(await postgres.create_database("recommender"), "127.0.0.1:1") as service:
        empty = await service.recommend("someone")
        assert empty.empty_reason == "no product is in stock"
        await import_products(service.catalog, [product(name) for name in PRODUCTS[:3]])
        page = await service.recommend("someone")
        assert page.degraded == ["features"]
        assert sorted(ids(page)) == sorted(PRODUCTS[:3])


async def test_a_service_stops_while_its_store_hangs(
    postgres_factory: Callable[[], Awaitable[PostgresServer]],
) -> None:
    postgres = await postgres_factory()
    dsn = await postgres.create_database("recommender")
    target = urlsplit(dsn)
    async with running_proxy(target.port or 0) as database:
        through = dsn.replace(f":{target.port}/", f":{database.port}/")
        # Well within the grace period of a container; the fixture waits for the end of the service.
        async with asyncio.timeout(20), running_recommender(through, "127.0.0.1:1") as service:
            await import_products(service.catalog, [product("only")])
            database.stall()
            assert "catalogue" in (await service.recommend("someone")).degraded
