"""What is compiled, beside the same said in plain Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recommender.domain import kernels
from services.recommender.domain.folding import FoldIn, fold_in

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
    values = np.random.default_rng(bits).normal(size=(len(trees), 16))
    found = kernels.add_leaves(
        np.array(rows, dtype=np.float32).reshape(-1, 3).T.copy(),
        np.array([column for column, _, _ in splits], dtype=np.intp),
        np.array([threshold for _, threshold, _ in splits], dtype=np.float32),
        np.array([mask for _, _, mask in splits], dtype=f"uint{bits}"),
        np.cumsum([0, *map(len, trees)]).astype(np.intp),
        values,
    )
    for row, total in zip(rows, found.tolist(), strict=True):
        reached = []
        for tree in trees:
            ruled_out = {leaf for at, limit, mask in tree if row[at] > limit for leaf in range(16) if mask >> leaf & 1}
            reached.append(min(set(range(16)) - ruled_out))
        assert total == values[np.arange(len(trees)), reached].sum()


@pytest.mark.parametrize("trees", [1, 7, 8, 128, 129, 300])
def test_leaves_of_many_trees_are_added_up_as_numpy_does(trees: int) -> None:
    values = np.random.default_rng(trees).normal(size=(trees, 1))
    nothing, no_splits = np.zeros(0, dtype=np.intp), np.zeros(trees + 1, dtype=np.intp)
    split = nothing, nothing.astype(np.float32), nothing.astype(np.uint16)
    found = kernels.add_leaves(np.zeros((1, 70), dtype=np.float32), *split, no_splits, values)
    assert found.tolist() == [np.ascontiguousarray(values[:, 0]).sum()] * 70


# Of many sizes: in another order they would add up to something else.
numbers = st.floats(-1e6, 1e6)
# Beyond any array as well: they are names here, not rows.
places = st.integers(-1, 9) | st.integers(2**62, 2**62 + 3)


def as_places(found: Sequence[int]) -> npt.NDArray[np.int64]:
    return np.array(found, dtype=np.int64)


def in_order(parts: Sequence[tuple[int, float]]) -> dict[int, float]:
    """Added up by place as they come."""
    totals: dict[int, float] = {}
    for place, value in parts:
        totals[place] = totals.get(place, 0.0) + value
    return totals


def assert_sums(found: tuple[np.ndarray, np.ndarray, np.ndarray], expected: dict[int, float]) -> None:
    """To the last digit, and what is not there is 0."""
    keys, values, slots = found
    assert list(zip(keys.tolist(), values.tolist(), strict=True)) == list(expected.items())
    wanted = [*range(-1, 12), *expected, 2**62 + 9]
    assert kernels.look_up(keys, values, slots, as_places(wanted)).tolist() == [expected.get(at, 0.0) for at in wanted]


@given(st.lists(st.tuples(places, numbers), max_size=80))
def test_values_are_added_up_by_place_in_their_order(parts: list[tuple[int, float]]) -> None:
    keys = as_places([place for place, _ in parts])
    found = kernels.add_up(keys, np.array([value for _, value in parts], dtype=np.float64))
    assert_sums(found, in_order(parts))
    codes, owners = kernels.distinct(keys)
    assert codes.tolist() == found[0].tolist()
    assert codes[owners].tolist() == keys.tolist()


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Neighbours of five products with their weights; rows of it, and how strong each is."""
    width = draw(st.integers(1, 4))
    rows = st.lists(st.sampled_from(range(-1, 5)), min_size=width, max_size=width)
    near = draw(st.lists(rows, min_size=5, max_size=5))
    weights = st.lists(st.floats(0, 9, width=32), min_size=width, max_size=width)
    asked = draw(st.lists(st.tuples(st.integers(-5, 4), st.floats(0, 9)), max_size=6))
    return (
        np.array(near, dtype=np.int32),
        np.array(draw(st.lists(weights, min_size=5, max_size=5)), dtype=np.float32),
        as_places([place for place, _ in asked]),
        np.array([strength for _, strength in asked], dtype=np.float64),
    )


