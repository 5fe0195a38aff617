"""Whole shops for the acceptance tests. Each start costs seconds, so there are few, and each is shared."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

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
    async with Rest(shop.base_url) as client:
        yield client


@pytest.fixture(scope="session")
async def diary(rest: Rest) -> Diary:
    """Writes events to the demo shop and remembers them for the oracle."""
    return Diary(rest)


@pytest.fixture(scope="session")
async def catalogue(rest: Rest) -> dict[str, dict[str, object]]:
    """Every product of the demo shop as the catalogue had it at first sight, by id."""
    return await rest.catalogue()


@dataclass(frozen=True, slots=True)
class Imported:
    """A shop without the demo, after `windowshop import complete-journey`."""

    shop: Shop
    baskets: int
    begin: datetime
    end: datetime
    """The command ran between these two."""
    output: str


@pytest.fixture(scope="session")
async def imported() -> AsyncIterator[Imported]:
    """A shop with the newest baskets of the Complete Journey; restart it, but leave it running with its data."""
    # 35 days at the data's pace: more than the 30 that an order counts
    baskets = 15_000
    async with running_shop(demo=False) as shop:
        begin = datetime.now(UTC)
        code, output = await shop.run("import", "complete-journey", "--limit", str(baskets))
        assert code == 0, output
        yield Imported(shop, baskets, begin, datetime.now(UTC), output)
