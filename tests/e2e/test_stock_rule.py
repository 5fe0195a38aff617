"""After an acknowledged SetInventory to 0, no recommendation contains the product."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from tests.support.shop import Rest
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

CONFIGS = (
    "recommended-for-you",
    "discover",
    "similar-items",
    "frequently-bought-together",
    "buy-it-again",
    "recently-viewed",
    "trending",
)
USERS = [f"user_{number:03}" for number in range(1, 13)] + ["nobody_ever"]


async def set_stock(rest: Rest, product: str, quantity: int) -> None:
    answer = await rest.post(f"/v1/products/{product}:setInventory", {"availableQuantity": quantity})
    assert answer["applied"] is True
    assert answer["availableQuantity"] == quantity


async def page(rest: Rest, config: str, user: str, product: str = "prod_100", size: int = 20) -> list[str]:
    answer = await rest.get(
        f"/v1/users/{user}/recommendations?servingConfig={config}&productId={product}&pageSize={size}"
    )
    return [result["id"] for result in answer["results"]]


async def similar(rest: Rest, product: str) -> list[str]:
    return [r["id"] for r in (await rest.get(f"/v1/products/{product}/similar?pageSize=20"))["results"]]


@pytest.mark.parametrize("config", CONFIGS)
async def test_what_sold_out_is_on_no_page(rest: Rest, config: str) -> None:
    shown = await page(rest, config, "user_001")
    assert shown
    stock = {product: (await rest.get(f"/v1/products/{product}"))["availableQuantity"] for product in shown}
    try:
        for product in shown:
            await set_stock(rest, product, 0)
        for other in CONFIGS:
            for user in ("user_001", "user_002", "nobody_ever"):
                assert not set(shown) & set(await page(rest, other, user)), (other, user)
        for product in shown[:5]:
            assert not set(shown) & set(await similar(rest, product))
    finally:
        for product, quantity in stock.items():
            await set_stock(rest, product, quantity)

    async def back() -> bool:
        return bool(set(shown) & set(await page(rest, config, "user_001")))

    # lists that are the same for everyone are made anew now and then only
    await eventually(back, timeout=20, interval=0.2, message="back in stock, back on the page")


async def test_an_older_count_of_the_stock_loses(rest: Rest) -> None:
    before = (await rest.get("/v1/products/prod_555"))["availableQuantity"]
    await set_stock(rest, "prod_555", 0)
    answer = await rest.post(
        "/v1/products/prod_555:setInventory", {"availableQuantity": 9, "setTime": "2020-01-01T00:00:00Z"}
    )

    assert (answer["applied"], answer["availableQuantity"]) == (False, 0)
    await set_stock(rest, "prod_555", before)


@dataclass
class Shelf:
    """Which products are surely sold out: numbered by flip, so that a reader sees any flip in between."""

    flips: dict[str, int] = field(default_factory=dict)
    sold_out: set[str] = field(default_factory=set)

    def snapshot(self) -> dict[str, int]:
        return {product: self.flips[product] for product in self.sold_out}

    def still(self, snapshot: dict[str, int]) -> set[str]:
        """Products that were sold out at the snapshot and have not been touched since."""
        return {p for p, flip in snapshot.items() if p in self.sold_out and self.flips[p] == flip}


async def test_pages_under_flipping_stock_never_show_what_is_sold_out(rest: Rest) -> None:
    """Readers of every config against writers that flip the stock of just the products being shown."""
    shown = {product for user in USERS[:6] for product in await page(rest, "recommended-for-you", user)}
    shown |= set(await page(rest, "trending", "nobody_ever"))
    products = sorted(shown)[:40]
    stock = {product: (await rest.get(f"/v1/products/{product}"))["availableQuantity"] for product in products}
    shelf = Shelf(flips=dict.fromkeys(products, 0))
    leaks: list[str] = []
    done = asyncio.Event()

    async def flip(mine: Sequence[str], dice: random.Random) -> None:
        for _ in range(60):
            product = dice.choice(mine)
            shelf.sold_out.discard(product)  # from here on nothing is promised
            shelf.flips[product] += 1
            quantity = dice.choice((0, 0, 7))
            await set_stock(rest, product, quantity)
            if quantity == 0:
                shelf.sold_out.add(product)

    async def read(dice: random.Random) -> int:
        pages = 0
        while not done.is_set():
            config, user = dice.choice((*CONFIGS, "ListSimilarProducts")), dice.choice(USERS)
            product = dice.choice(products)
            promised = shelf.snapshot()
            if config == "ListSimilarProducts":
                got = await similar(rest, product)
            else:
                got = await page(rest, config, user, product)
            pages += 1
            leaks.extend(f"{product} on {config} of {user}" for product in shelf.still(promised) & set(got))
        return pages

    try:
        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(read(random.Random(seed))) for seed in range(4)]
            async with asyncio.TaskGroup() as writers:
                for seed in range(3):
                    writers.create_task(flip(products[seed::3], random.Random(100 + seed)))
            done.set()
    finally:
        done.set()
        for product, quantity in stock.items():
            await set_stock(rest, product, quantity)

    assert sum(reader.result() for reader in readers) >= 50
    assert leaks == []
