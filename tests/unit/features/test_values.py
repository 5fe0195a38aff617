"""What a stored value is worth, what is due, and what an answer says."""

from __future__ import annotations

from typing import Any

import pytest

from services.features.domain.features import (
    Entry,
    Feature,
    FeatureType,
    OnEvent,
    Reading,
    Record,
    Status,
    Value,
    Worth,
    due_features,
    merged,
    next_due_ms,
    reading,
    worth,
)

OLD, NEW = b"old-----", b"new-----"


def feature(number: int = 1, **changes: Any) -> Feature:
    values: dict[str, Any] = {
        "name": f"f{number}", "entity": "User", "type": FeatureType.INT, "description": "", "refresh_ms": 1_000,
        "ttl_ms": 5_000, "default": None, "materialize": True, "on_event": OnEvent.READ_THROUGH, "on_request": False,
        "events": frozenset(), "sql": "", "number": number,
    }  # fmt: skip
    return Feature(**(values | changes))


@pytest.mark.parametrize(
    ("age", "token", "on_event", "expected"),
    [
        (0, NEW, OnEvent.READ_THROUGH, Worth.GOOD),
        (-5, NEW, OnEvent.READ_THROUGH, Worth.GOOD),
        (999, NEW, OnEvent.READ_THROUGH, Worth.GOOD),
        (1_000, NEW, OnEvent.READ_THROUGH, Worth.AGED),
        (0, OLD, OnEvent.READ_THROUGH, Worth.DIRTY),
        (0, OLD, OnEvent.QUEUE, Worth.GOOD),
        (1_000, OLD, OnEvent.NONE, Worth.AGED),
        (0, NEW, OnEvent.ALWAYS, Worth.DIRTY),
        (5_000, NEW, OnEvent.ALWAYS, Worth.MISSING),
        (5_000, NEW, OnEvent.READ_THROUGH, Worth.MISSING),
        (5_000, OLD, OnEvent.READ_THROUGH, Worth.MISSING),
    ],
)
def test_worth(age: int, token: bytes, on_event: OnEvent, expected: Worth) -> None:
    record = Record(NEW, {1: Entry(10_000 - age, token, 7)})
    assert worth(feature(on_event=on_event), record, 10_000) is expected


@pytest.mark.parametrize(
    ("until", "age", "token", "on_event", "expected"),
    [
        (10_001, 0, NEW, OnEvent.READ_THROUGH, Worth.GOOD),
        (10_000, 0, NEW, OnEvent.READ_THROUGH, Worth.DIRTY),
        (10_000, 1_000, NEW, OnEvent.READ_THROUGH, Worth.DIRTY),
        (10_001, 1_000, NEW, OnEvent.READ_THROUGH, Worth.AGED),
        (9_000, 5_000, NEW, OnEvent.READ_THROUGH, Worth.MISSING),
        (10_001, 0, OLD, OnEvent.QUEUE, Worth.GOOD),
        (10_000, 0, NEW, OnEvent.QUEUE, Worth.AGED),
        (10_000, 0, NEW, OnEvent.NONE, Worth.AGED),
    ],
)
def test_worth_of_a_value_whose_window_slides(
    until: int, age: int, token: bytes, on_event: OnEvent, expected: Worth
) -> None:
    record = Record(NEW, {1: Entry(10_000 - age, token, 7, until)})
    assert worth(feature(on_event=on_event), record, 10_000) is expected


def test_what_was_never_computed_is_missing() -> None:
    assert worth(feature(2), Record(NEW, {1: Entry(0, NEW, 7)}), 0) is Worth.MISSING


@pytest.mark.parametrize(
    ("value", "default", "age", "outdated", "expected", "status"),
    [
        (7, None, 999, False, 7, Status.PRESENT),
        (0, 5, 0, False, 0, Status.PRESENT),  # nought is a value
        (7, None, 1_000, False, 7, Status.STALE),
        (7, None, 0, True, 7, Status.STALE),
        (None, None, 0, False, None, Status.NULL),
        (None, 5, 0, False, 5, Status.DEFAULT),
        (None, 5, 2_000, False, 5, Status.DEFAULT),
    ],
)
def test_readings(
    value: Value | None, default: Value | None, age: int, outdated: bool, expected: Value | None, status: Status
) -> None:
    answer = reading(feature(default=default), Entry(10_000 - age, NEW, value), 10_000, outdated)
    assert answer == Reading(expected, status, 10_000 - age)


