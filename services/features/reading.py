"""The read: what is stored and good is served as it is, what is not is completed from the log."""

from __future__ import annotations

import asyncio
import functools
from collections import Counter as Counts
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from prometheus_client import Counter

from services.features.completing import Completer, Missing
from services.features.domain.features import Entity, Feature, Status
from services.features.domain.relative import Maximum
from services.features.domain.settled import UNSETTLED, Column, Fold, Row, Unfolded, columns, unfolded
from services.features.marking import Marker
from services.features.maxima import Maxima
from services.features.metrics import READINGS
from services.features.ports import ONLINE_STORE, DueQueue, FeatureComputer, OnlineStore, StoreDownError
from services.features.remembering import SettledRows


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
        """``fold``: writes out what answers in rows say of an entity."""
        self._online = online
        self._maxima = maxima
        self._marker = marker
        self._clock_ms = clock_ms
        self._rows = SettledRows(online.unpack)
        self._folded = SettledRows(online.unpack, fold=fold)
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
        found = await self._found(entity, ids, features, self._rows, fresh, patience)
        answer = dict(zip([f.name for f in features], columns(features, found.rows, found.maxima), strict=True))
        _report(answer)
        return Answer(answer, found.degraded)

    async def read_rows(
        self, entity: Entity, ids: Sequence[str], features: Sequence[Feature], patience: float | None = None
    ) -> RowAnswer:
        """The same readings in rows; see read."""
        rows, maxima, degraded = await self._found(entity, ids, features, self._folded, False, patience)
        found = unfolded(features, rows, maxima)
        _report_rows(features, found.statuses)
        return RowAnswer(found, degraded)

    async def _found(
        self,
        entity: Entity,
        ids: Sequence[str],
        features: Sequence[Feature],
        remembered: SettledRows,
        fresh: bool,
        patience: float | None,
    ) -> _Found:
        until = None if patience is None else asyncio.get_running_loop().time() + patience
        unique = list(dict.fromkeys(ids))
        maxima = await self._maxima.of(entity, features)  # before the records: these are right at its instant
        owed = self._owed(entity, unique)  # also those that are marked while their records are on their way
        packed, degraded = await self._packed(entity, unique)
        owed |= self._owed(entity, unique)
        rows = self._settled(remembered, unique, features, packed, owed, maxima, fresh)
        unsettled = [place for place, row in enumerate(rows) if row is UNSETTLED]
        if unsettled:
            missing = Missing(
                {unique[place]: self._online.unpack(packed[place]) for place in unsettled},
                {unique[place] for place in unsettled if packed[place] is None},
                owed,
                degraded,
            )
            completed = await self._completer.complete(entity, features, missing, maxima, fresh, until)
            for place in unsettled:
                rows[place] = remembered.decided(features, completed[unique[place]])
        if self._marker.in_debt:
            maxima = {}  # what is stored may miss an event that we know of
        if len(unique) < len(ids):
            of_id = dict(zip(unique, rows, strict=True))
            rows = [of_id[i] for i in ids]
        return _Found(rows, maxima, sorted(degraded))

    def _owed(self, entity: Entity, ids: Sequence[str]) -> set[str]:
        return {i for i in ids if self._marker.owes(entity.name, i)} if self._marker.in_debt else set()

    async def _packed(self, entity: Entity, ids: Sequence[str]) -> tuple[Sequence[bytes | None], set[str]]:
        """The records as they are stored, None where they could not be read; the stores that were missed."""
        try:
            packed = await self._online.packed(entity.name, ids)
        except StoreDownError as error:
            return [None] * len(ids), {error.store}
        return packed, {ONLINE_STORE} if None in packed else set()

    def _settled(
        self,
        remembered: SettledRows,
        ids: Sequence[str],
        features: Sequence[Feature],
        packed: Sequence[bytes | None],
        owed: set[str],
        maxima: Mapping[str, Maximum],
        fresh: bool,
    ) -> list[Row]:
        """What can be answered with what is stored, as it is."""
        now_ms = self._clock_ms()
        # A maximum that is yet to come: the clock was put back.
        if fresh or (maxima and max(maximum.at_ms for maximum in maxima.values()) > now_ms):
            return [UNSETTLED] * len(ids)
        rows = remembered.of(features, packed, now_ms)
        if owed:
            rows = [UNSETTLED if i in owed else row for i, row in zip(ids, rows, strict=True)]
        return rows


def _report(answer: Mapping[str, Column]) -> None:
    for name, column in answer.items():
        for status in set(column.statuses):
            _counter(name, status).inc(column.statuses.count(status))


def _report_rows(features: Sequence[Feature], statuses: Sequence[tuple[Status, ...]]) -> None:
    # Mostly they are all the same.
    same = statuses.count(statuses[0]) == len(statuses)
    for kinds, times in {statuses[0]: len(statuses)}.items() if same else Counts(statuses).items():
        for feature, status in zip(features, kinds, strict=True):
            _counter(feature.name, status).inc(times)


@functools.cache
def _counter(feature: str, status: Status) -> Counter:
    return READINGS.labels(feature, status)
