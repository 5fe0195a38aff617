"""What is found without looking at every product is what looking at every product finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recommender.domain import nearest
from services.recommender.domain.nearest import Nearest
from services.recommender.domain.ordering import Order, Shelves
from services.recommender.domain.scores import Scores

# Few values, for many ties.
values = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0])
SIZE = 30


def expected(scores: list[float], limit: int, allowed: list[bool] | None) -> list[tuple[int, float]]:
    """Straight from the definition."""
    found = [(place, score) for place, score in enumerate(scores) if score > 0 and (allowed is None or allowed[place])]
    return sorted(found, key=lambda hit: (-hit[1], hit[0]))[:limit]


def listed(found: tuple[np.ndarray, np.ndarray]) -> list[tuple[int, float]]:
    return list(zip(found[0].tolist(), found[1].tolist(), strict=True))


lists = st.lists(values, min_size=SIZE, max_size=SIZE)
masks = st.none() | st.lists(st.booleans(), min_size=SIZE, max_size=SIZE)
limits = st.integers(1, 12)


@given(lists, limits, masks)
def test_an_order_is_walked_to_what_is_allowed(scores: list[float], limit: int, mask: list[bool] | None) -> None:
    allowed = None if mask is None else np.array(mask)
    assert listed(Order.of(np.array(scores)).best(limit, allowed)) == expected(scores, limit, mask)


@given(
    lists,
    st.lists(st.integers(0, 3), min_size=SIZE, max_size=SIZE),
    st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=4, max_size=4),
    limits,
    masks,
)
def test_shelves_are_walked_by_their_shares(
    scores: list[float], codes: list[int], shares: list[float], limit: int, mask: list[bool] | None
) -> None:
    shelves = Shelves.of(np.array(codes, dtype=np.int32), np.array(scores), 4)
    allowed = None if mask is None else np.array(mask)
    weighed = [max(score, 0.0) * shares[code] for score, code in zip(scores, codes, strict=True)]
    assert listed(shelves.best(np.array(shares), limit, allowed)) == expected(weighed, limit, mask)


@given(st.data())
def test_the_nearest_are_the_nearest_of_all(data: st.DataObject) -> None:
    # Whole numbers: nothing rounds.
    numbers = st.integers(-3, 3).map(float)
    vectors = data.draw(st.lists(st.lists(numbers, min_size=3, max_size=3), min_size=1, max_size=SIZE))
    vector = data.draw(st.lists(numbers, min_size=3, max_size=3))
    mask = data.draw(st.none() | st.lists(st.booleans(), min_size=len(vectors), max_size=len(vectors)))
    limit = data.draw(limits)
    index = Nearest.of(np.array(vectors, dtype=np.float32))
    allowed = None if mask is None else np.array(mask)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest, "_FIRST", 4)
        asked = np.array(vector, dtype=np.float32)
        found = listed(index.search(asked, limit, allowed))
        assert listed(index.search(asked, limit, allowed, index.longest(asked))) == found
        assert index.largest(asked, index.longest(asked)) == index.largest(asked)
    inner = [float(np.dot(row, vector)) for row in vectors]
    assert found == expected(inner, limit, mask)
    assert index.largest(np.array(vector, dtype=np.float32)) == max(0.0, *inner)


@pytest.mark.parametrize("fall", [0.7, 0.05])
def test_the_nearest_are_found_whether_lengths_differ_much_or_little(
    fall: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nearest, "_FIRST", 16)
    random = np.random.default_rng(3)
    vectors = random.normal(size=(2_000, 8))
    vectors *= (np.arange(1, 2_001) ** -fall / np.linalg.norm(vectors, axis=1))[:, None]
    index = Nearest.of(random.permutation(vectors).astype(np.float32))
    for _ in range(10):
        vector = random.normal(size=8).astype(np.float32)
        places, scores = index.search(vector, 5)
        inner = np.empty(len(vectors))
        inner[index.places] = index.vectors @ vector
        assert places.tolist() == np.argsort(-inner, kind="stable")[:5].tolist()
        np.testing.assert_allclose(scores, np.sort(inner)[::-1][:5], rtol=1e-5)


@given(st.lists(st.tuples(st.integers(-1, SIZE - 1), values), max_size=60))
def test_scores_of_a_few_add_up_and_are_looked_up(parts: list[tuple[int, float]]) -> None:
    places = np.array([place for place, _ in parts], dtype=np.int64)
    scores = Scores.add_up(places, np.array([value for _, value in parts], dtype=np.float64))
    totals = dict.fromkeys(range(-1, SIZE), 0.0)
    for place, value in parts:
        totals[place] += value
    assert scores.of(np.arange(-1, SIZE)).tolist() == list(totals.values())
    assert sorted(scores.places.tolist()) == sorted({place for place, _ in parts})
    assert scores.strongest == max(totals.values())