def test_the_later_computation_wins() -> None:
    old = {1: Entry(10, OLD, "a"), 2: Entry(30, OLD, "b")}
    new = {1: Entry(20, NEW, "c"), 2: Entry(20, NEW, "d"), 3: Entry(20, NEW, "e")}
    assert merged(old, new) == {1: Entry(20, NEW, "c"), 2: Entry(30, OLD, "b"), 3: Entry(20, NEW, "e")}


def test_due_are_the_missing_the_dirty_the_ageing_and_the_queued() -> None:
    features = [
        feature(1), feature(2), feature(3), feature(4, on_event=OnEvent.QUEUE), feature(5),
        feature(6, refresh_ms=9_000),
    ]  # fmt: skip
    record = Record(
        NEW,
        {
            2: Entry(10_000, OLD, 1),
            3: Entry(10_000 - 800, NEW, 1),
            4: Entry(10_000, NEW, 1),
            5: Entry(10_000 - 799, NEW, 1),
            6: Entry(10_000 - 800, NEW, None),
        },
    )
    assert [f.number for f in due_features(features, record, 10_000)] == [1, 2, 3, 4]


@pytest.mark.parametrize(("jitter", "expected"), [(0.0, 1_900), (1.0, 1_800)])
def test_next_due_is_before_the_first_value_ages(jitter: float, expected: int) -> None:
    features = [feature(1), feature(2, refresh_ms=9_000), feature(3, refresh_ms=10)]
    entries = {1: Entry(1_000, NEW, 1), 2: Entry(1_000, NEW, 1), 3: Entry(1_000, NEW, None)}
    assert next_due_ms(features, entries, jitter) == expected
    # It is due again by then: the worker would not find nothing to do.
    assert features[0] in due_features(features, Record(NEW, entries), expected)


@pytest.mark.parametrize(
    ("refresh_ms", "expected"),
    [(300_000, [1_270_500, 1_270_500, 1_271_000]), (1_000, [1_000_910, 1_001_310, 1_001_410]), (50, None)],
)
def test_what_ages_at_about_the_same_time_is_due_together(refresh_ms: int, expected: list[int] | None) -> None:
    aged = feature(1, refresh_ms=refresh_ms)
    exact = [at + refresh_ms * 9 // 10 for at in (1_000_001, 1_000_410, 1_000_501)]
    due = [next_due_ms([aged], {1: Entry(at, NEW, 1)}, 0.0) for at in (1_000_001, 1_000_410, 1_000_501)]
    assert due == (expected or exact)


@pytest.mark.parametrize("on_event", list(OnEvent))
def test_due_at_the_instant_at_which_a_window_slides(on_event: OnEvent) -> None:
    features = [feature(1, on_event=on_event), feature(2, refresh_ms=9_000)]
    entries = {1: Entry(1_000, NEW, 1, 1_500), 2: Entry(1_000, NEW, 1, 20_000)}
    assert next_due_ms(features, entries, 0.5) == 1_500
    assert features[0] in due_features(features, Record(NEW, entries), 1_500)
    if on_event is not OnEvent.QUEUE:
        assert due_features(features, Record(NEW, entries), 1_499) == []
    assert next_due_ms(features, entries, 0.0, 1_499) == 1_500


@pytest.mark.parametrize(
    ("entry", "after", "expected"),
    [
        (Entry(1_000, NEW, 1, 1_500), 1_500, 1_900),
        (Entry(1_000, NEW, None, 1_500), 1_500, 31_500),
        (Entry(1_000, NEW, 1), 1_899, 1_900),
        (Entry(1_000, NEW, 1), 1_900, 31_900),
    ],
)
def test_what_failed_is_not_tried_again_without_a_pause(entry: Entry, after: int, expected: int) -> None:
    assert next_due_ms([feature(1)], {1: entry}, 0.0, after) == expected


def test_a_value_may_come_about_as_time_passes() -> None:
    assert next_due_ms([feature(1)], {1: Entry(1_000, NEW, None, 9_500)}, 0.5) == 9_500


def test_without_evidence_nothing_is_due() -> None:
    assert next_due_ms([feature(1)], {1: Entry(1_000, NEW, None)}, 0.5) is None
