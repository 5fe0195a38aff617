"""Sources that answer from a version in memory."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recommender.domain.assortment import Assortment
from services.recommender.domain.candidates import Hit
from services.recommender.domain.personal import collaborative, personal
from services.recommender.domain.product_row import ProductRow
from services.recommender.domain.serving import Diversity, ServingConfig, SourceSpec
from services.recommender.domain.signals import Anchor, UserSignals
from services.recommender.domain.version import Version
from services.recommender.pipeline.context import Context, Degraded
from services.recommender.pipeline.mirror import Mirror
from services.recommender.pipeline.seeing import candidates_of, see
from services.recommender.pipeline.sources import CandidateSource, all_sources
from services.recommender.pipeline.stock import Stock
from tests.support.candidates import hits as hits_of
from tests.support.learned import Near, small

IDS = tuple("abcdefgh")


class Searches:
    """Stands in for the store."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, list[float], int]] = []

    async def collaborative(self, model_id: str, vector: npt.NDArray[np.float32], limit: int) -> list[Hit]:
        self.asked.append((model_id, vector.tolist(), limit))
        return [Hit("far", 1.0)]


def sources(searches: Searches | None = None) -> dict[str, CandidateSource]:
    store = cast(Any, searches or Searches())
    return dict(all_sources(store, store, store, store))


def context(version: Version, signals: UserSignals | None = None, **more: object) -> Context:
    signals = signals or UserSignals()
    person = personal(version.learned, signals.state(0.0)) if version.learned is not None else None
    values: dict[str, object] = {"anchors": (), "person": person, **more}
    return Context("u", signals, tastes={}, categories=(), cards={}, version=version, **values)  # type: ignore[arg-type]  # named as the fields


weights = st.sampled_from([0.0, 0.25, 0.5, 1.0])
tables = st.dictionaries(st.sampled_from(IDS), st.dictionaries(st.sampled_from(IDS), weights, max_size=4), max_size=8)
anchor_lists = st.lists(
    st.builds(Anchor, st.sampled_from((*IDS, "unknown")), st.sampled_from([0.5, 1.0]), st.just("page")),
    max_size=5,
    unique_by=lambda anchor: anchor.id,
)


@given(tables, anchor_lists, st.integers(1, 9))
async def test_neighbours_of_anchors_add_up(near: Near, anchors: list[Anchor], limit: int) -> None:
    near = {id_: {other: weight for other, weight in row.items() if other != id_} for id_, row in near.items()}
    version = Version("v", small(IDS, neighbours={"basket": near}))
    totals: dict[str, float] = {}
    most: dict[str, float] = {}
    for anchor in anchors:
        for other, weight in near.get(anchor.id, {}).items():
            if weight and other not in {one.id for one in anchors}:
                totals[other] = totals.get(other, 0.0) + anchor.weight * weight
                most[other] = max(most.get(other, 0.0), anchor.weight * weight)
    found = await sources()["bought_together"].fetch(context(version, anchors=tuple(anchors)), limit)
    hits = hits_of(found, version.learned)
    expected = sorted(totals.items(), key=lambda item: (-item[1], item[0]))[:limit]
    assert [(hit.id, hit.score) for hit in hits] == expected
    for hit in hits:
        giver = next(anchor for anchor in anchors if anchor.id == hit.anchor)
        assert giver.weight * near[giver.id][hit.id] == most[hit.id]


@pytest.mark.parametrize(("origin", "count"), [("view", 15), ("purchase", 10)])
async def test_around_habits_a_few_are_enough(origin: str, count: int) -> None:
    ids = tuple(f"p{number:02d}" for number in range(16))
    near = {"p00": {id_: 1.0 - number / 100 for number, id_ in enumerate(ids) if number}}
    version = Version("v", small(ids, neighbours={"alike": near}))
    asking = context(version, anchors=(Anchor("p00", 0.5, origin),))
    assert len(await sources()["co_chosen"].fetch(asking, 40)) == count


async def test_neighbours_that_are_sold_out_leave_their_places_to_others() -> None:
    near = {"a": {"b": 0.9, "c": 0.8, "d": 0.7}}
    version = Version("v", small(IDS[:4], neighbours={"basket": near}))
    asking = context(version, anchors=(Anchor("a", 1.0, "page"),), allowed=np.array([True, False, True, True]))
    hits = hits_of(await sources()["bought_together"].fetch(asking, 2), version.learned)
    assert [hit.id for hit in hits] == ["c", "d"]


async def test_a_guest_has_a_vector_from_one_view() -> None:
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.5, 0.5]], dtype=np.float32)
    version = Version("v", small(IDS[:4], vectors))
    asking = context(version, UserSignals(recent_views=("a",)))
    hits = hits_of(await sources()["collaborative"].fetch(asking, 2), version.learned)
    assert [hit.id for hit in hits] == ["a", "b"]
    assert await sources()["collaborative"].fetch(context(version), 2) == []


def test_a_version_has_its_rows_together_however_its_arrays_came() -> None:
    vectors = np.random.default_rng(1).normal(size=(8, 4)).astype(np.float32)
    near = {"taste": {"a": {"b": 0.5, "c": 0.25}}}
    one, other = small(IDS, vectors, near), small(IDS, np.asfortranarray(vectors), near)
    places = one.find(IDS)
    person, same = (personal(version, UserSignals(recent_views=("a", "b")).state(0.0)) for version in (one, other))
    assert collaborative(person, places).tolist() == collaborative(same, places).tolist() != [0.0] * 8


