"""Batches as the answers that each of their entities would have got alone: JSON from one pattern for all of a batch.

Equal, byte for byte, to what `features.feature_values` makes of single answers, which a test asserts.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from windowshop.features.v1 import features_pb2 as pb

from gateway.transcoding.features import PLAIN, column_values, status_text
from gateway.transcoding.instants import millis_text

# A single read is an error then, in the service's words.
_ERRORS = frozenset({pb.NOT_FOUND, pb.UNAVAILABLE})

_encode = msgspec.json.Encoder().encode


def singles(batch: pb.BatchGetFeaturesResponse, asked: bool, now_ms: int) -> dict[str, bytes]:
    """By id, the JSON of a single answer given at ``now_ms`` (since 1970).

    Without the ids of which a single read is an error; without columns nobody can tell which these are. ``asked``:
    features were named, else they are all.
    """
    columns = {column.feature: column for column in batch.columns}
    ids = list(batch.ids)
    if not columns or not ids:
        return {}
    names = list(columns) if asked else sorted(columns)
    wrong: set[int] = set()
    values, metadata = [], []
    for name in names:
        column = columns[name]
        statuses = list(column.statuses)
        if not _ERRORS.isdisjoint(statuses):
            wrong.update(place for place, status in enumerate(statuses) if status in _ERRORS)
        values.append(_values(column, statuses))
        millis = list(column.computed_at_ms)
        metadata += [
            list(map(status_text, statuses)),
            list(map(millis_text, millis)),
            _items([max(0, now_ms - one) / 1_000 if one else None for one in millis]),
        ]
    pattern = _pattern(batch.entity, [(name, columns[name].refresh_seconds) for name in names])
    texts = map(pattern.__mod__, zip(map(_encode, ids), *values, *metadata, strict=True))
    found = dict(zip(ids, texts, strict=True))
    for place in wrong:
        found.pop(ids[place], None)
    return found


def _pattern(entity: str, features: Sequence[tuple[str, int]]) -> bytes:
    """Of one answer: its id, all values, and status, instant and age of each feature are to be filled in."""
    names = [_encode(name) for name, _ in features]
    values = b",".join(name.replace(b"%", b"%%") + b":%b" for name in names)
    metadata = b",".join(
        b'%b:{"status":%%b,"computedAt":%%b,"ageSeconds":%%b,"refreshSeconds":%d}'
        % (name.replace(b"%", b"%%"), refresh)
        for name, (_, refresh) in zip(names, features, strict=True)
    )
    start = b'{"entity":' + _encode(entity).replace(b"%", b"%%")
    return start + b',"id":%b,"features":{' + values + b'},"metadata":{' + metadata + b"}}"


def _values(column: pb.FeatureColumn, statuses: Sequence[pb.FeatureStatus.ValueType]) -> list[bytes]:
    values = column_values(column, statuses)
    if column.type in PLAIN and column.type != pb.STRING:
        return _items(values)
    return list(map(_encode, values))


def _items(numbers: Sequence[float | None]) -> list[bytes]:
    """Each by itself, as in a list."""
    return _encode(numbers)[1:-1].split(b",")