@given(tables())
def test_what_neighbours_give_is_added_up_in_the_order_of_rows(
    table: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    near, weights, asked, strengths = table
    shares = weights[asked] * strengths[:, None]
    parts = list(zip(near[asked].ravel().tolist(), shares.ravel().tolist(), strict=True))
    assert_sums(kernels.spread(*table), in_order(parts))
    for chosen in range(5):
        given = [max([0.0, *share[row == chosen].tolist()]) for row, share in zip(near[asked], shares, strict=True)]
        most = int(np.argmax(given)) if given else 0
        assert kernels.givers(*table, as_places([7, chosen])).tolist() == [0, most]


# Few values, for many ties.
scores = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 1.0, np.inf])


@given(st.lists(scores | st.just(np.nan), max_size=40), st.randoms(use_true_random=False))
def test_rows_fall_by_their_scores_and_ties_go_by_id(falls: list[float], random: Random) -> None:
    ids = [f"p{number:02d}" for number in range(len(falls))]
    random.shuffle(ids)
    order = [-np.inf if np.isnan(score) else score for score in falls]
    expected = sorted(range(len(falls)), key=lambda row: (-order[row], ids[row]))
    assert kernels.falling(np.array(falls, dtype=np.float64), ids) == expected


limits = st.integers(0, 12)
masks = st.none() | st.lists(st.booleans(), min_size=40, max_size=40)


@given(st.lists(scores, max_size=40), limits, masks, st.sampled_from([-np.inf, 0.0, 0.5]), st.integers(0, 40))
def test_the_best_are_the_first_of_all_in_order(
    of_all: list[float], limit: int, mask: list[bool] | None, above: float, first: int
) -> None:
    allowed = None if mask is None else np.array(mask)
    at = np.random.default_rng(len(of_all)).permutation(40)[: len(of_all)]
    ordered = sorted(zip(at.tolist(), of_all, strict=True), key=lambda hit: (-hit[1], hit[0]))
    shown = [(place, score) for place, score in ordered if mask is None or mask[place]]
    found = kernels.best(at, np.array(of_all, dtype=np.float64), limit, allowed, above)
    assert list(zip(*map(np.ndarray.tolist, found), strict=True)) == [hit for hit in shown if hit[1] > above][:limit]
    # In two parts, the second of them as the products of vectors come.
    halves = slice(0, first), slice(first, None)
    begun, more = (np.array(of_all[half], dtype=kind) for half, kind in zip(halves, ("f8", "f4"), strict=True))
    found = kernels.best(at[halves[0]], begun, limit, allowed)
    found = kernels.better(*found, at[halves[1]], more, limit, allowed)
    assert list(zip(*map(np.ndarray.tolist, found), strict=True)) == [hit for hit in shown if hit[1] > 0][:limit]


@given(st.lists(st.sampled_from([0.0, 0.25, 1.0, 2.0]), max_size=8), st.sampled_from([0.0, 0.1, 0.25, 1.0, 3.0]))
def test_the_longer_ones_stand_before(lengths: list[float], length: float) -> None:
    falls = np.sort(np.array(lengths, dtype=np.float64))[::-1].copy()
    assert kernels.longer(falls, length) == sum(other >= length and other > 0 for other in lengths)


