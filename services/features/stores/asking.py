"""The statements of features, asked together where their callers ask at the same moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from services.features.domain.features import Feature, Outcome
from services.features.ports import SlowStatementError, StoreDownError
from services.features.stores.combining import Combined, Part, combined
from services.features.stores.postgres import Database
from services.runtime.coalescing import Together

# Computations that are asked for at once as soon as there are so many.
_MOST = 100
# Seconds for which statements are asked one by one after one of them made their common one fail, or too slow.
_APART_SECONDS = 60.0
# Callers make up which features are asked for together; of so many groups the common statement is remembered.
_MOST_GROUPS = 1_000

Outcomes = dict[str, Outcome]
# From a feature, the rows of its statement, and the instant (ms).
Convert = Callable[[Feature, Sequence[Any], int], Outcomes]


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What one caller wants."""

    feature: Feature
    ids: Sequence[str]
    now_ms: int


class FeatureStatements:
    """One statement for all features and ids that are asked for in one turn of the loop as of one instant."""

    def __init__(self, database: Database, convert: Convert) -> None:
        self._database = database
        self._convert = convert
        self._together: Together[_Asked, Outcomes | Exception] = Together(self._answers, _MOST)
        # By the number of a feature, which another statement would change: the columns that its statement returns.
        self._columns: dict[int, Mapping[str, str]] = {}
        # By the numbers of features, ascending.
        self._combined: dict[tuple[int, ...], Combined | None] = {}
        self._apart_until: dict[tuple[int, ...], float] = {}

    def learn(self, feature: Feature, columns: Mapping[str, str]) -> None:
        """What a feature's statement returns: names and types. Without that it is asked alone."""
        self._columns[feature.number] = columns

    async def ask(self, feature: Feature, ids: Sequence[str], now_ms: int) -> Outcomes:
        """What the feature's statement says of each id, or the failure of this statement."""
        asked = _Asked(feature, ids, now_ms)
        found = (await self._together.run((asked,)))[asked]
        if isinstance(found, Exception):
            raise found
        return {i: found[i] for i in ids if i in found}  # others may have asked for others

    async def _answers(self, calls: Sequence[_Asked]) -> dict[_Asked, Outcomes | Exception]:
        ids: dict[tuple[int, int], dict[str, None]] = {}
        for call in calls:
            ids.setdefault((call.now_ms, call.feature.number), {}).update(dict.fromkeys(call.ids))
        groups: dict[tuple[int, tuple[str, ...], bool], dict[int, Feature]] = {}
        for call in calls:
            group = call.now_ms, tuple(ids[call.now_ms, call.feature.number]), call.feature.plan_anew
            groups.setdefault(group, {})[call.feature.number] = call.feature
        found = await asyncio.gather(
            *(self._group(list(features.values()), wanted, now_ms) for (now_ms, wanted, _), features in groups.items())
        )
        answers = {
            (now_ms, number): outcomes
            for (now_ms, *_), of_group in zip(groups, found, strict=True)
            for number, outcomes in of_group.items()
        }
        return {call: answers[call.now_ms, call.feature.number] for call in calls}

    async def _group(
        self, features: Sequence[Feature], ids: Sequence[str], now_ms: int
    ) -> dict[int, Outcomes | Exception]:
        """By the number of each feature. One that is wrong or slow costs itself alone: each is asked alone then."""
        features = sorted(features, key=lambda feature: feature.number)
        numbers = tuple(feature.number for feature in features)
        common = self._common(numbers, features)
        if common is not None:
            try:
                rows = await self._rows(features[0], common.sql, ids, now_ms)
                pairs = zip(features, common.rows(rows), strict=True)
                return {feature.number: self._convert(feature, own, now_ms) for feature, own in pairs}
            except SlowStatementError:
                pass
            except StoreDownError as error:
                return dict.fromkeys(numbers, error)
            except Exception:  # noqa: S110 - whose it is will show: it happens to that one again
                pass
            self._apart_until[numbers] = time.monotonic() + _APART_SECONDS
        alone = await asyncio.gather(*(self._alone(feature, ids, now_ms) for feature in features))
        return dict(zip(numbers, alone, strict=True))

    async def _alone(self, feature: Feature, ids: Sequence[str], now_ms: int) -> Outcomes | Exception:
        try:
            rows = await self._rows(feature, feature.sql, ids, now_ms)
            return self._convert(feature, rows, now_ms)
        except Exception as error:  # handed to those who asked
            return error

    async def _rows(self, feature: Feature, sql: str, ids: Sequence[str], now_ms: int) -> list[Any]:
        """Of the statement of a feature, or of some that are planned as it is."""
        fetch = self._database.fetch if feature.plan_anew else self._database.fetch_planned
        return await fetch(sql, list(ids), instant(now_ms))

    def _common(self, numbers: tuple[int, ...], features: Sequence[Feature]) -> Combined | None:
        """The statement of all of them; None: they are asked one by one."""
        if len(numbers) == 1 or time.monotonic() < self._apart_until.get(numbers, 0.0):
            return None
        if numbers not in self._combined:
            if len(self._combined) >= _MOST_GROUPS:
                self._combined.clear()
                self._apart_until.clear()
            parts = [Part(f.sql, self._columns[f.number]) for f in features if f.number in self._columns]
            self._combined[numbers] = combined(parts) if len(parts) == len(numbers) else None
        return self._combined[numbers]


def instant(ms: int) -> datetime:
    """Milliseconds since 1970 as PostgreSQL's driver takes them."""
    seconds, rest = divmod(ms, 1_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1_000)
