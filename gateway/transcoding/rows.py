"""A batch's columns as the single answers that they stand for."""

from __future__ import annotations

from typing import Any

from windowshop.features.v1 import features_pb2 as pb

# Where a column of a type has its values, and where a single value is.
_PLACES = {
    pb.INT: ("int_values", "int_value"),
    pb.DOUBLE: ("double_values", "double_value"),
    pb.STRING: ("string_values", "string_value"),
    pb.BOOL: ("bool_values", "bool_value"),
    pb.TIMESTAMP: ("timestamp_values", "timestamp_value"),
    pb.VECTOR: ("vector_values", "vector_value"),
    pb.STRING_LIST: ("string_list_values", "string_list_value"),
    pb.TABLE: ("table_values", "table_value"),
}
_SERVED = frozenset({pb.PRESENT, pb.STALE, pb.DEFAULT})
# A single read is an error then, in the service's words.
_ERRORS = frozenset({pb.NOT_FOUND, pb.UNAVAILABLE})


def rows(batch: pb.BatchGetFeaturesResponse, now_ms: int) -> dict[str, pb.GetFeaturesResponse]:
    """By id, what GetFeatures says of it at ``now_ms`` (since 1970); without the ids of which it is an error."""
    wrong = {place for column in batch.columns for place, status in enumerate(column.statuses) if status in _ERRORS}
    columns = [_Column(column) for column in batch.columns]
    return {
        entity_id: pb.GetFeaturesResponse(
            entity=batch.entity,
            id=entity_id,
            features={column.name: column.value(place, now_ms) for column in columns},
        )
        for place, entity_id in enumerate(batch.ids)
        if place not in wrong
    }


class _Column:
    def __init__(self, column: pb.FeatureColumn) -> None:
        self.name = column.feature
        many, self._one = _PLACES[column.type]
        self._values: Any = getattr(column, many)
        self._statuses = list(column.statuses)
        self._computed_ms = list(column.computed_at_ms)
        self._refresh_seconds = column.refresh_seconds

    def value(self, place: int, now_ms: int) -> pb.FeatureValue:
        status, computed_ms = self._statuses[place], self._computed_ms[place]
        fields: dict[str, Any] = {self._one: self._values[place]} if status in _SERVED else {}
        made = pb.FeatureValue(status=status, refresh_seconds=self._refresh_seconds, **fields)
        if computed_ms:
            made.computed_at.FromMilliseconds(computed_ms)
            made.age_seconds = max(0, now_ms - computed_ms) / 1_000
        return made
