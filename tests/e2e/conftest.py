"""Whole shops for the acceptance tests. Each start costs seconds, so there are few, and each is shared."""

from collections.abc import AsyncIterator

import pytest

from tests.e2e.diary import Diary
from tests.support.shop import Rest, Shop, running_shop


@pytest.fixture(scope="session")
async def shop() -> AsyncIterator[Shop]:
    """The demo shop. Tests may add events and move stock for a while; they do not break it."""
    async with running_shop(demo=True) as started:
        yield started


@pytest.fixture(scope="session")
async def rest(shop: Shop) -> AsyncIterator[Rest]:
    """The demo shop's REST door."""
    client = Rest(shop.base_url)
    yield client
    await client.close()


@pytest.fixture(scope="session")
async def diary(rest: Rest) -> Diary:
    """Writes events to the demo shop and remembers them for the oracle."""
    return Diary(rest)


@pytest.fixture(scope="session")
async def catalogue(rest: Rest) -> dict[str, dict[str, object]]:
    """Every product of the demo shop as the catalogue had it at first sight, by id."""
    products: dict[str, dict[str, object]] = {}
    token = ""
    while True:
        page = await rest.get(f"/v1/products?pageSize=1000&pageToken={token}")
        products |= {product["id"]: product for product in page["products"]}
        token = page.get("nextPageToken", "")
        if not token:
            return products
