"""What is kept in memory of the catalogue, and how it learns of changes made through this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from services.recommender.domain.assortment import Assortment
from services.recommender.domain.product import Product
from services.recommender.domain.signals import Card
from services.recommender.pipeline.announcing import AnnouncingCatalog
from services.recommender.pipeline.cards import Cards
from services.recommender.pipeline.following import Followers
from services.recommender.pipeline.mirror import Mirror
from services.recommender.pipeline.showcase import Showcase
from services.recommender.ports import UpsertOutcome

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SOON = timedelta(minutes=1)


class Store:
    """A catalogue of a few products; its answers can be held back."""

    def __init__(self, *products: Product) -> None:
        self.products = {product.id: product for product in products}
        self.answer = asyncio.Event()
        self.answer.set()

    async def cards(self, ids: Sequence[str]) -> list[Card]:
        found = [Card(id_, self.products[id_].title, "", "", None) for id_ in ids if id_ in self.products]
        await self.answer.wait()
        return found

    async def showcase_ids(self, overall: int, per_category: int) -> list[str]:
        return list(self.products)

    async def price_bands(self) -> dict[str, Sequence[float]]:
        return {}

    async def available(self, ids: Sequence[str], now: datetime) -> list[Product]:
        return [self.products[id_] for id_ in ids]

    async def upsert(self, products: Sequence[Product], now: datetime, counted: datetime) -> UpsertOutcome:
        """Keeps the stock it has: as if all of it had been counted later."""
        for product in products:
            kept = self.products.get(product.id, product)
            self.products[product.id] = replace(product, available_quantity=kept.available_quantity)
        return UpsertOutcome(0, len(products), 0)

    async def change(
        self, product_id: str, decide: Callable[[Product | None], tuple[Product, bool]], now: datetime
    ) -> tuple[Product, int]:
        self.products[product_id], _ = decide(self.products.get(product_id))
        return self.products[product_id], 1

    async def delete(self, product_id: str) -> bool:
        return self.products.pop(product_id, None) is not None


@dataclass
class Shop:
    """The memory in front of a store."""

    store: Store
    showcase: Showcase
    cards: Cards
    catalog: AnnouncingCatalog
    now: datetime = NOW

    def shown(self) -> list[str]:
        """From memory, by the ways that a page is made of it; they agree."""
        chosen = sorted(product.id for product in self.showcase.choose((), (), 10))
        assert chosen == sorted(product.id for product in self.showcase.among(["a", "b"]))
        return chosen


@pytest.fixture
async def shop() -> Shop:
    store = Store(*(Product(id_, f"Title {id_}", available_quantity=5, create_time=NOW) for id_ in "ab"))
    mirror = Mirror(store, Assortment(9, 9))  # type: ignore[arg-type]  # the methods that matter
    cards = Cards(store, mirror, 5.0)  # type: ignore[arg-type]  # as above
    showcase = Showcase(store, store, mirror, lambda: made.now)  # type: ignore[arg-type]  # as above
    made = Shop(store, showcase, cards, AnnouncingCatalog(store, Followers([mirror, showcase])))  # type: ignore[arg-type]  # as above
    await showcase.refresh()
    return made


async def test_an_import_with_an_old_count_brings_nothing_sold_out_back(shop: Shop) -> None:
    sold_out = replace(shop.store.products["a"], available_quantity=0)
    shop.showcase.counted("a", 0)
    await shop.catalog.upsert([replace(sold_out, available_quantity=7)], NOW, NOW)

    assert shop.shown() == ["b"]
    # Not even when the showcase is being read meanwhile: the import does not forget what is known to be sold out.
    original = shop.store.available

    async def sold_and_imported_meanwhile(ids: Sequence[str], now: datetime) -> list[Product]:
        found = await original(ids, now)
        shop.showcase.counted("a", 0)
        await shop.catalog.upsert([replace(sold_out, available_quantity=7)], NOW, NOW)
        return found

    shop.store.available = sold_and_imported_meanwhile  # type: ignore[method-assign]  # in the middle of the read
    await shop.showcase.refresh()
    assert shop.shown() == ["b"]


async def test_an_import_of_no_stock_counts_at_once(shop: Shop) -> None:
    await shop.catalog.upsert([replace(shop.store.products["a"], available_quantity=0)], NOW, NOW)
    assert shop.shown() == ["b"]


@pytest.mark.parametrize(
    "times", [{"expire_time": NOW}, {"available_time": NOW + SOON}, {"expire_time": NOW + SOON}], ids=str
)
@pytest.mark.parametrize("by_import", [True, False])
async def test_what_expired_is_not_shown_from_memory(shop: Shop, times: dict[str, datetime], by_import: bool) -> None:
    changed = replace(shop.store.products["a"], **times)  # type: ignore[arg-type]  # each value has its field's type
    if by_import:
        await shop.catalog.upsert([replace(changed, create_time=None)], NOW, NOW)
    else:
        await shop.catalog.change("a", lambda _: (changed, False), NOW)
    if times == {"expire_time": NOW + SOON}:
        assert shop.shown() == ["a", "b"]
        assert all(product.create_time == NOW for product in shop.showcase.among(["a", "b"]))
        shop.now += SOON

    assert shop.shown() == ["b"]


async def titles(shop: Shop) -> dict[str, str]:
    return {id_: card.title for id_, card in (await shop.cards.of(["a", "new"])).items()}


async def test_cards_follow_the_changes_of_this_process_at_once(shop: Shop) -> None:
    assert await titles(shop) == {"a": "Title a"}
    await shop.catalog.upsert([Product("new", "New")], NOW, NOW)
    assert await titles(shop) == {"a": "Title a", "new": "New"}
    await shop.catalog.change("a", lambda _: (Product("a", "Renamed"), False), NOW)
    assert await titles(shop) == {"a": "Renamed", "new": "New"}
    await shop.catalog.delete("a")
    assert await titles(shop) == {"new": "New"}
    await shop.catalog.change("a", lambda _: (Product("a", "Back"), True), NOW)
    assert await titles(shop) == {"a": "Back", "new": "New"}


async def test_a_showcase_is_read_again_where_something_may_be_new(shop: Shop) -> None:
    class Memory:
        """A mirror that says when something changed."""

        now: tuple[int, int] | None = (0, 0)

        def signs(self) -> tuple[int, int] | None:
            return self.now

    memory, reads = Memory(), list[str]()
    store = shop.store

    async def showcase_ids(overall: int, per_category: int) -> list[str]:
        reads.append("products")
        return ["a"]

    async def price_bands() -> dict[str, Sequence[float]]:
        reads.append("prices")
        return {"": [1.0, 2.0]}

    store.showcase_ids, store.price_bands = showcase_ids, price_bands  # type: ignore[method-assign]  # written down
    showcase = Showcase(store, store, memory, lambda: shop.now)  # type: ignore[arg-type]  # the methods that matter

    async def looked(signs: tuple[int, int] | None, later: timedelta = timedelta()) -> list[str]:
        memory.now = signs
        shop.now += later
        reads.clear()
        if showcase.outdated():
            await showcase.refresh()
        return list(reads)

    assert await looked((0, 0)) == ["products", "prices"]
    assert await looked((0, 0)) == []
    assert await looked((1, 0)) == ["products"]
    assert await looked((2, 1)) == ["products", "prices"]
    assert await looked(None) == ["products", "prices"]
    assert await looked(None) == ["products", "prices"], "nobody knows"
    assert await looked((2, 1)) == ["products", "prices"]
    assert await looked((2, 1), timedelta(minutes=11)) == ["products"]
    showcase.counted("b", 3)
    assert await looked((2, 1)) == ["products"], "it came into stock, and there is room for it"
