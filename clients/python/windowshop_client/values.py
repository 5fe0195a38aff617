"""Feature values as Python values."""

from datetime import UTC, datetime

from windowshop.features.v1 import features_pb2 as f

Table = dict[str, dict[str, float]]
"""Rows by key, in the order that the feature's description says, each with its numbers by column."""
Value = int | float | str | bool | datetime | list[float] | list[str] | Table | None


def value_of(value: f.FeatureValue) -> Value:
    """The value in the oneof; None for null. Timestamps are aware, in UTC."""
    kind = value.WhichOneof("kind")
    match kind:
        case None:
            return None
        case "timestamp_value":
            return value.timestamp_value.ToDatetime(tzinfo=UTC)
        case "vector_value":
            return list(value.vector_value.values)
        case "string_list_value":
            return list(value.string_list_value.values)
        case "table_value":
            return table_of(value.table_value)
        case _:
            plain: int | float | str | bool = getattr(value, kind)
            return plain


def table_of(table: f.Table) -> Table:
    """The rows of a table."""
    columns, values, width = list(table.columns), list(table.values), len(table.columns)
    return {
        key: dict(zip(columns, values[place * width : (place + 1) * width], strict=True))
        for place, key in enumerate(table.keys)
    }
