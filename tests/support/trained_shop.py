"""A recommender with products, habits and a model: a real database, a feature service that answers from memory."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import grpc
import pytest
from windowshop.recommender.v1 import catalog_pb2 as catalog
from windowshop.recommender.v1 import model_pb2

from services.runtime.errors import ServiceError, from_rpc
from tests.support.catalogue import import_products, product
from tests.support.feature_service import FakeFeatures, Item, User, running_features
from tests.support.recommender import RunningRecommender, running_recommender
from tests.support.stack import PostgresServer
from tests.support.waiting import eventually

CATEGORIES = {
    "Audio": ("headphones", "loudspeaker", "microphone"),
    "Kitchen": ("frying pan", "kitchen knife", "saucepan"),
    "Garden": ("lawn mower", "watering can", "garden hose"),
    "Books": ("crime novel", "travel guide", "poetry album"),
}
PER_CATEGORY = 30
FANS = 12


@dataclass(frozen=True, slots=True)
class Shop:
    """A recommender with 120 products and the habits of 48 users, trained."""

    service: RunningRecommender
    features: FakeFeatures
    dsn: str
    features_address: str


def shop_products() -> list[catalog.Product]:
    return [
        product(
            f"{category.lower()}-{number:02d}",
            title=f"{nouns[number % 3].capitalize()} model {number}",
            description=f"A {nouns[number % 3]} for everyone.",
            categories=[f"{category} > {nouns[number % 3].capitalize()}"],
            brand=f"Brand {number % 7}",
            price=10.0 + number,
        )
        for category, nouns in CATEGORIES.items()
        for number in range(PER_CATEGORY)
    ]


@contextlib.asynccontextmanager
async def trained_shop(postgres: PostgresServer) -> AsyncIterator[Shop]:
    """Serving when it yields."""
    async with running_features() as server:
        fake = server.features
        for place, category in enumerate(CATEGORIES):
            names = [f"{category.lower()}-{number:02d}" for number in range(PER_CATEGORY)]
            for number, name in enumerate(names):
                fake.items[name] = Item(popularity=90 - number - place, trend=float(number), rating=4.0)
            for fan in range(FANS):
                user = f"{category.lower()}-fan-{fan}"
                bought = [names[(fan + step) % PER_CATEGORY] for step in range(5)]
                viewed = [names[(fan + step) % PER_CATEGORY] for step in range(5, 9)]
                fake.users[user] = User(views=viewed, purchases=bought)
                for name in bought:
                    fake.interact(user, name, "purchase-complete", days_ago=5)
                for name in viewed:
                    fake.interact(user, name, days_ago=2)
        dsn = await postgres.create_database("recommender")
        async with running_recommender(dsn, server.address) as service:
            await import_products(service.catalog, shop_products())
            assert (await service.train()).state == model_pb2.ACTIVE

            async def settled() -> bool:
                page = await service.recommend(config="trending")
                return "Trending now" in page.results[0].reasons and not page.degraded

            await eventually(settled, timeout=30)
            yield Shop(service, fake, dsn, server.address)


async def error_of(call: object) -> ServiceError:
    """What a refused call says."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]  # an awaitable call
    return from_rpc(caught.value)
