"""What is compiled, beside the same said in plain Python."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recommender.domain import kernels

singles = st.floats(-2, 2, width=32) | st.sampled_from([0.0, float("inf"), float("-inf"), float("nan")])


@st.composite
def forests(draw: st.DrawFn) -> list[list[tuple[int, float, int]]]:
    """Of each tree its splits: column, threshold, leaves ruled out."""
    split = st.tuples(st.integers(0, 2), st.floats(-2, 2, width=32), st.integers(0, 0x7FFF))
    return draw(st.lists(st.lists(split, max_size=6), min_size=1, max_size=4))


@given(forests(), st.lists(st.tuples(singles, singles, singles), max_size=70), st.sampled_from([16, 32, 64]))
def test_the_leaf_is_the_first_that_no_split_rules_out(
    trees: list[list[tuple[int, float, int]]], rows: list[tuple[float, float, float]], bits: int
) -> None:
    splits = [split for tree in trees for split in tree]
    values = np.arange(len(trees) * 16, dtype=np.float64).reshape(-1, 16)
    found = kernels.leaves(
        np.array(rows, dtype=np.float32).reshape(-1, 3).T.copy(),
        np.array([column for column, _, _ in splits], dtype=np.intp),
        np.array([threshold for _, threshold, _ in splits], dtype=np.float32),
        np.array([mask for _, _, mask in splits], dtype=f"uint{bits}"),
        np.cumsum([0, *map(len, trees)]).astype(np.intp),
        values,
    )
    for row, leaves in zip(rows, found, strict=True):
        for tree, (splits_of_tree, leaf) in enumerate(zip(trees, leaves.tolist(), strict=True)):
            ruled_out = {
                number
                for column, threshold, mask in splits_of_tree
                if row[column] > threshold
                for number in range(16)
                if mask >> number & 1
            }
            assert leaf == 16 * tree + min(set(range(16)) - ruled_out)


def wrong_leaves(column: int = 0, splits: int = 1, end: int = 1) -> None:
    columns, masks = np.zeros((2, 5), dtype=np.float32), np.zeros(splits, dtype=np.uint16)
    ends = np.array([0, end], dtype=np.intp)
    kernels.leaves(columns, np.array([column]), np.zeros(1, dtype=np.float32), masks, ends, np.zeros((1, 2)))


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: wrong_leaves(column=2), IndexError),
        (lambda: wrong_leaves(column=-1), IndexError),
        (lambda: wrong_leaves(splits=2), ValueError),
        (lambda: wrong_leaves(end=2), ValueError),
    ],
)
def test_what_leads_out_of_an_array_is_an_error(call: Callable[[], None], error: type[Exception]) -> None:
    with pytest.raises(error):
        call()
