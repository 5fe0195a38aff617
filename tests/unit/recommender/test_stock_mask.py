"""The mask of products in stock, as it is read and as changes come in meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.recommender.pipeline.stock import Stock
from tests.support.learned import small

LEARNED = small(["a", "b", "c", "d"])


class Shelf:
    """Pages of two ids of what is available."""

    def __init__(self, *ids: str) -> None:
        self.ids = sorted(ids)
        self.meanwhile: Callable[[], None] = lambda: None

    async def available(self, after: str, limit: int) -> Sequence[str]:
        page = [id_ for id_ in self.ids if id_ > after][:2]
        self.meanwhile()
        return page


def named(stock: Stock) -> set[str]:
    mask = stock.mask(LEARNED)
    assert mask is not None
    assert len(mask) == 4
    return {id_ for id_, in_stock in zip(LEARNED.ids, mask.tolist(), strict=True) if in_stock}


async def test_the_mask_follows_the_store_and_each_change() -> None:
    stock = Stock(Shelf("a", "c", "d", "unknown-to-the-version").available)
    assert stock.mask(LEARNED) is None
    await stock.align(LEARNED)
    assert named(stock) == {"a", "c", "d"}
    stock.changed("a", 0)
    stock.changed("b", 3)
    stock.changed("stranger", 3)
    assert named(stock) == {"b", "c", "d"}


async def test_a_change_while_the_store_is_read_is_newer_than_what_was_read() -> None:
    shelf = Shelf("a", "b")
    stock = Stock(shelf.available)
    await stock.align(LEARNED)
    shelf.meanwhile = lambda: stock.changed("a", 0)
    await stock.align(LEARNED)
    assert named(stock) == {"b"}


async def test_while_versions_change_both_have_a_mask() -> None:
    stock = Stock(Shelf("a").available)
    await stock.align(LEARNED)
    following, third = small(["x", "a"]), small(["a"])
    await stock.align(following)
    stock.changed("a", 0)
    assert named(stock) == set()
    mask = stock.mask(following)
    assert mask is not None
    assert mask.tolist() == [False, False]
    await stock.align(third)
    assert stock.mask(LEARNED) is None, "nobody uses it any more"
