"""The plain case of a read: what is asked of an entity is all stored and good, until an instant known beforehand.

Then a read decides nothing: what it would find is a row of the record, the same for as long as the record is, and an
answer is the rows of its entities turned into columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np

from services.features.domain.features import KNOWN, Feature, Reading, Record, Status, Value, Worth, worth
from services.features.domain.relative import Floats, Integers, Maximum, Relative

# (until_ms, value, status, computed_ms, value, status, computed_ms, ...), three for each feature in the order asked. It
# holds before until_ms. A plain tuple, of which there are many: the garbage collector lets go of those. The value of a
# feature that is relative to the greatest of all is a pair in a row that was stored, see Relative.pair.
Row = tuple[Any, ...]

# Of a record that does not have all, or not in a state to be served as it is: it holds at no time.
UNSETTLED: Final[Row] = (0,)


class Fold(NamedTuple):
    """Writes out readings of features: of an entity to a row, and rows to a sheet; equal ones are equal bytes."""

    row: Callable[[Sequence[Feature], Sequence[Reading]], bytes]
    sheet: Callable[[Sequence[bytes]], bytes]


# From so many pairs on, arrays are worth making.
_FEW: Final = 12


class Column(NamedTuple):
    """One feature of many entities, in their order; ``computed_ms`` is 0 where nothing was computed."""

    values: Sequence[Value | None]
    statuses: Sequence[Status]
    computed_ms: Sequence[int]

    @classmethod
    def of(cls, readings: Sequence[Reading]) -> Column:
        """From the reading of each entity."""
        return cls(*zip(*readings, strict=True)) if readings else cls((), (), ())

    def readings(self) -> list[Reading]:
        """The reading of each entity."""
        return list(map(Reading, *self))


def settled(features: Sequence[Feature], record: Record, now_ms: int) -> Row:
    """What the record says of features until one of them ages, or is dirty; UNSETTLED where one is now.

    At each instant from ``now_ms`` on that it holds for, every feature is Worth.GOOD.
    """
    if KNOWN not in record.entries:
        return UNSETTLED
    until: list[int] = []
    row: list[Any] = []
    for feature in features:
        if worth(feature, record, now_ms) is not Worth.GOOD:
            return UNSETTLED
        value, at_ms, until_ms = _of(feature, record)
        until.append(until_ms)
        row += value, Status.PRESENT, at_ms
        if value is None:
            row[-3], row[-2] = feature.default, Status.NULL if feature.default is None else Status.DEFAULT
    return (min(until, default=now_ms + 1), *row)


def _of(feature: Feature, record: Record) -> tuple[Any, int, int]:
    """The value that is stored, when it was computed, and when it ages."""
    entry = record.entries[feature.number]
    until_ms = entry.computed_ms + min(feature.refresh_ms, feature.ttl_ms)
    if entry.until_ms is not None:
        until_ms = min(until_ms, entry.until_ms)
    value = entry.value
    if feature.relative is not None and isinstance(value, Sequence):
        value = tuple(map(float, value))
    return value, entry.computed_ms, until_ms


def row_of(readings: Sequence[Reading]) -> Row:
    """The row of readings that were decided upon one by one, for this moment."""
    return (0, *(part for reading in readings for part in reading))


def folded(features: Sequence[Feature], row: Row, fold: Fold) -> Row:
    """The row for who does not look at values one by one: (until_ms, bytes, statuses, value, status, computed_ms, ...).

    The bytes are of the features whose values stand still, the threes of those that are relative to the greatest of
    all, the statuses of both in the order asked.
    """
    readings = [Reading(*row[place : place + 3]) for place in range(1, len(row), 3)]
    both = list(zip(features, readings, strict=True))
    still = [(feature, one) for feature, one in both if feature.relative is None]
    moving = [part for feature, one in both if feature.relative is not None for part in one]
    statuses = tuple([one.status for one in readings])
    return (row[0], fold.row([feature for feature, _ in still], [one for _, one in still]), statuses, *moving)


# Statuses of the features asked for, in their order: of how many entities they are.
Kinds = Mapping[tuple[Status, ...], int]


class Pairs(NamedTuple):
    """A column of a relative feature, of which the values at ``places`` (None: all) are pairs.

    The arrays have a pair each; None where there are few.
    """

    column: Column
    places: Sequence[int] | None
    magnitudes: Floats | None = None
    greatest: Floats | None = None
    at: Integers | None = None
    newest_ms: int = 0

    @classmethod
    def of(cls, column: Column) -> Pairs:
        """From values and pairs."""
        values, _, computed_ms = column
        places = None
        if set(map(type, values)) != {tuple}:  # it is, as a rule
            places = [place for place, value in enumerate(values) if type(value) is tuple]
            values, computed_ms = [values[place] for place in places], [computed_ms[place] for place in places]
        count = len(values)
        if count < _FEW:
            return cls(column, places)
        flat: Any = chain.from_iterable(values)  # type: ignore[arg-type]  # all of them are pairs
        magnitudes, greatest = np.fromiter(flat, np.float64, 2 * count).reshape(count, 2).T
        return cls(column, places, magnitudes, greatest, np.fromiter(computed_ms, np.int64, count), max(computed_ms))


class Sheet(NamedTuple):
    """Folded rows side by side, one of each entity: all hold before ``until_ms``.

    ``written``: the bytes of all. ``moving``: the columns of the features that are relative, with pairs.
    """

    until_ms: int
    written: bytes
    kinds: Kinds
    moving: Sequence[Pairs]

    @classmethod
    def of(cls, rows: Sequence[Row], fold: Fold) -> Sheet:
        """From at least one."""
        untils, folded, statuses, *turned = zip(*rows, strict=True)
        moving = [Pairs.of(Column(*turned[place : place + 3])) for place in range(0, len(turned), 3)]
        first = statuses[0]
        same = statuses.count(first) == len(statuses)  # as a rule, and quicker than to count by kind
        kinds = {first: len(statuses)} if same else Counter(statuses)
        return cls(min(untils), fold.sheet(folded), kinds, moving)


class Unfolded(NamedTuple):
    """A sheet at an instant: its bytes; the columns of the features that are relative."""

    sheet: bytes
    kinds: Kinds
    columns: Mapping[str, Column]


def unfolded(features: Sequence[Feature], sheet: Sheet, maxima: Mapping[str, Maximum]) -> Unfolded:
    """Relative values by ``maxima``, as a reading's are."""
    relative = [(feature.name, feature.relative) for feature in features if feature.relative is not None]
    return Unfolded(
        sheet.written,
        sheet.kinds,
        {
            name: _related(scale, pairs, maxima.get(name))
            for (name, scale), pairs in zip(relative, sheet.moving, strict=True)
        },
    )


