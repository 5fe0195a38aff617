"""What an explanation says of a place on the page."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recommender.domain.explaining import contributions, movements
from services.recommender.domain.scoring import COLUMNS, effective_weights, score
from services.recommender.domain.selection import Scored, select
from services.recommender.domain.serving import Diversity


def scored(number: int, category: str = "", brand: str = "", fresh: bool = False) -> Scored:
    return Scored(f"p{number:02d}", 1.0 - number / 100, category, brand, fresh)


@given(
    st.lists(st.floats(-1, 1), min_size=len(COLUMNS), max_size=len(COLUMNS)),
    st.dictionaries(st.sampled_from(COLUMNS), st.floats(-3, 3)),
)
def test_contributions_sum_to_the_score(row: list[float], weights: dict[str, float]) -> None:
    matrix = np.array([row])
    chosen = effective_weights(weights, ranked=False, in_session=True)
    (parts,) = contributions(matrix, chosen)
    assert [part.column for part in parts] == list(COLUMNS)
    assert math.isclose(sum(part.amount for part in parts), score(matrix, chosen)[0], abs_tol=1e-9)


@pytest.mark.parametrize(
    ("items", "diversity", "expected"),
    [
        ([scored(n) for n in range(8)] + [scored(8, fresh=True)], Diversity(session_share=0.2), "session-share"),
        ([scored(n, "Audio") for n in range(8)] + [scored(8, "Garden")], Diversity(category_cap=0.8), "category-cap"),
        ([scored(n, "", "Own") for n in range(8)] + [scored(8, "", "Other")], Diversity(brand_cap=0.8), "brand-cap"),
    ],
)
def test_the_rule_that_brought_a_product_is_named(items: list[Scored], diversity: Diversity, expected: str) -> None:
    moved = movements(items, 5, diversity)
    assert moved["p08"] == (expected,)
    assert moved["p00"] == ()
    assert moved["p04"] == ("replacement",), "held back: shown only when another may not be"


@given(
    st.lists(st.tuples(st.sampled_from(["", "A", "B"]), st.sampled_from(["", "X", "Y"]), st.booleans()), max_size=30),
    st.integers(1, 12),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_what_the_score_did_not_place_has_a_cause(
    rows: list[tuple[str, str, bool]], page_size: int, cap: float, share: float
) -> None:
    items = [scored(number, *row) for number, row in enumerate(rows)]
    diversity = Diversity(cap, cap, share)
    moved = movements(items, page_size, diversity)
    page = {item.id for item in select(items, page_size, diversity)[:page_size]}
    best = {item.id for item in items[:page_size]}
    assert {id_ for id_, causes in moved.items() if not causes} == page & best
    assert {id_ for id_, causes in moved.items() if causes == ("replacement",)} == set(moved) - page