@given(
    st.lists(st.lists(st.integers(0, 5), max_size=6, unique=True), max_size=4),
    st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_reciprocal_ranks_count_what_is_shown(sources: list[list[int]], mask: list[bool]) -> None:
    hits = [owner for source in sources for owner in source]
    worth = [1.3 / (number + 1) for number in range(len(sources))]
    counts, hidden = as_places([len(source) for source in sources]), np.array(mask, dtype=np.uint8)
    found = kernels.fuse(as_places(hits), counts, np.array(worth, dtype=np.float64), hidden, 10)
    rows: list[tuple[int, int, float]] = []
    totals = [0.0] * 6
    for number, source in enumerate(sources):
        for at, owner in enumerate(source):
            rank = sum(not mask[other] for other in source[: at + 1])
            rows.append((number, rank, 0.0 if mask[owner] else worth[number] / (10 + rank)))
            totals[owner] += rows[-1][2]
    assert list(zip(*(column.tolist() for column in found[:3]), strict=True)) == rows
    assert found[3].tolist() == totals
    # What was found of some of them, with names.
    names, scores = [f"s{number}" for number in range(len(sources))], np.arange(len(hits), dtype=np.float64)
    anchors = [None if hit % 2 else f"a{hit}" for hit in range(len(hits))]
    traces = kernels.traces(as_places([5, 2]), as_places(hits), *found[:3], scores, names, anchors)
    for wanted, own in zip((5, 2), traces, strict=True):
        assert own == [
            (names[number], rank, share, anchors[hit], float(hit))
            for hit, (owner, (number, rank, share)) in enumerate(zip(hits, rows, strict=True))
            if owner == wanted
        ]


@given(st.lists(st.tuples(scores, st.booleans()), max_size=40), limits)
def test_the_leading_ones_are_all_that_are_not_behind_the_last_of_them(
    values: list[tuple[float, bool]], limit: int
) -> None:
    kept = sorted((value for value, hidden in values if not hidden), reverse=True)[:limit]
    expected = [row for row, (value, hidden) in enumerate(values) if kept and not hidden and value >= kept[-1]]
    of_all = np.array([value for value, _ in values], dtype=np.float64)
    assert (
        kernels.leading(of_all, np.array([hidden for _, hidden in values], dtype=np.uint8), limit).tolist() == expected
    )


def test_numbers_have_names_and_those_of_others_follow() -> None:
    assert kernels.named(("a", "b"), ("c",), as_places([2, 0, 1, 0])) == ["c", "a", "b", "a"]


@pytest.mark.parametrize("width", [1, 7, 8, 9, 64, 100, 128, 129, 200, 300, 1_001])
def test_products_of_vectors_are_rounded_as_numpy_rounds_them(width: int) -> None:
    random = np.random.default_rng(width)
    vectors = random.normal(size=(40, width)).astype(np.float32)
    vector, chosen = random.normal(size=width).astype(np.float32), random.integers(-40, 40, 60)
    expected = (vectors[chosen] * vector).sum(axis=1).astype(np.float64)
    assert kernels.inner(vectors, chosen, vector).tolist() == expected.tolist()


@pytest.mark.parametrize("size", [0, 1, 2, 5, 64])
def test_equations_are_solved_where_the_matrix_is_positive_definite(size: int) -> None:
    random = np.random.default_rng(size)
    rows = random.normal(size=(size + 3, size))
    matrix, right = rows.T @ rows + 0.1 * np.eye(size), random.normal(size=size)
    asked = matrix.copy(), right.copy()
    found = kernels.solve(*asked)
    assert found is not None
    np.testing.assert_allclose(found, np.linalg.solve(matrix, right), rtol=1e-9)
    np.testing.assert_array_equal(asked[0], matrix)
    np.testing.assert_array_equal(asked[1], right)
    if size:
        assert kernels.solve(matrix - 1_000 * np.eye(size), right) is None
        assert kernels.solve(np.full((size, size), np.nan), right) is None


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_history_has_a_vector_whatever_it_is_folded_into(sign: float) -> None:
    products, worth = np.array([[1, 2], [0, 1]], dtype=np.float32), np.array([2.0, 5.0])
    confidence = 0.5 * np.log1p(worth)
    normal = sign * 9 * np.eye(2) + products.T @ ((confidence - 1)[:, None] * products) + 0.25 * np.eye(2)
    vector = fold_in(FoldIn(sign * 9 * np.eye(2), 0.25, 0.5), products, worth)
    assert vector is not None
    np.testing.assert_allclose(normal @ vector, confidence @ products, rtol=1e-5)


def wrong_leaves(column: int = 0, splits: int = 1, end: int = 1, middle: int = 0) -> None:
    columns, masks = np.zeros((2, 5), dtype=np.float32), np.zeros(splits, dtype=np.uint16)
    ends = np.array([0, middle, end], dtype=np.intp)
    kernels.add_leaves(columns, np.array([column]), np.zeros(1, dtype=np.float32), masks, ends, np.zeros((2, 2)))


FEW, ONE, SHOWN = as_places([0, 3]), np.ones(1), np.ones(2, dtype=np.bool_)
HIDDEN = np.zeros(2, dtype=np.uint8)
SLOTS = kernels.add_up(FEW, np.ones(2))[2]
NEAR, WEIGHTS = np.zeros((2, 3), dtype=np.int32), np.zeros((2, 3), dtype=np.float32)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: wrong_leaves(column=2), IndexError),
        (lambda: wrong_leaves(column=-1), IndexError),
        (lambda: wrong_leaves(splits=2), ValueError),
        (lambda: wrong_leaves(end=2), ValueError),
        (lambda: wrong_leaves(middle=9), IndexError),
        (lambda: kernels.add_up(FEW, ONE), ValueError),
        (lambda: kernels.look_up(FEW, ONE, SLOTS, FEW), ValueError),
        (lambda: kernels.look_up(FEW, np.ones(2), SLOTS[:3], FEW), ValueError),
        # Slots that were not made of these places: they lead elsewhere, or nowhere is an end.
        (lambda: kernels.look_up(FEW, np.ones(2), np.full(4, 1 << 20, dtype=np.int32), FEW), IndexError),
        (lambda: kernels.look_up(FEW[:1], ONE, np.zeros(4, dtype=np.int32), FEW), ValueError),
        (lambda: kernels.look_up(FEW[:0], ONE[:0], SLOTS[:1], FEW), ValueError),
        (lambda: kernels.look_up(FEW[:0], ONE[:0], SLOTS[:0], FEW), ValueError),
        (lambda: kernels.spread(NEAR, WEIGHTS, FEW, ONE), ValueError),
        (lambda: kernels.spread(NEAR, WEIGHTS[:1], FEW[:1], ONE), ValueError),
        (lambda: kernels.spread(NEAR, WEIGHTS, FEW[1:], ONE), IndexError),
        (lambda: kernels.givers(NEAR, WEIGHTS, FEW[1:], ONE, FEW), IndexError),
        (lambda: kernels.best(FEW, ONE, 3), ValueError),
        (lambda: kernels.best(FEW, np.ones(2), 3, np.ones(2, dtype=np.bool_)), IndexError),
        (lambda: kernels.better(FEW, ONE, FEW, np.ones(2, dtype=np.float32), 3), ValueError),
        (lambda: kernels.better(FEW[:1], ONE, FEW, np.ones(2, dtype=np.float32), 3, SHOWN), IndexError),
        (lambda: kernels.best_of_shelves(FEW, np.ones(2), FEW, ONE, 3), IndexError),
        (lambda: kernels.fuse(FEW, as_places([2]), ONE, HIDDEN, 10), IndexError),
        (lambda: kernels.fuse(FEW[:1], as_places([2]), ONE, HIDDEN, 10), IndexError),
        (lambda: kernels.fuse(FEW[:1], as_places([-1]), ONE, HIDDEN, 10), IndexError),
        (lambda: kernels.fuse(FEW[:1], as_places([1, 2**63 - 1]), np.ones(2), HIDDEN, 10), IndexError),
        (lambda: kernels.fuse(FEW[:1], as_places([0]), ONE, HIDDEN, 10), ValueError),
        (lambda: kernels.fuse(FEW[:1], as_places([1, 1]), ONE, HIDDEN, 10), ValueError),
        (lambda: kernels.leading(ONE, HIDDEN, 3), ValueError),
        (lambda: kernels.inner(WEIGHTS, FEW, np.ones(3, dtype=np.float32)), IndexError),
        (lambda: kernels.inner(WEIGHTS, FEW[:1], np.ones(2, dtype=np.float32)), ValueError),
        (lambda: kernels.solve(np.eye(3), np.ones(2)), ValueError),
        (lambda: kernels.solve(np.ones((3, 2)), np.ones(3)), ValueError),
        (lambda: kernels.named(("a",), ("b",), as_places([2])), IndexError),
        (lambda: kernels.named(("a",), ("b",), as_places([-1])), IndexError),
        (lambda: kernels.traces(FEW, FEW, FEW, FEW, ONE, ONE, ["s"], ["a"]), ValueError),
        (lambda: kernels.traces(FEW, FEW, FEW, FEW, np.ones(2), np.ones(2), ["s"], [None, None]), IndexError),
        (lambda: kernels.best_of_shelves(FEW, np.ones(2), FEW, np.ones(2), 3), ValueError),
    ],
)
def test_what_leads_out_of_an_array_is_an_error(call: Callable[[], object], error: type[Exception]) -> None:
    with pytest.raises(error):
        call()
