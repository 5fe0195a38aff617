"""What is remembered of texts over a real mirror: after whatever happened to a catalogue, it is what a search finds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest

from services.recommender.domain.assortment import Assortment
from services.recommender.domain.candidates import Hit
from services.recommender.domain.change import ProductChange
from services.recommender.domain.learned import Learned
from services.recommender.domain.product import Product
from services.recommender.domain.product_row import ProductRow
from services.recommender.domain.signals import Anchor
from services.recommender.pipeline import newcomers as newcomers_module
from services.recommender.pipeline.mirror import Mirror
from services.recommender.pipeline.neighbours import TextNeighbours
from services.recommender.pipeline.newcomers import Newcomers
from services.recommender.ranking_ports import Neighbourhood
from services.recommender.text_ports import AvailableNearest, StoredNearest
from tests.support.learned import small
from tests.support.waiting import eventually

IDS = [f"p{number:03}" for number in range(120)]
# Those that a version knows.
LEARNED = small(IDS[:60])


class Shop:
    """A store with exact searches, a mirror that follows it, and what is derived from both."""

    def __init__(self, seed: int, texts: int) -> None:
        self.dice = np.random.default_rng(seed)
        self.products: dict[str, ProductRow] = {}
        self.searches = 0
        self.now = 1_000.0
        self.mirror = Mirror(self, Assortment(200, texts), lambda: self.now)
        self.texts = TextNeighbours(self, self, self.mirror, lambda: self.now)  # type: ignore[arg-type]  # the methods that matter
        self.newcomers = Newcomers(self.mirror, lambda: self.now)

    async def rows(self, ids: Sequence[str]) -> list[ProductRow]:
        await asyncio.sleep(0)
        return [self.products[id_] for id_ in ids if id_ in self.products]

    async def rows_after(self, after: str, limit: int) -> list[ProductRow]:
        await asyncio.sleep(0)
        return [self.products[id_] for id_ in sorted(self.products) if id_ > after][:50]

    async def versions_after(self, after: str, limit: int) -> tuple[list[str], list[int]]:
        rows = await self.rows_after(after, limit)
        return [row.id for row in rows], [row.change_seq for row in rows]

    def happen(self) -> None:
        """One change, told through a door that tells of it."""
        id_ = IDS[int(self.dice.integers(len(IDS)))]
        row, here = self.products.get(id_), self.dice.random() < 0.5
        match int(self.dice.integers(5)):
            case 0 | 1 if row is not None:
                quantity = int(self.dice.integers(0, 2))
                self.products[id_] = row._replace(available_quantity=quantity)
                self._tell(id_, here, quantity)
            case 2 if row is not None and self.dice.random() < 0.3:
                del self.products[id_]
                self.mirror.deleted(id_)
            case 3 if row is not None:
                # Sold until then, or from then on.
                at = self.now + float(self.dice.integers(-3, 4))
                self.products[id_] = row._replace(**{("available_time", "expire_time")[int(here)]: at})  # type: ignore[arg-type]  # seconds
                self.mirror.changed(Product(id_, id_))
            case _:
                self.products[id_] = self._made(id_)
                self.mirror.changed(Product(id_, id_))

    def _tell(self, id_: str, here: bool, quantity: int) -> None:
        if here:
            self.mirror.counted(id_, quantity)
        self.mirror.followed(ProductChange(1, id_, deleted=False, available_quantity=quantity))

    def _made(self, id_: str) -> ProductRow:
        """Around one of few directions."""
        near = np.random.default_rng(int(self.dice.integers(4))).normal(size=256)
        made = near + self.dice.normal(size=256)
        vector = (made / np.linalg.norm(made)).astype(np.float16)
        digest, quantity = self.dice.bytes(16), int(self.dice.integers(0, 3))
        return ProductRow(id_, id_, "", "", None, quantity, 0, None, None, None, None, None, digest, vector)

    async def nearest(self, ids: Sequence[str]) -> list[StoredNearest]:
        return []

    async def available(self, ids: Sequence[str], limit: int) -> list[AvailableNearest]:
        return []

    async def neighbours(self, ids: Sequence[str], limit: int) -> list[Neighbourhood]:
        self.searches += 1
        found = []
        for id_ in ids:
            if id_ in self.products:
                near = self.near(id_, {id_})[:limit]
                vector = self.products[id_].vector
                assert vector is not None
                found.append(Neighbourhood(id_, vector, [n for n, _ in near], [c for _, c in near]))
        return found

    async def semantic(self, anchors: Sequence[Anchor], limit: int) -> list[Hit]:
        self.searches += 1
        return self.exactly(anchors, limit)

    def exactly(self, anchors: Sequence[Anchor], limit: int, without: Learned | None = None) -> list[Hit]:
        """``without``: the products that a version knows, and those that have nothing to do with an anchor."""
        others = {anchor.id for anchor in anchors} | set(without.places if without else ())
        least = newcomers_module._LEAST if without else -1.0
        return [
            Hit(id_, anchor.weight * cosine, anchor.id)
            for anchor in anchors
            if anchor.id in self.products
            for id_, cosine in [pair for pair in self.near(anchor.id, others) if pair[1] >= least][:limit]
        ]

    def near(self, id_: str, without: set[str]) -> list[tuple[str, float]]:
        own = self._direction(id_)
        near = [
            (other, float(own @ self._direction(other)))
            for other, row in self.products.items()
            if other not in without and self._shown(row)
        ]
        return sorted(near, key=lambda pair: (-pair[1], pair[0]))

    def _shown(self, row: ProductRow) -> bool:
        begun = row.available_time is None or row.available_time <= self.now
        return row.available_quantity > 0 and begun and (row.expire_time is None or row.expire_time > self.now)

    def _direction(self, id_: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        vector = self.products[id_].vector
        assert vector is not None
        single = vector.astype(np.float32)
        return single / np.linalg.norm(single)


@asynccontextmanager
async def opened(seed: int, texts: int) -> AsyncIterator[Shop]:
    shop = Shop(seed, texts)
    for _ in range(150):
        shop.happen()
    following = asyncio.create_task(shop.mirror.follow())
    shop.mirror.restarted()
    try:
        await eventually(lambda: shop.mirror.complete and shop.mirror.settled)
        await shop.newcomers.align(LEARNED)
        yield shop
    finally:
        following.cancel()
        await asyncio.wait({following})


def some_anchors(shop: Shop) -> tuple[Anchor, ...]:
    chosen = shop.dice.choice(12, 3, replace=False).tolist()
    return tuple(Anchor(IDS[10 * place], 0.8**number, "purchase") for number, place in enumerate(chosen))


def same(hits: Sequence[Hit] | None, others: Sequence[Hit]) -> bool:
    """But for the last digits of cosines."""
    assert hits is not None
    assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in others], abs=1e-4)
    return [(hit.id, hit.anchor) for hit in hits] == [(hit.id, hit.anchor) for hit in others]


@pytest.mark.parametrize("texts", [200, 40], ids=["all texts fit", "some texts fit"])
@pytest.mark.parametrize("seed", range(3))
async def test_memory_finds_what_a_search_finds(seed: int, texts: int) -> None:
    async with opened(seed, texts) as shop:
        remembered = new = 0
        for step in range(60):
            for _ in range(int(shop.dice.integers(4))):
                shop.happen()
            await eventually(lambda: shop.mirror.settled and not shop.mirror._due)
            if step % 10 == 5:
                # The clock is looked at once a second.
                shop.now += 2.0
                shop.mirror._ticks.hurry(0.0)
                shop.mirror._woken.set()
                await eventually(lambda: shop.mirror._ticks.until == shop.now and not shop.mirror._due)
            anchors, limit = some_anchors(shop), int(shop.dice.integers(1, 20))
            found = shop.texts.at_once(anchors, limit)
            remembered += found is not None
            if found is None:
                found = await shop.texts.fetch(anchors, limit)
            assert same(found, shop.exactly(anchors, limit)), step
            fresh = shop.newcomers.near(LEARNED, anchors, limit)
            if fresh is not None:
                new += 1
                assert same(fresh, shop.exactly(anchors, limit, LEARNED)), step
        assert remembered > 10
        assert new > 10 or texts == 40, "where a text does not fit, the store is asked"


async def test_who_knows_too_many_newcomers_knows_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers_module, "_MOST", 10)
    async with opened(1, 200) as shop:
        anchor = (Anchor(next(iter(shop.products)), 1.0, "purchase"),)
        assert shop.newcomers.near(LEARNED, anchor, 5) is None
        all_known = small(IDS)
        assert shop.newcomers.near(all_known, anchor, 5) is None, "not aligned with it"
        await shop.newcomers.align(all_known)
        assert shop.newcomers.near(all_known, anchor, 5) == []
        for number in range(11):
            assert shop.newcomers.near(all_known, anchor, 5) is not None
            row = shop.products[anchor[0].id]._replace(id=f"new{number}", text_digest=b"%d" % number)
            shop.products[row.id] = row._replace(available_quantity=1, available_time=None, expire_time=None)
            shop.mirror.changed(Product(row.id, ""))
            await eventually(lambda: shop.mirror.settled)
        assert shop.newcomers.near(all_known, anchor, 5) is None


async def test_newcomers_of_another_catalogue_are_looked_for_anew() -> None:
    async with opened(2, 200) as shop:
        anchor = (Anchor(next(iter(shop.products)), 1.0, "purchase"),)
        assert shop.newcomers.near(LEARNED, anchor, 5) is not None
        shop.mirror.restarted()
        assert shop.newcomers.near(LEARNED, anchor, 5) is None
        await eventually(lambda: shop.mirror.complete)
        await shop.newcomers.align(LEARNED)
        assert same(shop.newcomers.near(LEARNED, anchor, 5), shop.exactly(anchor, 5, LEARNED))


async def test_two_versions_that_are_aligned_at_once_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(newcomers_module, "_CHUNK", 7)
    async with opened(2, 200) as shop:
        anchor = (Anchor(next(iter(shop.products)), 1.0, "purchase"),)
        others = small(IDS[30:])
        # The version that comes last serves, whichever is through first.
        await asyncio.gather(shop.newcomers.align(small(IDS[:90])), shop.newcomers.align(others))
        assert same(shop.newcomers.near(others, anchor, 50), shop.exactly(anchor, 50, others))