def columns(features: Sequence[Feature], rows: Sequence[Row], maxima: Mapping[str, Maximum]) -> list[Column]:
    """A column for each feature from a row for each entity; relative values by ``maxima``, as a reading's are."""
    _, *turned = zip(*rows, strict=True)
    result = []
    for place, feature in enumerate(features):
        column = Column(*turned[3 * place : 3 * place + 3])
        if feature.relative is not None:
            column = _related(feature.relative, Pairs.of(column), maxima.get(feature.name))
        result.append(column)
    return result


def _related(relative: Relative, pairs: Pairs, maximum: Maximum | None) -> Column:
    """The scores of the pairs, each as of the maximum's instant or its own, as ``reading`` has it."""
    column, places, magnitudes, greatest, at, newest_ms = pairs
    scores: Sequence[float]
    instants: Sequence[int]
    if magnitudes is None or greatest is None or at is None:
        places = range(len(column.values)) if places is None else places
        some: list[Any] = [(column.values[place], column.computed_ms[place]) for place in places]
        scored = [relative.of_greatest(x, y, at_ms, maximum) for (x, y), at_ms in some]
        scores, instants = [score for score, _ in scored], [at_ms for _, at_ms in scored]
    else:
        scores, instants = relative.all_of_greatest(magnitudes, greatest, at, newest_ms, maximum)
    if places is None:
        return Column(scores, column.statuses, instants)
    all_values, computed = list(column.values), list(column.computed_ms)
    for place, score, at_ms in zip(places, scores, instants, strict=True):
        all_values[place], computed[place] = score, at_ms
    return Column(all_values, column.statuses, computed)
