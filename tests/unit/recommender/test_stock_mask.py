"""The mask of products in stock, as it is derived and as changes come in meanwhile."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from services.recommender.domain.assortment import Assortment
from services.recommender.domain.change import ProductChange
from services.recommender.domain.product_row import ProductRow
from services.recommender.pipeline import stock as stock_module
from services.recommender.pipeline.mirror import News
from services.recommender.pipeline.stock import Stock
from tests.support.learned import small

LEARNED = small(["a", "b", "c", "d"])


class Memory:
    """A mirror that knows some products, those in capitals without stock."""

    def __init__(self, *ids: str, complete: bool = True) -> None:
        self.complete = complete
        self.assortment = Assortment(9, 9)
        rows = [
            ProductRow(id_.lower(), "", "", "", None, int(id_.islower()), 0, None, None, None, None, None, b"", None)
            for id_ in ids
        ]
        self.assortment.put(rows)

    def tell(self, news: News) -> None:
        self.news = news


def stock_of(memory: Memory, now: float = 1_000.0) -> Stock:
    return Stock(memory, lambda: now)  # type: ignore[arg-type]  # what matters of a mirror


def named(stock: Stock) -> set[str]:
    mask = stock.mask(LEARNED)
    assert mask is not None
    assert len(mask) == 4
    return {id_ for id_, in_stock in zip(LEARNED.ids, mask.tolist(), strict=True) if in_stock}


async def test_the_mask_follows_the_catalogue_and_each_change() -> None:
    stock = stock_of(Memory("a", "B", "c", "d", "unknown-to-the-version"))
    assert stock.mask(LEARNED) is None
    await stock.align(LEARNED)
    assert named(stock) == {"a", "c", "d"}
    stock.counted("a", 0)
    stock.followed(ProductChange(1, "b", deleted=False, available_quantity=3))
    stock.deleted("c")
    stock.counted("stranger", 3)
    assert named(stock) == {"b", "d"}
    stock.restarted()
    assert stock.mask(LEARNED) is None


async def test_what_is_not_in_memory_may_be_in_stock_unless_all_of_it_is() -> None:
    memory = Memory("a", "B", complete=False)
    stock = stock_of(memory)
    await stock.align(LEARNED)
    assert named(stock) == {"a", "c", "d"}
    memory.complete = True
    await stock.align(LEARNED)
    assert named(stock) == {"a"}


async def test_a_change_while_it_is_derived_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock_module, "_CHUNK", 2)
    memory = Memory("a", "b", "c", "D")
    stock = stock_of(memory)
    aligning = asyncio.create_task(stock.align(LEARNED))
    await asyncio.sleep(0)
    for id_, quantity in (("a", 0), ("d", 2)):
        memory.assortment.count(id_, quantity)
        stock.counted(id_, quantity)
    await aligning
    assert named(stock) == {"b", "c", "d"}


async def test_what_came_back_is_in_stock_also_when_the_mask_was_derived_before_it_was_read() -> None:
    memory = Memory("a", "B", "c", "d")
    stock = stock_of(memory)
    await stock.align(LEARNED)
    stock.counted("b", 3)
    await stock.align(LEARNED)
    memory.news("b", np.zeros(256, dtype=np.float16))
    assert named(stock) == {"a", "c", "d"}, "a new text is no stock"
    memory.assortment.count("b", 3)
    memory.news("b", np.zeros(256, dtype=np.float16))
    assert named(stock) == {"a", "b", "c", "d"}


async def test_while_versions_change_both_have_a_mask() -> None:
    stock = stock_of(Memory("a"))
    await stock.align(LEARNED)
    following, third = small(["x", "a"]), small(["a"])
    await stock.align(following)
    stock.counted("a", 0)
    assert named(stock) == set()
    mask = stock.mask(following)
    assert mask is not None
    assert mask.tolist() == [False, False]
    await stock.align(third)
    assert stock.mask(LEARNED) is None, "nobody uses it any more"
