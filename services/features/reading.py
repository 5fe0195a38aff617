"""The read: what is stored and good is served as it is, what is not is completed from the log."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

from prometheus_client import Counter

from services.features.completing import Completer, Missing
from services.features.domain.features import Entity, Feature, Status
from services.features.domain.relative import Maximum
from services.features.domain.settled import UNSETTLED, Column, Fold, Kinds, Row, Sheet, Unfolded, columns, unfolded
from services.features.marking import Marker
from services.features.maxima import Maxima
from services.features.metrics import READINGS
from services.features.ports import ONLINE_STORE, DueQueue, FeatureComputer, Meanwhile, OnlineStore, StoreDownError
from services.features.remembering import SettledRows, SettledSheets

# Takes what relative values are of and, while the store is asked about them, records.
_Meanwhile = Callable[[Mapping[str, Maximum], Sequence[bytes | None]], object]


class Answer(NamedTuple):
    """For each feature, in the order asked, its column of the ids, in the order asked; the stores that were missed."""

    columns: Mapping[str, Column]
    degraded: Sequence[str]


class RowAnswer(NamedTuple):
    """The same in rows: of each id, in the order asked, what does not change from moment to moment, as bytes."""

    found: Unfolded
    degraded: Sequence[str]


class _Found(NamedTuple):
    """A row for each of the ids, what relative values are of, the stores that were missed."""

    rows: list[Row]
    maxima: Mapping[str, Maximum]
    degraded: Sequence[str]


class _Look(NamedTuple):
    """The records of the ids as they are stored, None where they could not be read; the ids that are owed a mark; what
    relative values are of; the stores that were missed."""

    packed: Sequence[bytes | None]
    owed: set[str]
    maxima: Mapping[str, Maximum]
    degraded: set[str]


W = TypeVar("W")


class _Guess(NamedTuple, Generic[W]):
    """What is the answer if the store still has the records that were held, before ``until_ms``; as it is written."""

    held: Sequence[bytes | None]
    until_ms: int
    answer: RowAnswer
    written: W


class Reader:
    """Serves features from the online store, and from the log what is not there."""

    def __init__(
        self,
        online: OnlineStore,
        queue: DueQueue,
        computer: FeatureComputer,
        maxima: Maxima,
        marker: Marker,
        clock_ms: Callable[[], int],
        jitter: Callable[[], float],
        fold: Fold,
    ) -> None:
        """``fold``: writes out answers in rows."""
        self._online = online
        self._maxima = maxima
        self._marker = marker
        self._clock_ms = clock_ms
        self._rows = SettledRows(online.unpack)
        self._fold = fold
        self._folded = SettledRows(online.unpack, fold=fold)
        self._sheets = SettledSheets(self._folded, fold)
        self._completer = Completer(online, queue, computer, maxima, marker, clock_ms, jitter)

    async def read(
        self,
        entity: Entity,
        ids: Sequence[str],
        features: Sequence[Feature],
        fresh: bool = False,
        patience: float | None = None,
    ) -> Answer:
        """The readings of ``features`` for ``ids``; ``fresh`` computes all of them whatever is stored.

        After ``patience`` seconds a log that has not answered is taken for missing.
        """
        until = _until(patience)
        look = await self._look(entity, ids, features)
        found = await self._found(entity, ids, features, self._rows, look, until, fresh)
        answer = dict(zip([f.name for f in features], columns(features, found.rows, found.maxima), strict=True))
        _report(answer)
        return Answer(answer, found.degraded)

    async def read_rows(
        self,
        entity: Entity,
        ids: Sequence[str],
        features: Sequence[Feature],
        patience: float | None,
        write: Callable[[RowAnswer], W],
    ) -> W:
        """The same readings in rows; see read. ``write`` is called while the store is asked, of held records."""
        until = _until(patience)
        guess: _Guess[W] | None = None

        def meanwhile(maxima: Mapping[str, Maximum], held: Sequence[bytes | None]) -> None:
            nonlocal guess
            sheet = self._sheets.of(features, held, self._clock_ms())
            if sheet is not None:
                found = RowAnswer(unfolded(features, sheet, maxima), ())
                guess = _Guess(held, sheet.until_ms, found, write(found))

        look = await self._look(entity, ids, features, meanwhile)
        if guess is not None and self._is_right(guess, look):
            answer, written = guess.answer, guess.written
        else:
            rows, maxima, degraded = await self._found(entity, ids, features, self._folded, look, until)
            answer = RowAnswer(unfolded(features, Sheet.of(rows, self._fold), maxima), degraded)
            written = write(answer)
        _report_rows(features, answer.found.kinds)
        return written

    async def _look(
        self, entity: Entity, ids: Sequence[str], features: Sequence[Feature], meanwhile: _Meanwhile | None = None
    ) -> _Look:
        maxima = await self._maxima.of(entity, features)  # before the records: these are right at its instant
        owed = self._owed(entity, ids)  # also those that are marked while their records are on their way
        packed, degraded = await self._packed(entity, ids, meanwhile and partial(meanwhile, maxima))
        return _Look(packed, owed | self._owed(entity, ids), maxima, degraded)

    async def _found(
        self,
        entity: Entity,
        ids: Sequence[str],
        features: Sequence[Feature],
        remembered: SettledRows,
        look: _Look,
        until: float | None,
        fresh: bool = False,
    ) -> _Found:
        packed, owed, maxima, degraded = look
        rows = self._settled(remembered, ids, features, look, fresh)
        unsettled = [place for place, row in enumerate(rows) if row is UNSETTLED]
        if unsettled:
            missing = Missing(
                {ids[place]: self._online.unpack(packed[place]) for place in unsettled},
                {ids[place] for place in unsettled if packed[place] is None},
                owed,
                degraded,
            )
            completed = await self._completer.complete(entity, features, missing, maxima, fresh, until)
            for place in unsettled:
                rows[place] = remembered.decided(features, completed[ids[place]])
        if self._marker.in_debt:
            maxima = {}  # what is stored may miss an event that we know of
        return _Found(rows, maxima, sorted(degraded))

    def _is_right(self, guess: _Guess[Any], look: _Look) -> bool:
        now_ms = self._clock_ms()
        return (
            look.packed is guess.held
            and guess.until_ms > now_ms
            and not (look.owed or self._marker.in_debt or _is_ahead(look.maxima, now_ms))
        )

    def _owed(self, entity: Entity, ids: Sequence[str]) -> set[str]:
        return {i for i in ids if self._marker.owes(entity.name, i)} if self._marker.in_debt else set()

    async def _packed(
        self, entity: Entity, ids: Sequence[str], meanwhile: Meanwhile | None
    ) -> tuple[Sequence[bytes | None], set[str]]:
        """The records as they are stored, None where they could not be read; the stores that were missed."""
        try:
            packed = await self._online.packed(entity.name, ids, meanwhile)
        except StoreDownError as error:
            return [None] * len(ids), {error.store}
        return packed, {ONLINE_STORE} if None in packed else set()

    def _settled(
        self,
        remembered: SettledRows,
        ids: Sequence[str],
        features: Sequence[Feature],
        look: _Look,
        fresh: bool,
    ) -> list[Row]:
        """What can be answered with what is stored, as it is."""
        now_ms = self._clock_ms()
        if fresh or _is_ahead(look.maxima, now_ms):
            return [UNSETTLED] * len(ids)
        rows = remembered.of(features, look.packed, now_ms)
        if look.owed:
            rows = [UNSETTLED if i in look.owed else row for i, row in zip(ids, rows, strict=True)]
        return rows


def _until(patience: float | None) -> float | None:
    """In the loop's time."""
    return None if patience is None else asyncio.get_running_loop().time() + patience


def _is_ahead(maxima: Mapping[str, Maximum], now_ms: int) -> bool:
    """Whether a maximum is yet to come: the clock was put back."""
    return any(maximum.at_ms > now_ms for maximum in maxima.values())


def _report(answer: Mapping[str, Column]) -> None:
    for name, column in answer.items():
        for status in set(column.statuses):
            _counter(name, status).inc(column.statuses.count(status))


def _report_rows(features: Sequence[Feature], kinds: Kinds) -> None:
    for statuses, times in kinds.items():
        for feature, status in zip(features, statuses, strict=True):
            _counter(feature.name, status).inc(times)


@functools.cache
def _counter(feature: str, status: Status) -> Counter:
    return READINGS.labels(feature, status)
