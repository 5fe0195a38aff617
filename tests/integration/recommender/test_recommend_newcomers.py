"""What was imported after the training gets its chance: a place on the first page of those whose taste it fits."""

from __future__ import annotations

from windowshop.recommender.v1 import catalog_pb2 as catalog

from tests.support.catalogue import import_products, product
from tests.support.feature_service import User
from tests.support.recommender import ids
from tests.support.trained_shop import CATEGORIES, PER_CATEGORY, Shop
from tests.support.waiting import eventually

BUYERS = 10


def buyer(shop: Shop, category: str, number: int) -> str:
    """Somebody who buys the third kind of a category, and has looked at nothing lately."""
    name = f"{category.lower()}-buyer-{number}"
    kinds = [f"{category.lower()}-{place:02d}" for place in range(2, PER_CATEGORY, 3)]
    shop.features.users[name] = User(purchases=[kinds[(number + step) % len(kinds)] for step in range(4)])
    return name


async def pages(shop: Shop, category: str) -> list[list[str]]:
    """The first pages of the buyers of a category."""
    return [ids(await shop.service.recommend(buyer(shop, category, number))) for number in range(BUYERS)]


async def test_new_products_are_shown_to_those_whom_they_fit_and_leave_room_for_the_rest(shop: Shop) -> None:
    # What nobody has taken of all that was there before is as unknown to the version as what comes now.
    for place in range(20, PER_CATEGORY):
        sold_out = catalog.SetInventoryRequest(id=f"audio-{place}", available_quantity=0)
        await shop.service.catalog.SetInventory(sold_out, timeout=10)
    before = await pages(shop, "Audio")
    names = [f"new-{number}" for number in range(8)]
    made = [
        product(
            name,
            title=f"Microphone model {number + 100}",
            description="A microphone for everyone.",
            categories=["Audio > Microphone"],
            brand="Brand 1",
            price=20.0 + number,
        )
        for number, name in enumerate(names)
    ]
    await import_products(shop.service.catalog, made)

    async def found() -> bool:
        """Whether most of those whom they fit see one."""
        return sum(any(name in page for name in names) for page in await pages(shop, "Audio")) >= 0.9 * BUYERS

    await eventually(found, timeout=20)
    after = await pages(shop, "Audio")
    for old, new in zip(before, after, strict=True):
        assert len(set(old) & set(new)) >= 5, "what was taken before keeps its places"
    for category in set(CATEGORIES) - {"Audio"}:
        others = await pages(shop, category)
        assert sum(name in names for page in others for name in page) <= 1, "it fits nobody else"
