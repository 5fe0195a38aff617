"""Answers in rows, in the documented shape of batches: the JSON of a row is made once, remembered by the row's bytes.

Equal, byte for byte, to what `features.feature_columns` makes of the same values in columns, which a test asserts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec
from windowshop.features.v1 import features_pb2 as pb

from gateway.transcoding.features import COLUMNS, PLAIN, SERVED, TYPES, shown, status_text
from gateway.transcoding.instants import millis_text
from services.runtime.generations import Generations, Repeated

# Bytes that one generation remembers, of two: some 20,000 products with three features.
_ROOM = 16_000_000
# What a row costs beside its bytes and its JSON, and each of its texts.
_ROW, _TEXT = 300, 40
# What rows that came together cost beside their bytes and their lists, and each of them.
_SHEET, _PLACE = 500, 50
# Seconds after which what nobody reads any more is forgotten, twice at most; a person's values too.
_GENERATION = 60.0

_encode = msgspec.json.Encoder().encode

# (value, status, computedAt) of each feature that is in the rows, as JSON.
_Texts = tuple[bytes, ...]


# Types of the features that are in the rows: all that a row's JSON depends on beside its bytes.
_Layout = tuple["pb.FeatureType.ValueType", ...]


class Batch(NamedTuple):
    """A request, and what the answer repeats of it, as JSON."""

    message: pb.BatchGetFeaturesRequest
    entity: bytes
    ids: bytes

    @classmethod
    def of(cls, message: pb.BatchGetFeaturesRequest) -> Batch:
        """The names once, for all answers."""
        return cls(message, _encode(message.entity), _encode(list(message.ids)))


class RowsEncoder:
    """Writes batches that came in rows; lists of the same rows once while they come again."""

    def __init__(self, room: int = _ROOM, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock``: in seconds."""
        self._clock = clock
        self._known: Generations[_Layout, bytes, _Texts] = Generations(room, _GENERATION)
        self._sheets: Repeated[tuple[_Layout, tuple[bytes, ...]], list[bytes]] = Repeated(room, _GENERATION)

    def encode(self, answer: pb.BatchGetFeaturesResponse, asked: Batch) -> bytes:
        """The JSON of the answer to what was asked."""
        layout = tuple([column.type for column in answer.columns if not column.statuses])
        lists, place, columns = self._lists(layout, tuple(answer.rows)), 0, []
        for column in answer.columns:
            if column.statuses:
                values, statuses, instants = _of_column(column)
            else:
                values, statuses, instants = lists[place : place + 3]
                place += 3
            columns.append(
                b'%b:{"type":%b,"values":%b,"statuses":%b,"computedAt":%b,"refreshSeconds":%d}'
                % (
                    _encode(column.feature),
                    _encode(TYPES[column.type]),
                    values,
                    statuses,
                    instants,
                    column.refresh_seconds,
                )
            )
        missing = list(answer.degraded)
        return b'{"entity":%b,"ids":%b,"columns":{%b}%b}' % (
            asked.entity,
            asked.ids,
            b",".join(columns),
            b',"degraded":' + _encode(missing) if missing else b"",
        )

    def _lists(self, layout: _Layout, rows: tuple[bytes, ...]) -> list[bytes]:
        """Three for each feature in the rows."""
        key, now = (layout, rows), self._clock()
        lists = self._sheets.get(key, now)
        if lists is None:
            young = self._known.young(layout, now)
            texts = list(map(young.get, rows))
            if None in texts:
                texts = [
                    self._learnt(layout, row) if one is None else one for one, row in zip(texts, rows, strict=True)
                ]
            lists = list(map(_list, zip(*texts, strict=True)))
            cost = _SHEET + sum(map(len, lists)) + sum(map(len, rows)) + _PLACE * len(rows)
            self._sheets.keep(key, lists, cost, now)
        return lists

    def _learnt(self, layout: _Layout, row: bytes) -> _Texts:
        """A row that the young do not know."""
        texts = self._known.old(layout, row)
        if texts is None:
            texts = _texts_of(layout, pb.FeatureRow.FromString(row))
        cost = len(row) + _ROW + sum(map(len, texts)) + _TEXT * len(texts)
        self._known.keep(layout, row, texts, cost)
        return texts


def _texts_of(layout: _Layout, row: pb.FeatureRow) -> _Texts:
    places = dict.fromkeys(layout, 0)
    texts: list[bytes] = []
    for kind, status, millis in zip(layout, row.statuses, row.computed_at_ms, strict=True):
        value = getattr(row, COLUMNS[kind])[places[kind]]
        places[kind] += 1
        texts.append(_encode(shown(kind, value)) if status in SERVED else b"null")
        texts += status_text(status), millis_text(millis)
    return tuple(texts)


def _of_column(column: pb.FeatureColumn) -> tuple[bytes, bytes, bytes]:
    """Lists of values, statuses and instants."""
    statuses = list(column.statuses)
    values: Iterable[Any] = getattr(column, COLUMNS[column.type])
    if column.type not in PLAIN or not SERVED.issuperset(statuses):
        values = [
            shown(column.type, value) if status in SERVED else None
            for value, status in zip(values, statuses, strict=True)
        ]
    return (
        _encode(list(values)),
        _each(statuses, status_text),
        _each(list(column.computed_at_ms), millis_text),
    )


def _each(things: Sequence[int], write: Callable[[int], bytes]) -> bytes:
    """A list; mostly of all the same."""
    if things.count(things[0]) == len(things):
        text = write(things[0])
        return b"[%b%b]" % ((text + b",") * (len(things) - 1), text)
    texts = {thing: write(thing) for thing in set(things)}
    return _list([texts[thing] for thing in things])


def _list(texts: Iterable[bytes]) -> bytes:
    return b"[%b]" % b",".join(texts)
