"""Rows of readings that a test can read back, whatever the service would write."""

from __future__ import annotations

import ast
import pickle
from collections import Counter
from collections.abc import Sequence

from services.features.domain.features import Feature, Reading
from services.features.domain.settled import Column, Fold, Unfolded


def _row(features: Sequence[Feature], readings: Sequence[Reading]) -> bytes:
    return pickle.dumps([(feature.name, tuple(one)) for feature, one in zip(features, readings, strict=True)])


fold = Fold(_row, lambda rows: repr(list(rows)).encode())
"""See settled.Fold."""


def columns_of(features: Sequence[Feature], found: Unfolded) -> dict[str, Column]:
    """Of all features, in their order, from rows that :func:`fold` wrote."""
    rows = [dict(pickle.loads(row)) for row in ast.literal_eval(found.sheet.decode())]
    columns = {
        feature.name: found.columns.get(feature.name) or Column.of([Reading(*row[feature.name]) for row in rows])
        for feature in features
    }
    said = [tuple(column.statuses[place] for column in columns.values()) for place in range(len(rows))]
    assert Counter(said) == found.kinds, "what is counted is what is answered"
    return columns
