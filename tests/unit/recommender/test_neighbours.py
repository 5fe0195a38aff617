"""Neighbours by text from memory are those that a search of the store would give, whatever happened since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from services.recommender.domain.assortment import Assortment
from services.recommender.domain.candidates import Hit
from services.recommender.domain.product_row import ProductRow
from services.recommender.domain.signals import Anchor
from services.recommender.pipeline import neighbours
from services.recommender.pipeline.neighbours import TextNeighbours
from services.recommender.ranking_ports import Neighbourhood
from services.recommender.text_ports import AvailableNearest, StoredNearest

NOW = 1_000.0


class Shop:
    """A catalogue that a mirror knows at every moment, and exact searches over it."""

    settled = True
    complete = True

    def __init__(self, seed: int = 0) -> None:
        self.dice = np.random.default_rng(seed)
        self.products: dict[str, ProductRow] = {}
        self.assortment = Assortment(1_000, 1_000)
        self.stored: dict[str, StoredNearest] = {}
        self.searches = 0
        self.now = NOW
        self.texts = TextNeighbours(self, self, self, lambda: self.now)  # type: ignore[arg-type]  # the methods that matter

    def tell(self, news: Any) -> None:
        self.news = news

    def store(self, id_: str, quantity: int = 5, like: str = "") -> None:
        made = self.dice.normal(size=256)
        if like:
            made = 4 * self._direction(like).astype(np.float64) + made / np.linalg.norm(made)
        vector = (made / np.linalg.norm(made)).astype(np.float16)
        digest = self.dice.bytes(16)
        row = ProductRow(id_, id_, "", "", None, quantity, 0, None, None, None, None, None, digest, vector)
        self.products[id_] = row
        self.assortment.put([row])
        self.news(id_, vector)

    def count(self, id_: str, quantity: int) -> None:
        row = self.products[id_] = self.products[id_]._replace(available_quantity=quantity)
        back = self.assortment.sold_out(id_) and quantity > 0
        self.assortment.count(id_, quantity)
        if back:
            self.news(id_, row.vector)

    def delete(self, id_: str) -> None:
        self.products.pop(id_, None)
        self.assortment.drop(id_)

    async def nearest(self, ids: Sequence[str]) -> list[StoredNearest]:
        return [self.stored[id_] for id_ in ids if id_ in self.stored]

    async def available(self, ids: Sequence[str], limit: int) -> list[AvailableNearest]:
        return []

    async def neighbours(self, ids: Sequence[str], limit: int) -> list[Neighbourhood]:
        self.searches += 1
        found = []
        for id_ in ids:
            if id_ in self.products:
                near = self._near(id_, {id_})[:limit]
                vector = self.products[id_].vector
                assert vector is not None
                found.append(Neighbourhood(id_, vector, [n for n, _ in near], [c for _, c in near]))
        return found

    async def semantic(self, anchors: Sequence[Anchor], limit: int) -> list[Hit]:
        self.searches += 1
        others = {anchor.id for anchor in anchors}
        return [
            Hit(id_, anchor.weight * cosine, anchor.id)
            for anchor in anchors
            if anchor.id in self.products
            for id_, cosine in self._near(anchor.id, others)[:limit]
        ]

    def _near(self, id_: str, without: set[str]) -> list[tuple[str, float]]:
        own = self._direction(id_)
        near = [
            (other, float(own @ self._direction(other)))
            for other, row in self.products.items()
            if other not in without and row.available_quantity > 0
        ]
        return sorted(near, key=lambda pair: (-pair[1], pair[0]))

    def _direction(self, id_: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        vector = self.products[id_].vector
        assert vector is not None
        single = vector.astype(np.float32)
        return single / np.linalg.norm(single)


def anchors(*ids: str) -> tuple[Anchor, ...]:
    return tuple(Anchor(id_, 0.8**place, "view") for place, id_ in enumerate(ids))


def same(hits: Sequence[Hit] | None, others: Sequence[Hit]) -> bool:
    """But for the last digits of cosines."""
    assert hits is not None
    assert [hit.score for hit in hits] == pytest.approx([hit.score for hit in others], abs=1e-4)
    return [(hit.id, hit.anchor) for hit in hits] == [(hit.id, hit.anchor) for hit in others]


@pytest.mark.parametrize("seed", range(6))
async def test_what_is_remembered_is_what_a_search_would_find(seed: int) -> None:
    shop = Shop(seed)
    ids = [f"p{number:03}" for number in range(160)]
    for id_ in ids[:120]:
        shop.store(id_, int(shop.dice.integers(0, 3)))
    for step in range(300):
        id_ = ids[int(shop.dice.integers(len(ids)))]
        match int(shop.dice.integers(5)):
            case 0:
                shop.store(id_, int(shop.dice.integers(0, 3)))
            case 1 | 2 if id_ in shop.products:
                shop.count(id_, int(shop.dice.integers(0, 3)))
            case 3 if step % 4 == 0:
                shop.delete(id_)
        asked = anchors(*(ids[int(place)] for place in shop.dice.choice(len(ids[:12]), 3, replace=False)))
        limit = int(shop.dice.integers(1, 30))
        shop.now += 1.0
        found = shop.texts.at_once(asked, limit)
        if found is None:
            found = await shop.texts.fetch(asked, limit)
        assert same(found, await shop.semantic(asked, limit)), step
    assert shop.searches < 300 + 200, "most answers were remembered"


async def test_a_new_product_is_found_at_once() -> None:
    shop = Shop()
    for number in range(200):
        shop.store(f"p{number}")
    assert await shop.texts.fetch(anchors("p0"), 20)
    before = shop.searches
    shop.store("new", like="p0")
    found = shop.texts.at_once(anchors("p0"), 20)
    assert found is not None
    assert found[0].id == "new"
    shop.count("new", 0)
    assert "new" not in {hit.id for hit in shop.texts.at_once(anchors("p0"), 20) or ()}
    shop.store("p0")
    assert shop.texts.at_once(anchors("p0"), 20) is None, "its own text is another one"
    assert shop.searches == before


async def test_while_something_acknowledged_is_not_known_here_the_store_is_asked() -> None:
    shop = Shop()
    for number in range(30):
        shop.store(f"p{number}")
    await shop.texts.fetch(anchors("p0"), 20)
    shop.settled = False
    assert shop.texts.at_once(anchors("p0"), 20) is None
    assert same(await shop.texts.fetch(anchors("p0"), 20), await shop.semantic(anchors("p0"), 20))


async def test_more_than_is_remembered_and_what_is_long_ago_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "NEWS", 8)
    shop = Shop()
    for number in range(200):
        shop.store(f"p{number}")
    await shop.texts.fetch(anchors("p0"), 20)
    assert shop.texts.at_once(anchors("p0"), 100) is None
    assert len(await shop.texts.fetch(anchors("p0"), 100)) == 100
    for number in range(9):
        shop.store(f"new{number}")
    assert shop.texts.at_once(anchors("p0"), 20) is None
    assert same(await shop.texts.fetch(anchors("p0"), 20), await shop.semantic(anchors("p0"), 20))
    assert shop.texts.at_once(anchors("p0"), 20) is not None
    shop.complete = False
    assert shop.texts.at_once(anchors("p0"), 20) is None, "of what does not fit nobody tells"
    assert same(await shop.texts.fetch(anchors("p0"), 20), await shop.semantic(anchors("p0"), 20))


async def test_where_there_is_no_room_those_that_nobody_asked_for_lately_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "REMEMBERED", 8)
    shop = Shop()
    for number in range(60):
        shop.store(f"p{number}")
    for number in range(9):
        await shop.texts.fetch(anchors("p0"), 5)
        await shop.texts.fetch(anchors(f"p{number}"), 5)
    assert shop.texts.at_once(anchors("p0"), 5) is not None
    assert shop.texts.at_once(anchors("p1"), 5) is None
    for number in range(9):
        found = await shop.texts.fetch(anchors(f"p{number}"), 5)
        assert same(found, await shop.semantic(anchors(f"p{number}"), 5))


async def test_a_product_in_the_place_of_another_is_no_neighbour_for_that() -> None:
    shop = Shop()
    for number in range(100):
        shop.store(f"p{number}")
    near = [hit.id for hit in await shop.texts.fetch(anchors("p0"), 20)]
    place = shop.assortment.places[near[0]]
    shop.delete(near[0])
    news, shop.news = shop.news, lambda *_: None
    shop.store("stranger")  # not embedded yet, so nobody tells of it
    shop.news = news
    assert shop.assortment.places["stranger"] == place
    assert [hit.id for hit in shop.texts.at_once(anchors("p0"), 19) or ()] == near[1:]


async def test_where_all_neighbours_left_not_anything_new_is_one() -> None:
    shop = Shop()
    shop.store("p0")
    for number in range(60):
        shop.store(f"near{number}", like="p0")
        shop.store(f"far{number}")
    await shop.texts.fetch(anchors("p0"), 20)
    for number in range(60):
        shop.store(f"near{number}")
    assert shop.texts.at_once(anchors("p0"), 20) is not None, "found just now"
    for number in range(60):
        shop.store(f"other{number}")
    shop.now += 3.0
    assert shop.texts.at_once(anchors("p0"), 20) is None
    assert same(await shop.texts.fetch(anchors("p0"), 20), await shop.semantic(anchors("p0"), 20))


async def test_a_text_that_says_nothing_is_searched_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop()
    for number in range(60):
        shop.store(f"p{number}")
    nothing = shop.products["p0"]._replace(text_digest=b"", vector=np.zeros(256, dtype=np.float16))
    shop.products["p0"] = nothing
    shop.assortment.put([nothing])
    shop.news("p0", nothing.vector)
    monkeypatch.setattr(shop, "_near", lambda *_: [(f"p{number}", float("nan")) for number in range(1, 60)])
    assert await shop.texts.fetch(anchors("p0"), 20) == []
    shop.now += 3.0
    assert shop.texts.at_once(anchors("p0"), 20) == []


async def test_unknown_products_have_no_neighbours_until_they_are_known() -> None:
    shop = Shop()
    for number in range(3):
        shop.store(f"p{number}")
    assert await shop.texts.fetch(anchors("unheard-of"), 20) == []
    assert shop.texts.at_once(anchors("unheard-of"), 20) == []
    shop.store("unheard-of")
    assert len(await shop.texts.fetch(anchors("unheard-of"), 20)) == 3


async def test_where_too_much_was_sold_out_the_store_is_asked_now_and_then() -> None:
    shop = Shop()
    for number in range(200):
        shop.store(f"p{number}")
    near = [hit.id for hit in await shop.texts.fetch(anchors("p0"), 40)]
    for id_ in near[:30]:
        shop.count(id_, 0)
    assert len(shop.texts.at_once(anchors("p0"), 20) or ()) == 10
    shop.now += 3.0
    assert shop.texts.at_once(anchors("p0"), 20) is None
    assert same(await shop.texts.fetch(anchors("p0"), 20), await shop.semantic(anchors("p0"), 20))


async def test_what_is_remembered_of_another_catalogue_is_forgotten() -> None:
    shop = Shop()
    for number in range(200):
        shop.store(f"p{number}")
    await shop.texts.fetch(anchors("p0"), 20)
    before = shop.searches
    shop.assortment, shop.products = shop.assortment.emptied(), {}
    shop.tell(lambda id_, vector: None)  # all of it is new: nobody tells
    for number in range(200):
        shop.store(f"p{number}")
    assert shop.texts.at_once(anchors("p0"), 20) is None
    assert same(await shop.texts.fetch(anchors("p0"), 20), await shop.semantic(anchors("p0"), 20))
    assert shop.searches == before + 2
