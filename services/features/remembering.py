"""What records say as long as nothing happens, remembered by their bytes: people come back, products all the time, and
lists of products page after page."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from services.features.domain.features import KNOWN, Feature, FeatureType, Reading, Record
from services.features.domain.settled import UNSETTLED, Fold, Row, Sheet, folded, row_of, settled
from services.runtime.generations import Generations, Repeated

# Bytes of records that one generation remembers, in a process twice as many; about the same again in rows.
_ROOM = 16_000_000
# What a row and its place cost beside the record's bytes.
_ROW = 400
# Larger records are the few of whoever bought thousands of products: hashing one costs what decoding it does.
_LARGE = 8_000
# Unless most of a record is in the row: writing that out costs twenty times as much as hashing it.
_SHARE = 4
# Rows with these take more than their record, and change with a person's every event.
_LONG = {FeatureType.VECTOR, FeatureType.STRING_LIST, FeatureType.TABLE}
# What nobody reads any more is forgotten after this, twice at most; a person's values too.
_GENERATION_MS = 60_000
# What a sheet costs, and each entity in it, whose record and row may have changed meanwhile.
_SHEET, _PLACE = 1_000, 250


class Unpack(Protocol):
    """From a record as it is stored; with ``only``, of its entries at least those."""

    def __call__(self, packed: bytes | None, /, only: Collection[int] | None = None) -> Record: ...


class SettledRows:
    """The rows of stored records, each made once for the features that are asked for together."""

    def __init__(self, unpack: Unpack, room: int = _ROOM, fold: Fold | None = None) -> None:
        """With ``fold`` the rows are folded ones."""
        self._unpack = unpack
        self._fold = fold
        # By numbers of features, then by a record's bytes.
        self._known: Generations[tuple[int, ...], bytes | None, Row] = Generations(room, _GENERATION_MS)

    def of(self, features: Sequence[Feature], packed: Sequence[bytes | None], now_ms: int) -> list[Row]:
        """A row for each record, UNSETTLED where it does not hold now."""
        asked = tuple([feature.number for feature in features])
        young = self._known.young(asked, now_ms)
        known = [young.get(one) for one in packed]
        return [
            row if row and row[0] > now_ms else self._learnt(features, asked, one, now_ms)
            for row, one in zip(known, packed, strict=True)
        ]

    def decided(self, features: Sequence[Feature], readings: Sequence[Reading]) -> Row:
        """The row of readings that were decided upon one by one; it is not remembered."""
        return self._shaped(features, row_of(readings))

    def _learnt(self, features: Sequence[Feature], asked: tuple[int, ...], packed: bytes | None, now_ms: int) -> Row:
        """The row of a record that the young do not know, or know to hold no more."""
        if packed is None:
            return UNSETTLED
        row = self._known.old(asked, packed) or self._made(features, self._unpack(packed, (KNOWN, *asked)), now_ms)
        if row[0] <= now_ms:
            return UNSETTLED
        cost = self._cost(features, packed, row)
        if cost is not None:
            self._known.keep(asked, packed, row, cost)
        return row

    def _made(self, features: Sequence[Feature], record: Record, now_ms: int) -> Row:
        row = settled(features, record, now_ms)
        return row if row is UNSETTLED else self._shaped(features, row)

    def _shaped(self, features: Sequence[Feature], row: Row) -> Row:
        return row if self._fold is None else folded(features, row, self._fold)

    def _cost(self, features: Sequence[Feature], packed: bytes, row: Row) -> int | None:
        """Of remembering a row; None: it would cost more than it saves."""
        if self._fold is not None:
            length = len(row[1])
            return len(packed) + length + _ROW if len(packed) <= max(_LARGE, _SHARE * length) else None
        if len(packed) > _LARGE or any(feature.type in _LONG for feature in features):
            return None
        return len(packed) + _ROW


class SettledSheets:
    """The sheets of stored records; that of the same ones in the same order is made once."""

    def __init__(self, rows: SettledRows, fold: Fold) -> None:
        """``rows``: folded ones, by ``fold``."""
        self._rows = rows
        self._fold = fold
        # By numbers of features and the records, which are compared by identity as a rule: they are held.
        self._known: Repeated[tuple[tuple[int, ...], tuple[bytes | None, ...]], Sheet] = Repeated(_ROOM, _GENERATION_MS)

    def of(self, features: Sequence[Feature], packed: Sequence[bytes | None], now_ms: int) -> Sheet | None:
        """None: not all of the rows hold now."""
        key = tuple([feature.number for feature in features]), tuple(packed)
        sheet = self._known.get(key, now_ms)
        if sheet is None:
            rows = self._rows.of(features, packed, now_ms)
            if UNSETTLED in rows:
                return None
            sheet = Sheet.of(rows, self._fold)
            self._known.keep(key, sheet, _SHEET + len(packed) * _PLACE + len(sheet.written), now_ms)
        return sheet if sheet.until_ms > now_ms else None
