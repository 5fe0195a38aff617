"""Between protobuf and the domain's plain values; no decision is made here."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from windowshop.features.v1 import features_pb2 as pb

from services.features.domain.events import Event, Line, Rejection
from services.features.domain.features import Feature, FeatureType, Reading, Status, Table, Value
from services.features.domain.settled import Column, Fold, Unfolded
from services.features.domain.training import TrainingChunk

_STATUSES = {status: pb.FeatureStatus.Value(status.name) for status in Status}
_TYPES = {kind: pb.FeatureType.Value(kind.name) for kind in FeatureType}


def event(message: pb.Event) -> Event:
    """An event as it was sent, unchecked."""
    has = message.HasField
    return Event(
        message.event_id,
        message.event_type,
        message.user_id,
        message.visitor_id,
        message.session_id,
        microseconds(message.event_time) if has("event_time") else None,
        tuple(
            [
                Line(
                    detail.product_id,
                    detail.quantity if detail.HasField("quantity") else 1,
                    detail.price if detail.HasField("price") else None,
                )
                for detail in message.product_details
            ]
        ),
        message.revenue if has("revenue") else None,
        message.rating if has("rating") else None,
        message.position if has("position") else None,
        message.attribution_token,
        message.device,
        dict(message.attributes) if message.attributes else {},
    )


def microseconds(time: Timestamp) -> int:
    """Since 1970 UTC; nanoseconds below are cut off."""
    return time.seconds * 1_000_000 + time.nanos // 1_000


def timestamp(ms: int) -> Timestamp:
    """From milliseconds since 1970 UTC."""
    message = Timestamp()
    _set_timestamp(message, ms)
    return message


def _set_timestamp(message: Timestamp, ms: int) -> None:
    message.SetInParent()  # 1970 is a time too
    message.seconds, rest = divmod(ms, 1_000)
    message.nanos = rest * 1_000_000


def rejected(rejections: Iterable[tuple[int, Rejection]], offset: int = 0) -> list[pb.RejectedEvent]:
    """Rejections by position in the request, or in the stream that the request is a part of."""
    return [
        pb.RejectedEvent(index=offset + place, reason=why.reason, field=why.field, message=why.message)
        for place, why in rejections
    ]


def feature_value(feature: Feature, answer: Reading, now_ms: int) -> pb.FeatureValue:
    """One reading; a value that is null leaves the oneof unset."""
    message = pb.FeatureValue()
    fill_value(message, feature, answer, now_ms)
    return message


def fill_value(message: pb.FeatureValue, feature: Feature, answer: Reading, now_ms: int) -> None:
    """`feature_value` where it belongs: to copy a message is to write it out and read it again."""
    message.status = _STATUSES[answer.status]
    message.refresh_seconds = feature.refresh_ms // 1_000
    if answer.computed_ms:
        _set_timestamp(message.computed_at, answer.computed_ms)
        message.age_seconds = max(0, now_ms - answer.computed_ms) / 1_000
    if answer.value is not None:
        set_value(message, feature.type, answer.value)


def set_value(message: pb.FeatureValue, kind: FeatureType, value: Any) -> None:
    """Fills the oneof."""
    if kind is FeatureType.TIMESTAMP:
        _set_timestamp(message.timestamp_value, value)
    elif kind is FeatureType.VECTOR:
        message.vector_value.values.extend(value)
    elif kind is FeatureType.STRING_LIST:
        message.string_list_value.SetInParent()  # a list that is empty is not null
        message.string_list_value.values.extend(value)
    elif kind is FeatureType.TABLE:
        target: pb.Table = message.table_value
        target.SetInParent()  # as a list
        target.keys.extend(value.keys)
        target.columns.extend(value.columns)
        target.values.extend(value.values)
    else:
        setattr(message, f"{kind}_value", value)


def table(value: Table) -> pb.Table:
    """A table; one without keys is not null."""
    return pb.Table(keys=value.keys, columns=value.columns, values=value.values)


# Where a column keeps the values of a type, and what stands there for null.
_COLUMNS: Mapping[FeatureType, tuple[str, Callable[[Any], Any], Any]] = {
    FeatureType.INT: ("int_values", int, 0),
    FeatureType.DOUBLE: ("double_values", float, 0.0),
    FeatureType.STRING: ("string_values", str, ""),
    FeatureType.BOOL: ("bool_values", bool, False),
    FeatureType.TIMESTAMP: ("timestamp_values", timestamp, Timestamp()),
    FeatureType.VECTOR: ("vector_values", lambda value: pb.Vector(values=value), pb.Vector()),
    FeatureType.STRING_LIST: ("string_list_values", lambda value: pb.StringList(values=value), pb.StringList()),
    FeatureType.TABLE: ("table_values", table, pb.Table()),
}


def feature_column(feature: Feature, answers: Column) -> pb.FeatureColumn:
    """One feature of many entities."""
    column = pb.FeatureColumn()
    _fill_head(column, feature)
    _fill_instants(column, answers)
    _fill_values(column, feature.type, answers.values)
    return column


def fill_sheet(answer: pb.BatchGetFeaturesResponse, features: Sequence[Feature], found: Unfolded) -> None:
    """An answer in rows where it belongs: to copy a message is to write it out and read it again."""
    answer.sheet = found.sheet
    for feature in features:
        column, answers = answer.columns.add(), found.columns.get(feature.name)
        _fill_head(column, feature)
        if answers is None:
            continue
        _fill_instants(column, answers)
        answer.doubles.append(_packed(answers.values))  # relative, so of type DOUBLE: see definitions


def _fill_head(column: pb.FeatureColumn, feature: Feature) -> None:
    column.feature = feature.name
    column.type = _TYPES[feature.type]
    column.refresh_seconds = feature.refresh_ms // 1_000


def _fill_instants(column: pb.FeatureColumn, answers: Column) -> None:
    _, statuses, computed_ms = answers
    count = len(statuses)
    if count and statuses.count(statuses[0]) == count and computed_ms.count(computed_ms[0]) == count:
        column.MergeFromString(_alike(statuses[0], computed_ms[0], count))
    else:
        column.statuses.extend([_STATUSES[status] for status in statuses])
        column.computed_at_ms.extend(computed_ms)


def _packed(values: Sequence[Any]) -> bytes:
    try:
        return struct.pack(f"<{len(values)}d", *values)
    except struct.error:  # null is among them
        return struct.pack(f"<{len(values)}d", *[0.0 if value is None else value for value in values])


def _fill_values(column: pb.FeatureColumn, kind: FeatureType, values: Sequence[Any]) -> None:
    name, convert, null = _COLUMNS[kind]
    if set(map(type, values)) != {convert}:  # else they are what they are to be
        values = [null if value is None else convert(value) for value in values]
    getattr(column, name).extend(values)


# Relative values of one look at the greatest have one instant, in all the answers until the next look.
@functools.lru_cache(128)
def _alike(status: Status, computed_ms: int, count: int) -> bytes:
    """The statuses and instants of so many entities, packed."""
    column = pb.FeatureColumn(statuses=[_STATUSES[status]] * count, computed_at_ms=[computed_ms] * count)
    return column.SerializeToString()


def feature_row(features: Sequence[Feature], answers: Sequence[Reading]) -> bytes:
    """What an answer in rows says of one entity."""
    values: dict[str, list[Any]] = {}
    for feature, answer in zip(features, answers, strict=True):
        name, convert, null = _COLUMNS[feature.type]
        values.setdefault(name, []).append(null if answer.value is None else convert(answer.value))
    row = pb.FeatureRow(
        statuses=[_STATUSES[answer.status] for answer in answers],
        computed_at_ms=[answer.computed_ms for answer in answers],
        **values,
    )
    return row.SerializeToString(deterministic=True)


def feature_sheet(rows: Sequence[bytes]) -> bytes:
    """What an answer in rows says of all."""
    return pb.FeatureSheet(rows=rows).SerializeToString()


FOLD = Fold(feature_row, feature_sheet)


def feature_definition(feature: Feature) -> pb.FeatureDefinition:
    """A declaration."""
    default: Value | None = feature.default
    message = pb.FeatureDefinition(
        name=feature.name,
        entity=feature.entity,
        type=_TYPES[feature.type],
        description=feature.description,
        refresh_seconds=feature.refresh_ms // 1_000,
        ttl_seconds=feature.ttl_ms // 1_000,
        materialize=feature.materialize,
        on_request=feature.on_request,
    )
    if default is not None:
        set_value(message.default_value, feature.type, default)
    return message


# Bytes. gRPC takes 4 MB unless it is told otherwise.
_MESSAGE = 2_000_000


def training_rows(chunk: TrainingChunk, features: Sequence[Feature]) -> Iterator[pb.ReadTrainingRowsResponse]:
    """A chunk of rows, in as many messages as it takes to keep each small."""
    rows = chunk.rows
    message = pb.ReadTrainingRowsResponse(
        user_ids=rows.user_ids,
        product_ids=rows.product_ids,
        event_types=rows.event_types,
        event_times_ms=rows.event_times_ms,
        quantities=rows.quantities,
        event_numbers=rows.event_numbers,
        ratings=rows.ratings if any(rows.ratings) else (),
        devices=rows.devices if any(rows.devices) else (),
        columns=[
            feature_column(feature, Column.of(column)) for feature, column in zip(features, chunk.readings, strict=True)
        ],
    )
    length = len(rows.user_ids)
    if message.ByteSize() <= _MESSAGE or length == 1:
        yield message
        return
    for part in (chunk.part(0, length // 2), chunk.part(length // 2, length)):
        yield from training_rows(part, features)
