"""Training rows without a database: what is asked of the log, how much at once, and when."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import pytest

from services.features import definitions
from services.features.domain.features import Reading, Status, Table, Value
from services.features.domain.training import FIRST_STEP, Moment, TrainingRows, next_step, past_reading
from services.features.training import PAGE, TrainingReader
from services.features.training_ports import Question

FEATURES = {feature.name: feature for feature in definitions.load().features}
COUNT, SPENT, TREND = (
    FEATURES[name] for name in ("user_purchase_count_30d", "user_avg_order_value", "product_trend_score")
)


def rows(number: int) -> TrainingRows:
    """Orders of two products each; two orders at each instant, by the same two users."""
    places = range(number)
    return TrainingRows(
        user_ids=[f"u{n // 2 % 2}" for n in places],
        product_ids=[f"p{n % 2}" for n in places],
        event_types=["purchase-complete"] * number,
        event_times_ms=[n // 4 for n in places],
        quantities=[1] * number,
        event_numbers=[n // 2 for n in places],
        ratings=[0.0] * number,
        devices=[""] * number,
        event_times_us=[n // 4 * 1_000 for n in places],
    )


class Log:
    """Answers with the instant that it was asked for, even ones only."""

    def __init__(self, *pages: TrainingRows) -> None:
        self.pages = pages
        self.asked: list[list[Question]] = []
        self.closed = False

    async def rows(
        self, start_us: int, end_us: int, event_types: Sequence[str], page: int
    ) -> AsyncGenerator[TrainingRows, None]:
        assert (start_us, end_us, event_types, page) == (1, 2, ["rate"], PAGE)
        try:
            for rows in self.pages:
                yield rows
        finally:
            self.closed = True

    async def values(self, questions: Sequence[Question]) -> list[list[Value | None]]:
        self.asked.append(list(questions))
        return [[at_us if at_us % 2 else None for _, at_us in moments] for _, moments in questions]


async def test_what_rows_share_is_asked_once() -> None:
    log = Log(rows(8))
    (chunk,) = [chunk async for chunk in TrainingReader(log).read(1, 2, ["rate"], [COUNT, TREND])]
    (questions,) = log.asked
    assert [question.feature.name for question in questions] == [COUNT.name, TREND.name]
    before, later = -1, 999  # a microsecond before the events
    users = [Moment("u0", before), Moment("u1", before), Moment("u0", later), Moment("u1", later)]
    assert questions[0].moments == users
    assert questions[1].moments == [moment._replace(id="p" + moment.id[1:]) for moment in users]
    assert chunk.rows == rows(8)
    assert [reading.value for reading in chunk.readings[0]] == [before] * 4 + [later] * 4
    assert [reading.computed_ms for reading in chunk.readings[1]] == [0] * 4 + [1] * 4


async def test_nothing_is_computed_before_it_is_taken() -> None:
    log = Log(rows(FIRST_STEP + 1), rows(1))
    reading = TrainingReader(log).read(1, 2, ["rate"], [COUNT])
    assert len((await anext(reading)).rows.user_ids) == FIRST_STEP
    assert len(log.asked) == 1
    assert [len((await anext(reading)).rows.user_ids) for _ in range(2)] == [1, 1]
    await reading.aclose()
    assert log.closed


async def test_without_features_pages_pass_as_they_are() -> None:
    log = Log(rows(PAGE), rows(3))
    chunks = [chunk async for chunk in TrainingReader(log).read(1, 2, ["rate"], [])]
    assert [len(chunk.rows.user_ids) for chunk in chunks] == [PAGE, 3]
    assert [chunk.readings for chunk in chunks] == [(), ()]
    assert log.asked == []


@pytest.mark.parametrize(
    ("value", "step", "expected"),
    [
        (1.0, 200, 400),
        ("a text of any length", 200, 400),
        (None, 1_500, 2_000),
        (["x"] * 1_000, 200, 100),
        (Table(("a",) * 2_000, ("n", "m", "o", "p"), (0.0,) * 8_000), 200, 20),
    ],
)
def test_long_values_come_in_short_steps(value: Value | None, step: int, expected: int) -> None:
    column = [Reading(value, Status.PRESENT, 1)] * step
    assert next_step(step, [column]) == expected


def test_without_evidence_there_is_the_default_or_null() -> None:
    assert past_reading(COUNT, 3, 7) == Reading(3, Status.PRESENT, 7)
    assert past_reading(COUNT, None, 7) == Reading(0, Status.DEFAULT, 7)
    assert past_reading(SPENT, None, 7) == Reading(None, Status.NULL, 7)
