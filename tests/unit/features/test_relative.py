"""Values relative to the greatest of all: levels, rounding, and of which instant an answer is."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.features.domain.features import (
    NO_TOKEN,
    Entry,
    FeatureType,
    OnEvent,
    Outcome,
    Reading,
    Status,
    magnitude_of,
    reading,
    related,
)
from services.features.domain.relative import Maximum, Relative
from tests.unit.features.test_values import feature

WEEK = 7 * 86_400_000
T = 1_760_000_000_000
SCALE = Relative(100.0, WEEK, 2, "")
POPULARITY = feature(
    type=FeatureType.DOUBLE,
    on_event=OnEvent.QUEUE,
    refresh_ms=3_600_000,
    ttl_ms=86_400_000,
    default=0.0,
    relative=SCALE,
)


def known(level: float | None, at_ms: int, whole: bool) -> Maximum:
    return Maximum(level, at_ms, whole, level)


def score(x: float, greatest: float) -> float:
    return round(100 * math.log(1 + x) / math.log(1 + greatest), 2)


@given(st.floats(1e-9, 1e12), st.integers(0, 60 * 86_400_000))
def test_a_level_stands_still_while_its_magnitude_halves(magnitude: float, later: int) -> None:
    level = SCALE.level(magnitude, T)
    assert SCALE.magnitude(level, T) == pytest.approx(magnitude, rel=1e-9)
    decayed = SCALE.decayed(magnitude, T, T + later)
    assert decayed == pytest.approx(magnitude / 2 ** (later / WEEK), rel=1e-12)
    assert SCALE.level(decayed, T + later) == pytest.approx(level, abs=1e-9)


@pytest.mark.parametrize(
    ("scale", "share", "digits", "value"),
    [
        # Ties as the shortest decimal has them go to even; the double of 12.345 is a little above, of 0.145 below it.
        (12.345, 1.0, 2, 12.34), (12.355, 1.0, 2, 12.36), (0.145, 1.0, 2, 0.14), (0.155, 1.0, 2, 0.16),
        (2.5, 1.0, 0, 2.0), (3.5, 1.0, 0, 4.0), (12.3451, 1.0, 2, 12.35), (12.3449, 1.0, 2, 12.34), (7.0, 1.0, 6, 7.0),
    ],
)  # fmt: skip
def test_rounding_is_half_even_on_decimals(scale: float, share: float, digits: int, value: float) -> None:
    assert Relative(scale, WEEK, digits, "").score(share, share) == value


def test_the_greatest_is_a_hundred_and_nothing_is_more() -> None:
    assert SCALE.score(10.0, 10.0) == 100.0
    assert SCALE.score(10.0, 9.0) == 100.0
    assert SCALE.score(1e-18, 1e-18) == 100.0
    assert SCALE.score(1.0, 10.0) == score(1, 10) == 28.91


@pytest.mark.parametrize(
    ("maximum", "age", "until", "expected"),
    [
        # nothing known of the greatest, but what was known when it was computed
        (None, 0, None, Reading(score(8, 16), Status.PRESENT, T)),
        # moved to the instant of the maximum: a day later both have decayed, and the greatest is another
        (known(SCALE.level(64, T), T + 1_000, True), 2_000, None, Reading(score(8, 64), Status.PRESENT, T + 1_000)),
        (known(SCALE.level(64, T), T, True), 0, None, Reading(score(8, 64), Status.PRESENT, T)),
        # older than the value
        (known(SCALE.level(64, T), T - 1, True), 0, None, Reading(score(8, 16), Status.PRESENT, T)),
        # of an instant at which the value may have changed
        (known(SCALE.level(64, T), T + 1, False), 1, None, Reading(score(8, 16), Status.PRESENT, T)),
        (known(None, T + 1, True), 1, None, Reading(score(8, 16), Status.PRESENT, T)),
        # the window slides at T + 500
        (known(SCALE.level(64, T), T + 499, True), 499, 500, Reading(score(8, 64), Status.PRESENT, T + 499)),
        (known(SCALE.level(64, T), T + 499, True), 800, 500, Reading(score(8, 64), Status.PRESENT, T + 499)),
        (known(SCALE.level(64, T), T + 500, True), 500, 500, Reading(score(8, 16), Status.PRESENT, T)),
        # stale: of its own instant, and it says so
        (known(SCALE.level(64, T), T + 3_600_000, True), 3_600_000, None, Reading(score(8, 16), Status.STALE, T)),
    ],
)  # fmt: skip
def test_value_and_instant_belong_together(
    maximum: Maximum | None, age: int, until: int | None, expected: Reading
) -> None:
    entry = Entry(T, NO_TOKEN, [8.0, 16.0], None if until is None else T + until)
    assert reading(POPULARITY, entry, T + age, False, maximum) == expected


def test_a_day_later_both_have_decayed() -> None:
    later, level = T + 3_599_999, SCALE.level(64, T)
    found = reading(POPULARITY, Entry(T, NO_TOKEN, [8.0, 16.0]), later, False, known(level, later, True))
    factor = 2 ** (-3_599_999 / WEEK)
    assert found == Reading(score(8 * factor, 64 * factor), Status.PRESENT, later)


def test_without_evidence_it_is_the_default() -> None:
    maximum = known(SCALE.level(64, T), T + 5, True)
    assert reading(POPULARITY, Entry(T, NO_TOKEN, None), T + 5, False, maximum) == Reading(0.0, Status.DEFAULT, T)


@pytest.mark.parametrize(("value", "magnitude"), [(2.5, 2.5), (0.0, None), (None, None)])
def test_what_has_a_level(value: float | None, magnitude: float | None) -> None:
    assert magnitude_of(Outcome(value)) == magnitude


def test_beside_a_magnitude_stands_the_greatest_of_its_instant() -> None:
    def stored(value: Any, maximum: float | None) -> Any:
        return related(SCALE, Outcome(value, T + 9), maximum, T)

    assert stored(2.0, None) == Outcome([2.0, 2.0], T + 9)
    assert stored(2.0, SCALE.level(1.0, T)) == Outcome([2.0, 2.0], T + 9)
    assert stored(2.0, SCALE.level(32.0, T - WEEK)).value == pytest.approx([2.0, 16.0])
    assert stored(None, SCALE.level(32.0, T)) == Outcome(None, T + 9)
    with pytest.raises(TypeError):
        stored("two", None)


def test_what_has_decayed_to_nothing_is_0_beside_a_greatest_that_has_too() -> None:
    scale = Relative(100.0, 1_000, 2, "")
    later = 2_000_000
    assert scale.score(scale.decayed(1.0, 0, later), scale.magnitude(scale.level(1.0, 0), later)) == 0.0


PAIRS = st.tuples(
    st.one_of(st.just(0.0), st.just(100.0), st.floats(1e-6, 1e9)), st.floats(0, 1e9), st.integers(-5_000, 5_000)
)
# Of all there may be, none, or one before or after what was computed; whole or not.
GREATEST = st.one_of(
    st.none(),
    st.builds(Maximum, st.one_of(st.none(), st.floats(-5, 30)), st.integers(-5_000, 5_000), st.booleans(), st.none()),
)


@given(st.lists(PAIRS, min_size=1, max_size=20), GREATEST, st.sampled_from([0, 2, 6]))
def test_many_are_scored_as_each_of_them(
    pairs: list[tuple[float, float, int]], maximum: Maximum | None, digits: int
) -> None:
    relative = Relative(100.0, 1_000, digits, "")
    magnitudes, greatest, computed_ms = map(np.array, zip(*pairs, strict=True))
    scores, instants = relative.all_of_greatest(magnitudes, greatest, computed_ms, int(computed_ms.max()), maximum)
    assert list(zip(scores, instants, strict=True)) == [relative.of_greatest(*pair, maximum) for pair in pairs]


def test_a_tie_of_many_is_rounded_as_one_is() -> None:
    """2.675 as a double is less than it reads; half-even on what it reads is 2.68."""
    ties = Relative(2.675, 1_000, 2, "")
    assert ties.of_greatest(5.0, 5.0, 0, None) == (2.68, 0)
    assert ties.all_of_greatest(np.full(3, 5.0), np.full(3, 5.0), np.zeros(3, np.int64), 0, None) == (
        [2.68] * 3,
        [0] * 3,
    )


def test_a_tie_beside_the_greatest_of_all_is_rounded_as_one_is() -> None:
    """1.015 * 100 as doubles is less than 101.5."""
    ties = Relative(1.015, 1_000, 2, "")
    maximum = Maximum(ties.level(4.0, 0), 0, True, None)
    assert ties.of_greatest(5.0, 5.0, 0, maximum) == (1.02, 0)
    assert ties.all_of_greatest(np.full(3, 5.0), np.full(3, 5.0), np.zeros(3, np.int64), 0, maximum) == (
        [1.02] * 3,
        [0] * 3,
    )
