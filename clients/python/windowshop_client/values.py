"""Feature values as Python values."""

from datetime import UTC, datetime

from windowshop.features.v1 import features_pb2 as f

Value = int | float | str | bool | datetime | list[float] | list[str] | None


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
        case _:
            plain: int | float | str | bool = getattr(value, kind)
            return plain