async def test_what_is_too_large_for_memory_is_searched_in_the_store_with_the_folded_vector() -> None:
    searches = Searches()
    version = Version("v", small(IDS[:4]), whole=False)
    asking = context(version, UserSignals(recent_carts=("b",)))
    assert await sources(searches)["collaborative"].fetch(asking, 5) == [Hit("far", 1.0)]
    assert asking.person is not None
    assert asking.person.vector is not None
    assert searches.asked == [("v", asking.person.vector.astype(np.float32).tolist(), 5)]


@pytest.mark.parametrize(("allowed", "expected"), [(None, ["c", "b"]), ([True, True, False, True], ["b", "a"])])
async def test_what_is_not_allowed_leaves_its_place_to_others(allowed: list[bool] | None, expected: list[str]) -> None:
    version = Version("v", small(IDS[:4], wanted=(1.0, 2.0, 3.0, 0.0)))
    mask = None if allowed is None else np.array(allowed)
    hits = hits_of(await sources()["best_sellers"].fetch(context(version, allowed=mask), 2), version.learned)
    assert [hit.id for hit in hits] == expected


@pytest.mark.parametrize(
    "name", ["taste", "alike", "basket", "collaborative", "co_chosen", "bought_together", "rising"]
)
async def test_without_a_version_they_find_nothing(name: str) -> None:
    asking = context(Version(), UserSignals(recent_views=("a",)), anchors=(Anchor("a", 1.0, "view"),))
    assert hits_of(await sources()[name].fetch(asking, 5)) == []


async def test_a_version_that_cannot_be_used_costs_its_part_of_the_page_alone() -> None:
    broken = dataclasses.replace(small(IDS[:4]), fold=None)  # type: ignore[arg-type]  # what no training makes
    config = ServingConfig("test", (SourceSpec("taste", 9, 0.3, 1.0),))
    degraded = Degraded()
    assert see(config, Version("v", broken), UserSignals(recent_views=("a",)), 0.0, degraded) is None
    assert degraded.names() == ("model",)
    unread = Degraded()
    assert see(config, Version("v", broken=True), UserSignals(), 0.0, unread) is None
    assert unread.names() == ("model",)
    assert see(config, Version("v"), UserSignals(), 0.0, Degraded()) is None, "there may be none yet"


def test_only_who_asks_for_the_shopper_is_shown_the_shopper() -> None:
    version, signals, degraded = Version("v", small(IDS[:4])), UserSignals(recent_views=("a",)), Degraded()
    of_everyone = SourceSpec("popular", 9, 0.3, 1.0)
    quiet = ServingConfig("test", (of_everyone,), weights={"collaborative": 0.0})
    assert see(quiet, version, signals, 0.0, degraded) is None
    assert see(dataclasses.replace(quiet, weights={}), version, signals, 0.0, degraded) is not None
    assert see(dataclasses.replace(quiet, objective="anything"), version, signals, 0.0, degraded) is not None
    assert see(
        dataclasses.replace(quiet, sources=(SourceSpec("rising", 9, 0.3, 1.0),)), version, signals, 0.0, degraded
    )
    assert see(dataclasses.replace(quiet, weights={}), Version("v"), signals, 0.0, degraded) is None
    by_text = dataclasses.replace(quiet, diversity=Diversity(mmr_lambda=0.5))
    assert see(by_text, version, signals, 0.0, degraded) is None
    by_model = dataclasses.replace(quiet, diversity=Diversity(mmr_lambda=0.5, mmr_vectors="model"))
    assert see(by_model, version, signals, 0.0, degraded) is not None


async def test_candidates_are_in_stock_and_not_hidden() -> None:
    version = Version("v", small(IDS[:4]))
    assert version.learned is not None
    person = personal(version.learned, UserSignals().state(0.0))

    mirror = Mirror(None, Assortment(9, 9))  # type: ignore[arg-type]  # nothing is read
    mirror.assortment.put(
        [
            ProductRow(id_, "", "", "", None, quantity, 0, None, None, None, None, None, b"", None)
            for id_, quantity in (("a", 1), ("b", 1), ("c", 0), ("d", 1))
        ]
    )
    stock = Stock(mirror)
    assert candidates_of(person, stock, ["a"]) is None
    await stock.align(version.learned)
    mask = candidates_of(person, stock, ["a", "unknown"])
    assert mask is not None
    assert mask.tolist() == [False, True, False, True]
    kept = candidates_of(person, stock, [])
    assert kept is not None
    assert kept.tolist() == [True, True, False, True], "the mask of everyone was not changed"


async def test_around_habits_alone_texts_are_for_what_the_version_does_not_know() -> None:
    class Texts:
        """Says what it was asked, unless it cannot say."""

        known = True

        def near(self, learned: object, anchors: tuple[Anchor, ...], limit: int) -> list[Hit] | None:
            return [Hit("newcomer", float(limit))] if self.known else None

        def at_once(self, anchors: tuple[Anchor, ...], limit: int) -> list[Hit]:
            return [Hit("searched", float(limit))]

    texts = Texts()
    semantic = dict(all_sources(cast(Any, texts), cast(Any, texts), cast(Any, texts), cast(Any, texts)))["semantic"]
    version = Version("v", small(IDS[:4]))

    def found(*origins: str, of: Version = version) -> list[str]:
        anchors = tuple(Anchor(id_, 1.0, origin) for id_, origin in zip(IDS, origins, strict=False))
        hits = semantic.at_once(context(of, anchors=anchors), 50)
        return [hit.id for hit in cast(list[Hit], hits)]

    assert found("purchase", "purchase") == ["newcomer"]
    assert found("view", "purchase") == ["searched"]
    assert found("purchase", of=Version()) == ["searched"]
    assert found() == []
    texts.known = False
    assert found("purchase") == ["searched"]
