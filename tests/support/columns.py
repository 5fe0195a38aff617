"""Answers about features in other forms: single ones as the batch that says the same, columns as rows and back."""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from windowshop.features.v1 import features_pb2 as pb

_KINDS = {
    "int_value": (pb.INT, "int_values", 0),
    "double_value": (pb.DOUBLE, "double_values", 0.0),
    "string_value": (pb.STRING, "string_values", ""),
    "bool_value": (pb.BOOL, "bool_values", False),
    "timestamp_value": (pb.TIMESTAMP, "timestamp_values", Timestamp()),
    "vector_value": (pb.VECTOR, "vector_values", pb.Vector()),
    "string_list_value": (pb.STRING_LIST, "string_list_values", pb.StringList()),
    "table_value": (pb.TABLE, "table_values", pb.Table()),
}

_NAMES = {of_type: name for of_type, name, _ in _KINDS.values()}
_LISTS = ("statuses", "computed_at_ms", *_NAMES.values())


def batch_of(
    request: pb.BatchGetFeaturesRequest, singles: Sequence[pb.GetFeaturesResponse | None]
) -> pb.BatchGetFeaturesResponse:
    """``singles``: by the request's ids; None: nobody knows it."""
    known = [single for single in singles if single is not None]
    names = list(dict.fromkeys(request.features)) or sorted({name for single in known for name in single.features})
    return pb.BatchGetFeaturesResponse(
        entity=request.entity,
        ids=request.ids,
        columns=[_column(name, singles) for name in names],
        degraded=sorted({store for single in known for store in single.degraded}),
    )


def _column(name: str, singles: Sequence[pb.GetFeaturesResponse | None]) -> pb.FeatureColumn:
    values = [None if single is None else single.features[name] for single in singles]
    kinds = [value.WhichOneof("kind") for value in values if value is not None]
    kind = next(filter(None, kinds), "string_value")
    of_type, field, null = _KINDS[kind]
    column: Any = pb.FeatureColumn(feature=name, type=of_type)
    for value in values:
        column.statuses.append(pb.NOT_FOUND if value is None else value.status)
        column.computed_at_ms.append(0 if value is None else value.computed_at.ToMilliseconds())
        column.refresh_seconds = column.refresh_seconds if value is None else value.refresh_seconds
        held = value is not None and value.WhichOneof("kind") is not None
        getattr(column, field).append(getattr(value, kind) if held else null)
    return column  # type: ignore[no-any-return]


def in_rows(batch: pb.BatchGetFeaturesResponse, moving: Collection[str] = ()) -> pb.BatchGetFeaturesResponse:
    """An answer in columns as one with a sheet, but for the features that are ``moving``."""
    answer = pb.BatchGetFeaturesResponse(degraded=batch.degraded)
    rows: list[Any] = [pb.FeatureRow() for _ in batch.ids]
    for column in batch.columns:
        if column.feature in moving:
            answer.columns.append(column)
            if column.type == pb.DOUBLE:
                answer.columns[-1].ClearField("double_values")
                answer.doubles.append(struct.pack(f"<{len(batch.ids)}d", *column.double_values))
            continue
        answer.columns.add(feature=column.feature, type=column.type, refresh_seconds=column.refresh_seconds)
        for name in _LISTS:
            for row, value in zip(rows, getattr(column, name), strict=False):
                getattr(row, name).append(value)
    answer.sheet = pb.FeatureSheet(rows=[row.SerializeToString(deterministic=True) for row in rows]).SerializeToString()
    return answer


def in_columns(answer: pb.BatchGetFeaturesResponse, asked: pb.BatchGetFeaturesRequest) -> pb.BatchGetFeaturesResponse:
    """The other way round."""
    batch = pb.BatchGetFeaturesResponse(
        entity=asked.entity, ids=asked.ids, columns=answer.columns, degraded=answer.degraded
    )
    columns: list[Any] = [column for column in batch.columns if not column.statuses]
    moving = [column for column in batch.columns if column.statuses and column.type == pb.DOUBLE]
    for column, packed in zip(moving, answer.doubles, strict=True):
        column.double_values.extend(struct.unpack(f"<{len(asked.ids)}d", packed))
    for raw in pb.FeatureSheet.FromString(answer.sheet).rows:
        row = pb.FeatureRow.FromString(raw)
        values = {name: iter(getattr(row, name)) for name in _LISTS}
        for column in columns:
            for name in ("statuses", "computed_at_ms", _NAMES[column.type]):
                getattr(column, name).append(next(values[name]))
        assert not any(list(rest) for rest in values.values()), "a row has nothing else"
    return batch
