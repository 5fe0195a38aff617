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
# Ids that may be joined by other callers' ids: thousands take a statement up to a second, for which nobody else waits.
_FEW = 50
# Seconds for which a statement is asked alone after it made a common one fail, or too slow.
_APART_SECONDS = 60.0
# Callers make up which features are asked for together; of so many groups the common statement is remembered.
_MOST_GROUPS = 1_000

Outcomes = dict[str, Outcome]
# Instant, feature, and the ids where they are many.
_Place = tuple[int, int, tuple[str, ...]]
# By the number of each feature in it.
_Statement = asyncio.Task[dict[int, Outcomes | Exception]]
# From a feature, the rows of its statement, and the instant (ms).
Convert = Callable[[Feature, Sequence[Any], int], Outcomes]


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What one caller wants."""

    feature: Feature
    ids: Sequence[str]
    now_ms: int

    @property
    def place(self) -> _Place:
        """Equal where the ids may be asked for together."""
        return self.now_ms, self.feature.number, tuple(self.ids) if len(self.ids) > _FEW else ()


class FeatureStatements:
    """One statement for all features and ids that are asked for in one turn of the loop as of one instant."""

    def __init__(self, database: Database, convert: Convert) -> None:
        self._database = database
        self._convert = convert
        self._together: Together[_Asked, _Statement] = Together(self._answering, _MOST)
        self._running: set[_Statement] = set()
        # By the number of a feature, which another statement would change: the columns that its statement returns.
        self._columns: dict[int, Mapping[str, str]] = {}
        # By the numbers of features, ascending.
        self._combined: dict[tuple[int, ...], Combined | None] = {}
        # The same, also of one that is wrong or slow itself.
        self._apart_until: dict[tuple[int, ...], float] = {}

    def learn(self, feature: Feature, columns: Mapping[str, str]) -> None:
        """What a feature's statement returns: names and types. Without that it is asked alone."""
        self._columns[feature.number] = columns

    async def ask(self, feature: Feature, ids: Sequence[str], now_ms: int) -> Outcomes:
        """What the feature's statement says of each id, or the failure of this statement."""
        asked = _Asked(feature, ids, now_ms)
        statement = (await self._together.run((asked,)))[asked]
        found = (await asyncio.shield(statement))[feature.number]
        if isinstance(found, Exception):
            raise found
        return {i: found[i] for i in ids if i in found}  # others may have asked for others

    async def _answering(self, calls: Sequence[_Asked]) -> dict[_Asked, _Statement]:
        """The statement that answers each: nobody waits for another one's."""
        ids: dict[_Place, dict[str, None]] = {}
        for call in calls:
            ids.setdefault(call.place, {}).update(dict.fromkeys(call.ids))
        groups: dict[tuple[int, tuple[str, ...], bool], dict[int, Feature]] = {}
        for call in calls:
            group = call.now_ms, tuple(ids[call.place]), call.feature.plan_anew
            groups.setdefault(group, {})[call.feature.number] = call.feature
        answering: dict[tuple[int, tuple[str, ...], int], _Statement] = {}
        for (now_ms, wanted, _), features in groups.items():
            for part in self._parts(list(features.values())):
                statement = asyncio.create_task(self._in_common(part, wanted, now_ms))
                self._running.add(statement)
                statement.add_done_callback(self._running.discard)
                answering.update(((now_ms, wanted, feature.number), statement) for feature in part)
        return {call: answering[call.now_ms, tuple(ids[call.place]), call.feature.number] for call in calls}

    def _parts(self, features: Sequence[Feature]) -> list[list[Feature]]:
        """What is asked together of a group: without what was wrong or slow lately, which costs itself alone."""
        apart = [[feature] for feature in features if self._is_apart([feature])]
        together = sorted((f for f in features if [f] not in apart), key=lambda feature: feature.number)
        return [together, *apart] if together else apart

    async def _in_common(
        self, features: Sequence[Feature], ids: Sequence[str], now_ms: int
    ) -> dict[int, Outcomes | Exception]:
        """One that is wrong or slow is asked alone in the end, and so are the others of this time."""
        common = self._common(features)
        if common is not None:
            try:
                rows = await self._rows(features[0], common.sql, ids, now_ms)
                pairs = zip(features, common.rows(rows), strict=True)
                return {feature.number: self._convert(feature, own, now_ms) for feature, own in pairs}
            except SlowStatementError:
                pass
            except StoreDownError as error:
                return {feature.number: error for feature in features}
            except Exception:  # noqa: S110 - whose it is will show: it happens to that one again
                pass
        found = await asyncio.gather(*(self._alone(feature, ids, now_ms) for feature in features))
        if common is not None:
            # Where none fails alone it is their company: together they are too slow, or one is no part of another.
            wrong: list[Sequence[Feature]] = [
                [f] for f, one in zip(features, found, strict=True) if isinstance(one, Exception)
            ]
            until = time.monotonic() + _APART_SECONDS
            self._apart_until.update((_numbers(some), until) for some in wrong or [features])
        return {feature.number: one for feature, one in zip(features, found, strict=True)}

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

    def _common(self, features: Sequence[Feature]) -> Combined | None:
        """The statement of all of them, ascending by number; None: they are asked one by one."""
        if len(features) <= 1 or self._is_apart(features):
            return None
        numbers = _numbers(features)
        if numbers not in self._combined:
            if len(self._combined) >= _MOST_GROUPS:
                self._combined.clear()
                self._apart_until.clear()
            parts = [Part(f.sql, self._columns[f.number]) for f in features if f.number in self._columns]
            self._combined[numbers] = combined(parts) if len(parts) == len(numbers) else None
        return self._combined[numbers]

    def _is_apart(self, features: Sequence[Feature]) -> bool:
        return time.monotonic() < self._apart_until.get(_numbers(features), 0.0)


def _numbers(features: Sequence[Feature]) -> tuple[int, ...]:
    return tuple([feature.number for feature in features])


def instant(ms: int) -> datetime:
    """Milliseconds since 1970 as PostgreSQL's driver takes them."""
    seconds, rest = divmod(ms, 1_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1_000)
