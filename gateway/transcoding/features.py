"""The answers about features in the documented shape: plain values beside their metadata, columns for batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from windowshop.features.v1 import features_pb2 as pb

from gateway.transcoding.instants import format_instant, format_millis

_STATUSES = {value.number: value.name for value in pb.FeatureStatus.DESCRIPTOR.values}
TYPES = {value.number: value.name for value in pb.FeatureType.DESCRIPTOR.values}
# The statuses under which a value is served; under any other one the value is null.
SERVED = frozenset({pb.PRESENT, pb.STALE, pb.DEFAULT})
COLUMNS = {
    pb.INT: "int_values",
    pb.DOUBLE: "double_values",
    pb.STRING: "string_values",
    pb.BOOL: "bool_values",
    pb.TIMESTAMP: "timestamp_values",
    pb.VECTOR: "vector_values",
    pb.STRING_LIST: "string_list_values",
    pb.TABLE: "table_values",
}
PLAIN = frozenset({pb.INT, pb.DOUBLE, pb.STRING, pb.BOOL})


def feature_values(
    response: pb.GetFeaturesResponse | pb.RefreshFeaturesResponse,
    request: pb.GetFeaturesRequest | pb.RefreshFeaturesRequest,
) -> dict[str, Any]:
    """`{entity, id, features, metadata}`; features in the order asked for, or by name when all were.

    Numbers stay numbers, an int64 too: a count is read by people and by JavaScript alike.
    """
    values = response.features
    asked: Iterable[str] = dict.fromkeys(request.features) if request.features else sorted(values)
    features: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    for name in asked:
        if name not in values:  # looking it up would add it
            continue
        value = values[name]
        computed = value.HasField("computed_at")
        features[name] = _value(value)
        metadata[name] = {
            "status": status_name(value.status),
            "computedAt": format_instant(value.computed_at.seconds, value.computed_at.nanos) if computed else None,
            # What was never computed has no age.
            "ageSeconds": value.age_seconds if computed else None,
            "refreshSeconds": value.refresh_seconds,
        }
    return _with_degraded(
        {"entity": response.entity, "id": response.id, "features": features, "metadata": metadata},
        response.degraded,
    )


def feature_columns(response: pb.BatchGetFeaturesResponse, _: pb.BatchGetFeaturesRequest) -> dict[str, Any]:
    """`{entity, ids, columns}`; every list of a column has one element per id, null where there is no value."""
    columns = {column.feature: _column(column) for column in response.columns}
    return _with_degraded({"entity": response.entity, "ids": list(response.ids), "columns": columns}, response.degraded)


def _column(column: pb.FeatureColumn) -> dict[str, Any]:
    statuses = list(column.statuses)
    kinds = set(statuses)
    # Mostly they are all the same.
    names = (
        [status_name(status) for status in statuses]
        if len(kinds) > 1
        else [status_name(*kinds)] * len(statuses)
        if kinds
        else []
    )
    return {
        "type": TYPES[column.type],
        "values": column_values(column, statuses),
        "statuses": names,
        "computedAt": [format_millis(millis) if millis else None for millis in column.computed_at_ms],
        "refreshSeconds": column.refresh_seconds,
    }


def status_name(status: int) -> str | int:
    """One that this gateway does not know yet goes out as its number."""
    return _STATUSES.get(status, status)


@lru_cache(64)
def status_text(status: int) -> bytes:
    """:func:`status_name` as JSON."""
    return msgspec.json.encode(status_name(status))


def column_values(column: pb.FeatureColumn, statuses: Sequence[Any]) -> list[Any]:
    """What JSON shows of a column; None where there is no value."""
    values: Sequence[Any] = getattr(column, COLUMNS[column.type])
    if column.type not in PLAIN:
        values = [_structured(value) for value in values]
    if SERVED.issuperset(statuses) and len(values) == len(statuses):
        return list(values)
    return [value if status in SERVED else None for value, status in zip(values, statuses, strict=True)]


def _value(value: pb.FeatureValue) -> Any:
    kind = value.WhichOneof("kind")
    if kind is None:
        return None
    held = getattr(value, kind)
    return held if isinstance(held, int | float | str) else _structured(held)


def shown(of_type: int, held: Any) -> Any:
    """What JSON shows of an element of a column, or a row, of this type."""
    return held if of_type in PLAIN else _structured(held)


def _structured(held: pb.Vector | pb.StringList | pb.Table | Any) -> Any:
    if isinstance(held, pb.Vector | pb.StringList):
        return list(held.values)
    if isinstance(held, pb.Table):
        columns, values, width = list(held.columns), list(held.values), len(held.columns)
        rows = (values[start : start + width] for start in range(0, len(values), width or 1))
        return {key: dict(zip(columns, row, strict=True)) for key, row in zip(held.keys, rows, strict=True)}
    return format_instant(held.seconds, held.nanos)


def _with_degraded(answer: dict[str, Any], degraded: Iterable[str]) -> dict[str, Any]:
    missing = list(degraded)
    if missing:
        answer["degraded"] = missing
    return answer
