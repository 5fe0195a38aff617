"""Maximal marginal relevance against a brute-force reading of its definition."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recommender.domain.explaining import movements
from services.recommender.domain.selection import Scored, select
from services.recommender.domain.serving import Diversity

Vectors = npt.NDArray[np.float32]


def scored(number: int, score: float, category: str = "", fresh: bool = False) -> Scored:
    return Scored(f"p{number:02d}", score, category, "", fresh)


def oracle(items: list[Scored], vectors: Vectors, page_size: int, trade: float, cap: int) -> list[str]:
    """Place by place, every candidate weighed anew, as the definition says."""
    lowest, highest = min(item.score for item in items), max(item.score for item in items)
    chosen: list[int] = []
    for limited in (True, False):
        while len(chosen) < min(page_size, len(items)):
            best: tuple[float, float, str, int] | None = None
            for number, item in enumerate(items):
                taken = sum(items[other].top_category == item.top_category for other in chosen)
                if number in chosen or (limited and item.top_category and taken >= cap):
                    continue
                relevance = (item.score - lowest) / (highest - lowest) if highest > lowest else 1.0
                cosines = [float(vectors[number] @ vectors[other]) for other in chosen]
                likeness = min(1.0, max([0.0, *cosines]))
                worth = round(trade * relevance - (1 - trade) * likeness, 6)
                key = (-worth, -item.score, item.id, number)
                best = key if best is None or key < best else best
            if best is None:
                break
            chosen.append(best[3])
    return [items[number].id for number in chosen]


# Angles of a circle in eighths: cosines that are exact enough to compare, many of them equal.
candidates = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 7), st.sampled_from(["", "A", "B"])), min_size=1, max_size=9
)


def world(rows: list[tuple[int, int, str]]) -> tuple[list[Scored], Vectors]:
    items = [scored(number, score / 4, category) for number, (score, _, category) in enumerate(rows)]
    angles = np.array([eighth * math.pi / 4 for _, eighth, _ in rows])
    return items, np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)


@given(candidates, st.integers(1, 6), st.sampled_from([0.0, 0.25, 0.5, 0.75]))
def test_the_page_is_that_of_the_definition(rows: list[tuple[int, int, str]], page_size: int, trade: float) -> None:
    items, vectors = world(rows)
    order = select(items, page_size, Diversity(mmr_lambda=trade), vectors)
    assert [item.id for item in order][:page_size] == oracle(items, vectors, page_size, trade, len(items))


@given(candidates, st.integers(1, 6))
def test_caps_hold_for_the_choice(rows: list[tuple[int, int, str]], page_size: int) -> None:
    items, vectors = world(rows)
    page = {
        item.id for item in select(items, page_size, Diversity(category_cap=0.1, mmr_lambda=0.5), vectors)[:page_size]
    }
    assert page == set(oracle(items, vectors, page_size, 0.5, 2))


@given(candidates, st.integers(1, 6), st.sampled_from([0.0, 0.5, 1.0]))
def test_nothing_is_lost_or_invented(rows: list[tuple[int, int, str]], page_size: int, trade: float) -> None:
    items, vectors = world(rows)
    order = select(items, page_size, Diversity(0.5, 0.5, 0.3, trade), vectors)
    assert sorted(item.id for item in order) == sorted(item.id for item in items)


def test_lambda_one_and_no_vectors_are_the_order_of_scores() -> None:
    items, vectors = world([(score, 0, "") for score in (1, 4, 2, 3)])
    by_score = ["p01", "p03", "p02", "p00"]
    assert [item.id for item in select(items, 2, Diversity(mmr_lambda=1.0), vectors)] == by_score
    assert [item.id for item in select(items, 2, Diversity(mmr_lambda=0.1), None)] == by_score
    assert select([], 2, Diversity(mmr_lambda=0.1), np.zeros((0, 2), dtype=np.float32)) == []


def test_twins_do_not_stand_side_by_side() -> None:
    items = [scored(0, 1.0), scored(1, 0.99), scored(2, 0.5), scored(3, 0.0)]
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0, 0]], dtype=np.float32)
    assert [item.id for item in select(items, 3, Diversity(mmr_lambda=0.6), vectors)][:3] == ["p00", "p02", "p01"]


def test_the_session_has_its_share_beside_it() -> None:
    items = [scored(number, 1 - number / 20) for number in range(10)] + [scored(10, 0.1, fresh=True)]
    vectors = np.eye(11, dtype=np.float32)
    page = select(items, 4, Diversity(session_share=0.25, mmr_lambda=0.5), vectors)[:4]
    assert [item.id for item in page] == ["p00", "p01", "p02", "p10"]


def test_what_it_brought_onto_the_page_is_told() -> None:
    items = [scored(0, 1.0), scored(1, 0.9), scored(2, 0.5)]
    vectors = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    moved = movements(items, 2, Diversity(mmr_lambda=0.5), vectors)
    assert (moved["p00"], moved["p02"]) == ((), ("mmr",))


@pytest.mark.parametrize("rows", [1, 300])
def test_equal_scores_go_by_id(rows: int) -> None:
    items = [scored(number, 0.5) for number in reversed(range(rows))]
    order = select(items, rows, Diversity(mmr_lambda=0.5), np.zeros((rows, 4), dtype=np.float32))
    assert [item.id for item in order] == sorted(item.id for item in items)
