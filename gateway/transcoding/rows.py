"""Answers in rows, in the documented shape of batches: the JSON of a row is made once, remembered by the row's bytes.

Equal, byte for byte, to what `features.feature_columns` makes of the same values in columns, which a test asserts.
"""

from __future__ import annotations

import functools
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
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
# What rows that came together cost beside their bytes and their lists.
_SHEET = 500
# Seconds after which what nobody reads any more is forgotten, twice at most; a person's values too.
_GENERATION = 60.0

_encode = msgspec.json.Encoder().encode

# (value, status, computedAt) of each feature that is in the rows, as JSON.
_Texts = tuple[bytes, ...]


# Types of the features that are in the rows: all that a row's JSON depends on beside its bytes.
_Layout = tuple["pb.FeatureType.ValueType", ...]


class Batch(NamedTuple):
    """A request, the bytes by which a stream is asked it, and what the answer repeats of it, as JSON."""

    message: pb.BatchGetFeaturesRequest
    written: bytes
    entity: bytes
    ids: bytes

    @classmethod
    def of(cls, message: pb.BatchGetFeaturesRequest) -> Batch:
        """All that is the same each time that it is asked."""
        written = pb.ReadFeaturesRequest(read=message).SerializeToString()
        return cls(message, written, _encode(message.entity), _encode(list(message.ids)))


class RowsEncoder:
    """Writes batches that came in rows; lists of the same rows once while they come again."""

    def __init__(self, room: int = _ROOM, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock``: in seconds."""
        self._clock = clock
        self._known: Generations[_Layout, bytes, _Texts] = Generations(room, _GENERATION)
        self._sheets: Repeated[tuple[_Layout, bytes], list[bytes]] = Repeated(room, _GENERATION)
        # Numbers that change from moment to moment are mostly the same ones when they are rounded.
        self._numbers: Repeated[bytes, bytes] = Repeated(room, _GENERATION)

    def encode(self, answer: pb.BatchGetFeaturesResponse, asked: Batch) -> bytes:
        """The JSON of the answer to what was asked; the lists of its columns are gone after that."""
        doubles = iter(answer.doubles)
        said = [(one.feature, one.type, one.refresh_seconds, self._of_column(one, doubles)) for one in answer.columns]
        missing = list(answer.degraded)
        layout = tuple([kind for _, kind, _, own in said if own is None])
        lists, place, columns = self._lists(layout, answer.sheet), 0, []
        for feature, kind, refresh_seconds, own in said:
            if own is not None:
                values, statuses, instants = own
            else:
                values, statuses, instants = lists[place : place + 3]
                place += 3
            columns.append(
                b'%b:{"type":%b,"values":%b,"statuses":%b,"computedAt":%b,"refreshSeconds":%d}'
                % (
                    _encode(feature),
                    _encode(TYPES[kind]),
                    values,
                    statuses,
                    instants,
                    refresh_seconds,
                )
            )
        return b'{"entity":%b,"ids":%b,"columns":{%b}%b}' % (
            asked.entity,
            asked.ids,
            b",".join(columns),
            b',"degraded":' + _encode(missing) if missing else b"",
        )

    def _lists(self, layout: _Layout, sheet: bytes) -> list[bytes]:
        """Three for each feature in the rows."""
        key, now = (layout, sheet), self._clock()
        lists = self._sheets.get(key, now)
        if lists is None:
            rows = list(pb.FeatureSheet.FromString(sheet).rows)
            young = self._known.young(layout, now)
            texts = list(map(young.get, rows))
            if None in texts:
                texts = [
                    self._learnt(layout, row) if one is None else one for one, row in zip(texts, rows, strict=True)
                ]
            lists = list(map(_list, zip(*texts, strict=True)))
            cost = _SHEET + sum(map(len, lists)) + len(sheet)
            self._sheets.keep(key, lists, cost, now)
        return lists

    def _of_column(self, column: Any, doubles: Iterator[bytes]) -> tuple[bytes, bytes, bytes] | None:
        """Lists of values, which the column then has no more, of statuses and instants; None: they are in the sheet.

        ``doubles``: the values of what is of that type.
        """
        if not column.statuses:
            return None
        values: Sequence[Any]
        if column.type == pb.DOUBLE:
            packed = next(doubles)
            told = _told(column.SerializeToString())
            if told.served:
                return self._of_doubles(packed), told.statuses, told.instants
            values = _unpacked(packed)
        else:  # the contract leaves it open; our servers have none
            values = list(getattr(column, COLUMNS[column.type]))
            column.ClearField(COLUMNS[column.type])
            told = _told(column.SerializeToString())
        if column.type not in PLAIN or not told.served:
            values = [
                shown(column.type, value) if status in SERVED else None
                for value, status in zip(values, column.statuses, strict=True)
            ]
        return _encode(values), told.statuses, told.instants

    def _of_doubles(self, packed: bytes) -> bytes:
        now = self._clock()
        text = self._numbers.get(packed, now)
        if text is None:
            text = _encode(_unpacked(packed))
            self._numbers.keep(packed, text, _SHEET + len(packed) + len(text), now)
        return text

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


def _unpacked(packed: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(packed) // 8}d", packed)


class _Told(NamedTuple):
    """What a column says beside its values, as JSON; whether it has a value of each."""

    served: bool
    statuses: bytes
    instants: bytes


# What is relative to the greatest of all has the instant of the last look at it, in all answers of a tenth of a second.
@functools.lru_cache(64)
def _told(packed: bytes) -> _Told:
    column = pb.FeatureColumn.FromString(packed)
    statuses = list(column.statuses)
    return _Told(
        SERVED.issuperset(statuses), _each(statuses, status_text), _each(list(column.computed_at_ms), millis_text)
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
