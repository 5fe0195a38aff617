"""Features computed by their declared statements over the event log."""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from services.features.domain.features import NO_EVIDENCE, Entity, Feature, FeatureType, Outcome, Table, Value
from services.features.ports import Standing
from services.features.stores.asking import Question, Statements, instant
from services.features.stores.postgres import Database, StatementError

# Parameters, each with the types that it may have; columns; columns that may be left out.
_Contract = tuple[tuple[tuple[str, set[str]], ...], tuple[str, ...], tuple[str, ...]]
_IDS, _INSTANT, _NUMBER = {"text[]", "varchar[]"}, {"timestamptz"}, {"int2", "int4", "int8"}
UNTIL = "valid_until"
# What declared statements take and return.
_OF_IDS = (("$1 text[] ids", _IDS), ("$2 timestamptz now", _INSTANT))
_FEATURE: _Contract = _OF_IDS, ("id", "value"), (UNTIL,)
# Beside these a table has its own columns.
_TABLE: _Contract = _OF_IDS, ("id", "keys"), ()
_TABLE_FIXED = ("id", "keys", UNTIL)
_MAXIMUM: _Contract = (("$1 timestamptz[] instants", {"timestamptz[]"}),), ("at", "value"), ()
_IDLE: _Contract = _OF_IDS, ("id",), ()
_KNOWN: _Contract = (("$1 text[] ids", _IDS),), ("id",), ()
_ACTIVE: _Contract = (
    (("$1 text after", {"text", "varchar"}), ("$2 timestamptz now", _INSTANT), ("$3 int limit", _NUMBER)),
    ("id",),
    (),
)
# The types of a value's column. Texts have too many (enumerations, domains) to name: what is none fails when computed.
_NUMBERS = _NUMBER | {"numeric"}
_REALS = _NUMBERS | {"float4", "float8"}
_COLUMN_TYPES: dict[FeatureType, set[str]] = {
    FeatureType.INT: _NUMBERS,
    FeatureType.DOUBLE: _REALS,
    FeatureType.BOOL: {"bool"},
    FeatureType.TIMESTAMP: _INSTANT,
    FeatureType.VECTOR: {f"{name}[]" for name in _REALS},
    FeatureType.STRING_LIST: _IDS,
}
_OF_PRODUCTS: _Contract = (("$1 text[] product ids", _IDS), ("$2 timestamptz now", _INSTANT)), ("id",), ()

_EPOCH, _MILLISECOND = datetime.fromtimestamp(0, UTC), timedelta(milliseconds=1)


