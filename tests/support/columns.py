"""Single answers about features as the batch that says the same."""

from __future__ import annotations

from collections.abc import Sequence
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
