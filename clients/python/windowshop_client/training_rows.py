"""Training rows as Python values and as files: NDJSON, or Parquet for whoever loads them into a data frame."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from windowshop.features.v1 import features_pb2 as f

from windowshop_client.values import Value, table_of

Row = Mapping[str, Value]
"""userId, productId, eventType, eventTime, quantity, eventNumber, device, rating, and each feature's value by its name;
None: null."""
Write = Callable[[f.ReadTrainingRowsResponse], None]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HAS_VALUE = (f.PRESENT, f.STALE, f.DEFAULT)


def rows_of(message: f.ReadTrainingRowsResponse) -> Iterator[Row]:
    """The rows of one message."""
    columns: dict[str, Sequence[Any]] = {
        "userId": message.user_ids,
        "productId": message.product_ids,
        "eventType": message.event_types,
        "eventTime": [_EPOCH + timedelta(milliseconds=time) for time in message.event_times_ms],
        "quantity": message.quantities,
        "eventNumber": message.event_numbers,
        "device": [device or None for device in message.devices] or [None] * len(message.user_ids),
        "rating": [stars or None for stars in message.ratings] or [None] * len(message.user_ids),
    } | {column.feature: _values(column) for column in message.columns}
    for row in zip(*columns.values(), strict=True):
        yield dict(zip(columns, row, strict=True))


def _values(column: f.FeatureColumn) -> list[Value]:
    raw, convert = _COLUMNS[column.type](column)
    return [
        convert(value) if status in _HAS_VALUE else None for value, status in zip(raw, column.statuses, strict=True)
    ]


# By type: where a column keeps its values, and what they are in Python.
_COLUMNS: Mapping[int, Callable[[f.FeatureColumn], tuple[Sequence[Any], Callable[[Any], Value]]]] = {
    f.INT: lambda column: (column.int_values, int),
    f.DOUBLE: lambda column: (column.double_values, float),
    f.STRING: lambda column: (column.string_values, str),
    f.BOOL: lambda column: (column.bool_values, bool),
    f.TIMESTAMP: lambda column: (column.timestamp_values, lambda value: value.ToDatetime(tzinfo=UTC)),
    f.VECTOR: lambda column: (column.vector_values, lambda value: list(value.values)),
    f.STRING_LIST: lambda column: (column.string_list_values, lambda value: list(value.values)),
    f.TABLE: lambda column: (column.table_values, table_of),
}


@contextmanager
def written(path: Path) -> Iterator[Write]:
    """A function that appends a message's rows to the file: Parquet when it is called so, else one JSON object a line.

    The file appears when all is written; what was there before stays until then.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with (_parquet if path.suffix == ".parquet" else _ndjson)(partial) as write:
            yield write
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _ndjson(path: Path) -> Iterator[Write]:
    with path.open("w", encoding="utf-8") as file:

        def write(message: f.ReadTrainingRowsResponse) -> None:
            for row in rows_of(message):
                file.write(json.dumps(row, default=_instant, ensure_ascii=False, separators=(",", ":")) + "\n")

        yield write


def _instant(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@contextmanager
def _parquet(path: Path) -> Iterator[Write]:
    # It takes a third of a second to import, which no other command should pay.
    import pyarrow as pa  # noqa: PLC0415
    from pyarrow import parquet  # noqa: PLC0415

    instant, numbers = pa.timestamp("ms", tz="UTC"), pa.map_(pa.string(), pa.float64())
    types = {
        f.INT: pa.int64(), f.DOUBLE: pa.float64(), f.STRING: pa.string(), f.BOOL: pa.bool_(), f.TIMESTAMP: instant,
        f.VECTOR: pa.list_(pa.float64()), f.STRING_LIST: pa.list_(pa.string()), f.TABLE: pa.map_(pa.string(), numbers),
    }  # fmt: skip
    fields = [
        ("userId", pa.string()), ("productId", pa.string()), ("eventType", pa.string()), ("eventTime", instant),
        ("quantity", pa.int32()), ("eventNumber", pa.int64()), ("device", pa.string()),
        ("rating", pa.float64()),
    ]  # fmt: skip
    writer: Any = None

    def append(message: f.ReadTrainingRowsResponse) -> None:
        nonlocal writer
        schema = pa.schema(fields + [(column.feature, types[column.type]) for column in message.columns])
        if writer is None:
            writer = parquet.ParquetWriter(path, schema)
        writer.write_table(pa.Table.from_pylist([_mapped(row) for row in rows_of(message)], schema))

    try:
        yield append
        if writer is None:  # no rows, but a file
            append(f.ReadTrainingRowsResponse())
    finally:
        if writer is not None:
            writer.close()


def _mapped(row: Row) -> dict[str, Any]:
    """Maps are lists of pairs there."""
    return {name: _pairs(value) if isinstance(value, dict) else value for name, value in row.items()}


def _pairs(table: Mapping[str, Mapping[str, float]]) -> list[tuple[str, list[tuple[str, float]]]]:
    return [(key, list(columns.items())) for key, columns in table.items()]
