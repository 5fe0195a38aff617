"""What records say as long as nothing happens, remembered by their bytes: people come back, products all the time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from services.features.domain.features import KNOWN, Feature, FeatureType, Record
from services.features.domain.settled import UNSETTLED, Row, settled

# Bytes of records that one generation remembers, in a process twice as many; about the same again in rows.
_ROOM = 16_000_000
# What a row and its place cost beside the record's bytes.
_ROW = 400
# Larger records are the few of whoever bought thousands of products: hashing one costs what decoding it does.
_LARGE = 8_000
# Rows with these take more than their record, and change with a person's every event.
_LONG = {FeatureType.VECTOR, FeatureType.STRING_LIST, FeatureType.TABLE}
# What nobody reads any more is forgotten after this, twice at most; a person's values too.
_GENERATION_MS = 60_000


class Unpack(Protocol):
    """From a record as it is stored; with ``only``, of its entries at least those."""

    def __call__(self, packed: bytes | None, /, only: Collection[int] | None = None) -> Record: ...


class SettledRows:
    """The rows of stored records, each made once for the features that are asked for together."""

    def __init__(self, unpack: Unpack, room: int = _ROOM) -> None:
        self._unpack = unpack
        self._room = room
        # By numbers of features, then by a record's bytes. What is found among the old becomes young again.
        self._young: dict[tuple[int, ...], dict[bytes | None, Row]] = {}
        self._old: dict[tuple[int, ...], dict[bytes | None, Row]] = {}
        self._since_ms = 0
        self._used = 0

    def of(self, features: Sequence[Feature], packed: Sequence[bytes | None], now_ms: int) -> list[Row]:
        """A row for each record, UNSETTLED where it does not hold now."""
        if self._used > self._room or not 0 <= now_ms - self._since_ms < _GENERATION_MS:
            self._young, self._old, self._used, self._since_ms = {}, self._young, 0, now_ms
        asked = tuple([feature.number for feature in features])
        young = self._young.get(asked)
        if young is None:  # what is asked for together is of the callers' making
            young = self._young[asked] = {}
            self._used += _ROW
        known = [young.get(one) for one in packed]
        return [
            row if row and row[0] > now_ms else self._learnt(features, asked, one, now_ms)
            for row, one in zip(known, packed, strict=True)
        ]

    def _learnt(self, features: Sequence[Feature], asked: tuple[int, ...], packed: bytes | None, now_ms: int) -> Row:
        """The row of a record that the young do not know, or know to hold no more."""
        if packed is None:
            return UNSETTLED
        row = self._old.get(asked, {}).get(packed) or settled(features, self._unpack(packed, (KNOWN, *asked)), now_ms)
        if row[0] <= now_ms:
            return UNSETTLED
        if len(packed) <= _LARGE and not any(feature.type in _LONG for feature in features):
            self._young[asked][packed] = row
            self._used += len(packed) + _ROW
        return row
