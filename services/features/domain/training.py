"""Rows to learn from: what happened, and what a feature was at that instant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from services.features.domain.features import Feature, Reading, Status, Table, Value


class Moment(NamedTuple):
    """An entity at an instant: what events up to ``at_us`` (microseconds since 1970 UTC), it too, say of it."""

    id: str
    at_us: int


class TrainingRows(NamedTuple):
    """Lines of events in columns, all of one length."""

    user_ids: Sequence[str]
    product_ids: Sequence[str]
    event_types: Sequence[str]
    event_times_ms: Sequence[int]
    quantities: Sequence[int]
    # Lines of one event have one number.
    event_numbers: Sequence[int]
    # Stars of a rate event, 0 for others.
    ratings: Sequence[float]
    # What the event came from; empty: it does not say.
    devices: Sequence[str]
    # As the log has it: the instant itself, of which milliseconds are a rounding.
    event_times_us: Sequence[int]

    def part(self, start: int, end: int) -> TrainingRows:
        """The rows from ``start`` on and before ``end``."""
        return TrainingRows._make(column[start:end] for column in self)

    def moments(self, entity: str) -> list[Moment]:
        """For each row the entity that a feature of ``entity`` is about, just before the row's event.

        The log's clock ticks in microseconds: one tick earlier is everything that came before the event, and nothing
        of what happened at its instant, its own lines least of all.
        """
        ids = self.user_ids if entity == "User" else self.product_ids
        return [Moment(id_, time_us - 1) for id_, time_us in zip(ids, self.event_times_us, strict=True)]


class TrainingChunk(NamedTuple):
    """Rows, and for each feature asked for, in that order, the reading of each row."""

    rows: TrainingRows
    readings: Sequence[Sequence[Reading]]

    def part(self, start: int, end: int) -> TrainingChunk:
        """The rows from ``start`` on and before ``end``."""
        return TrainingChunk(self.rows.part(start, end), [column[start:end] for column in self.readings])


def past_reading(feature: Feature, value: Value | None, at_ms: int) -> Reading:
    """What a read would have said that computes at the row's instant: PRESENT, or DEFAULT or NULL without evidence.

    Never NOT_FOUND: who makes an event exists, from this one on at the latest.
    """
    if value is not None:
        return Reading(value, Status.PRESENT, at_ms)
    if feature.default is not None:
        return Reading(feature.default, Status.DEFAULT, at_ms)
    return Reading(None, Status.NULL, at_ms)


# Rows whose values are computed at once: the first time, at least and at most. Fewer cost a plan for a few rows, more
# keep a connection for seconds.
FIRST_STEP: Final = 200
_LEAST, _MOST = 20, 2_000
# Single numbers and texts that the values of one step hold together; some 10 MB here, and 1 MB or two on the wire.
_WEIGHT: Final = 100_000


def next_step(step: int, readings: Sequence[Sequence[Reading]]) -> int:
    """How many rows to compute next, so that their values fit into memory however long the lists among them are."""
    weight = sum(_weight(answer.value) for column in readings for answer in column)
    return max(_LEAST, min(_MOST, 2 * step, step * _WEIGHT // max(1, weight)))


def _weight(value: Value | None) -> int:
    if isinstance(value, Table):
        return len(value.keys) + len(value.values)
    return len(value) if isinstance(value, Sequence) and not isinstance(value, str) else 1