class PostgresComputer:
    """Implements FeatureComputer."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._statements = Statements(database)
        # Of features by their numbers; who is known, and who is idle, by statement.
        self._questions: dict[int | str, Question] = {}

    async def check(self, entities: Sequence[Entity]) -> None:
        """Prepares every statement, so that a mistake in one is found at start and not by a reader.

        Raises ValueError naming the place.
        """
        for entity in entities:
            place = f"entities.{entity.name}"
            await self._check(f"{place}: known", entity.known, _KNOWN)
            await self._check(f"{place}: known", self._of_ids(entity.known).sql, _IDLE)
            await self._check(f"{place}: active", entity.active, _ACTIVE)
            if entity.of_products is not None:
                await self._check(f"{place}: of_products", entity.of_products, _OF_PRODUCTS)
            if entity.idle is not None:
                await self._check(f"{place}: idle", entity.idle, _IDLE)
                await self._check(f"{place}: idle", self._of_ids(entity.idle).sql, _IDLE)
            for feature in entity.features.values():
                await self._check_feature(feature)

    async def _check_feature(self, feature: Feature) -> None:
        place = f"features.{feature.name}"
        if feature.type is FeatureType.TABLE:
            returned = await self._check(place, feature.sql, _TABLE)
            columns = [name for name in returned if name not in _TABLE_FIXED]
            if not columns:
                raise ValueError(
                    f"{place}: the statement of a table must return id, keys, its columns[, {UNTIL}]; it has no column"
                )
            _fit(place, returned, "keys", _IDS)
            for name in columns:
                _fit(place, returned, name, {"float8[]"})
        else:
            returned = await self._check(place, feature.sql, _FEATURE)
            if feature.type in _COLUMN_TYPES:
                _fit(place, returned, "value", _COLUMN_TYPES[feature.type])
        if UNTIL in returned:
            _fit(place, returned, UNTIL, _INSTANT)
        self._questions[feature.number] = _question(feature, returned)
        if feature.relative is not None:
            place = f"{place}: relative_to_maximum: maximum"
            _fit(place, await self._check(place, feature.relative.maximum, _MAXIMUM), "at", _INSTANT)

    async def _check(self, place: str, sql: str, contract: _Contract) -> dict[str, str]:
        """The types of the columns that it returns."""
        parameters, columns, optional = contract
        try:
            types, returned = await self._database.describe(sql)
        except StatementError as error:
            raise ValueError(f"{place}: its statement is refused: {error}") from error
        if len(types) != len(parameters) or any(
            given not in allowed for given, (_, allowed) in zip(types, parameters, strict=True)
        ):
            wanted = ", ".join(name for name, _ in parameters)
            raise ValueError(f"{place}: its statement must take {wanted}; it takes {', '.join(types) or 'nothing'}")
        # A column of another name is a mistake in the name of one that may be left out.
        if not set(columns) <= set(returned) or (optional and not set(returned) <= {*columns, *optional}):
            wanted = ", ".join(columns) + "".join(f"[, {name}]" for name in optional)
            raise ValueError(f"{place}: its statement must return {wanted}; it returns {', '.join(returned)}")
        return returned

    async def compute(self, feature: Feature, ids: Sequence[str], now_ms: int) -> dict[str, Outcome]:
        """See FeatureComputer. What is asked for in one turn of the loop, as of one instant, is one statement."""
        question = self._questions.get(feature.number) or _question(feature, None)
        return await self._statements.ask(question, ids, now_ms)

    async def maximum(self, feature: Feature, instants: Sequence[int]) -> dict[int, float]:
        """See FeatureComputer."""
        if feature.relative is None:
            return {}
        rows = await self._database.fetch(feature.relative.maximum, [instant(at) for at in instants])
        return {(row["at"] - _EPOCH) // _MILLISECOND: float(row["value"]) for row in rows}

    async def known(self, entity: Entity, ids: Sequence[str]) -> set[str]:
        """See FeatureComputer."""
        return {row["id"] for row in await self._database.fetch_planned(entity.known, list(ids))}

    async def active(self, entity: Entity, after: str, now_ms: int, limit: int) -> list[str]:
        """See FeatureComputer."""
        return [row["id"] for row in await self._database.fetch(entity.active, after, instant(now_ms), limit)]

    async def standing(self, entity: Entity, ids: Sequence[str], now_ms: int) -> Standing:
        """See FeatureComputer. One statement with whatever else is asked of these ids as of this instant."""
        if not ids:
            return Standing(set(), set())
        asked = [self._of_ids(sql) for sql in (entity.known, entity.idle) if sql is not None]
        known, *idle = await asyncio.gather(*(self._statements.ask(question, ids, now_ms) for question in asked))
        return Standing(set(known), set().union(*idle))

    def _of_ids(self, sql: str) -> Question:
        """A statement that returns some of the ids, as a question; it need not take the instant."""
        if sql not in self._questions:
            declared = sql.rstrip().removesuffix(";")  # which a statement may end with, but not within another
            asked = f"SELECT id FROM (\n{declared}\n) AS ids WHERE $2::timestamptz IS NOT NULL"  # noqa: S608 - declared
            number = -2 - zlib.crc32(sql.encode())  # no feature's
            self._questions[sql] = Question(number, asked, _ids, {"id": "text"})
        return self._questions[sql]

    async def of_products(self, entity: Entity, product_ids: Sequence[str], now_ms: int) -> list[str]:
        """See FeatureComputer."""
        if entity.of_products is None:
            return []
        rows = await self._database.fetch(entity.of_products, list(product_ids), instant(now_ms))
        return [row["id"] for row in rows]


def _fit(place: str, returned: dict[str, str], column: str, allowed: set[str]) -> None:
    if returned[column] not in allowed:
        raise ValueError(f"{place}: {column} must be {' or '.join(sorted(allowed))}; it is {returned[column]}")


def _ids(rows: Iterable[Any], now_ms: int) -> dict[str, Outcome]:
    return {row["id"]: NO_EVIDENCE for row in rows}


def _question(feature: Feature, columns: Mapping[str, str] | None) -> Question:
    return Question(feature.number, feature.sql, partial(_outcomes, feature), columns, feature.plan_anew)


def _outcomes(feature: Feature, rows: Iterable[Any], now_ms: int) -> dict[str, Outcome]:
    return {row["id"]: _outcome(feature, row, now_ms) for row in rows}


def _outcome(feature: Feature, row: Any, now_ms: int) -> Outcome:
    value = value_of(feature, row)
    until = row.get(UNTIL)
    if until is None:
        return Outcome(value)
    # Up to the next millisecond, which is how instants are asked for: until then the event at the edge counts.
    until_ms = -((_EPOCH - until) // _MILLISECOND)
    if until_ms <= now_ms:
        raise ValueError(f"{feature.name}: its statement returned a {UNTIL} that is not after now")
    return Outcome(value, until_ms)


def value_of(feature: Feature, row: Any) -> Value | None:
    """What a row of a feature's statement says; TypeError or ValueError when that is not of the feature's type.

    A row may have more columns than the statement returned, if they are single numbers.
    """
    if feature.type is FeatureType.TABLE:
        return None if row["keys"] is None else _table(feature, row)
    return None if row["value"] is None else _value(feature, row["value"])


def _value(feature: Feature, raw: Any) -> Value:
    """A column's value as the feature's type; TypeError or ValueError when the statement returns something else."""
    kind = feature.type
    if kind is FeatureType.INT:
        return int(raw)
    if kind is FeatureType.DOUBLE:
        return _finite(feature, [raw])[0]
    if kind is FeatureType.TIMESTAMP:
        instant_ms: int = round(raw.timestamp() * 1_000)
        return instant_ms
    if kind is FeatureType.VECTOR:
        return _finite(feature, raw)
    if kind is FeatureType.STRING_LIST:
        return [str(element) for element in raw]
    expected = str if kind is FeatureType.STRING else bool
    if not isinstance(raw, expected):
        raise TypeError(f"{feature.name}: its statement returned {type(raw).__name__}, not {kind.value}")
    value: Value = raw
    return value


def _table(feature: Feature, row: Any) -> Table:
    """The columns of a table are those of the row that are no part of the contract, in its order."""
    keys = tuple(row["keys"])
    by_name = {n: column for n, column in row.items() if n not in _TABLE_FIXED and not isinstance(column, int)}
    columns = list(by_name.values())
    if None in keys or len(set(keys)) < len(keys):
        raise ValueError(f"{feature.name}: its statement returned a key twice, or null for one")
    if any(column is None or len(column) != len(keys) for column in columns):
        raise ValueError(f"{feature.name}: its statement returned columns that are not as long as keys")
    values = _finite(feature, (number for of_key in zip(*columns, strict=True) for number in of_key))
    return Table(keys, tuple(by_name), tuple(values))


def _finite(feature: Feature, numbers: Iterable[Any]) -> list[float]:
    """TypeError for null, ValueError for what is no number to count with."""
    result = [float(number) for number in numbers]
    if not all(map(math.isfinite, result)):
        raise ValueError(f"{feature.name}: its statement returned a number that is not finite")
    return result
