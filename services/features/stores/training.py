"""Training rows from PostgreSQL: lines by event time, and features as of many instants by their declared statements."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from services.features.domain.features import Feature, Value
from services.features.domain.training import Moment, TrainingRows
from services.features.stores.computing import UNTIL, value_of
from services.features.stores.postgres import Database
from services.features.training_ports import Question
from services.runtime.turns import mapped

_ROWS = """
SELECT subject_id, product_id, event_type::text, round(date_part('epoch', event_time) * 1000)::bigint, quantity, seq,
       CASE WHEN event_type = 'rate' THEN coalesce(rating, 0) ELSE 0 END, event_time, line
FROM event_lines
WHERE event_time >= $1::timestamptz
  AND (event_time, seq, line) > ($1::timestamptz, $2::bigint, $3::smallint)
  AND event_time < $4::timestamptz
  AND event_type = ANY ($5::text[]::event_type[])
  AND NOT guest
ORDER BY event_time, seq, line
LIMIT $6
"""

# The lines do not have it. Between two instants of the log: of its partitions, a page needs one or two.
_DEVICES = """
SELECT e.seq, e.device
FROM unnest($1::text[], $2::timestamptz[], $3::bigint[]) AS asked (subject_id, event_time, seq)
JOIN events e ON e.subject_id = asked.subject_id AND e.event_time = asked.event_time AND e.seq = asked.seq
WHERE e.event_time >= $4::timestamptz AND e.event_time <= $5::timestamptz AND e.device IS NOT NULL
"""

# The declared statement, not a letter changed, as a function of the session: PostgreSQL itself puts a row's id and
# instant in the place of $1 and $2, and plans it as a part of the query that calls it.
_CREATE_FUNCTION = """
SELECT format(
  'CREATE FUNCTION pg_temp.%I(text[], timestamptz) RETURNS TABLE (%s) LANGUAGE sql STABLE PARALLEL SAFE AS %L',
  $1::text,
  (
    SELECT string_agg(format('%I %s', name, format_type(type, NULL)), ', ' ORDER BY place)
    FROM unnest($2::text[], $3::oid[]) WITH ORDINALITY AS c (name, type, place)
  ),
  $4::text
)
"""

_VALUES = """
SELECT asked.place, {columns}
FROM unnest($1::text[], $2::timestamptz[]) WITH ORDINALITY AS asked (id, at, place)
CROSS JOIN LATERAL pg_temp.{function}(ARRAY[asked.id], asked.at) AS answer
WHERE answer.id = asked.id
"""

# The planner does not know whose lines these will be, nor of when: between two unknown instants lies, it supposes, half
# a percent of every month, and as those lines are neighbours on disk it would rather read all of them for each row than
# look up the id. Pages cost nothing here: then it is the number of lines that decides.
_COUNT_LINES_ONLY = "SET LOCAL random_page_cost = 0; SET LOCAL seq_page_cost = 0"

# A page of rows or a step's values, from a disk that has not seen them lately.
_TIMEOUT = 120.0
# Steps that are taken at once, of all who train: shoppers need the connections, and the cores.
_READS = 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Statement(NamedTuple):
    """A declared statement as a function: its name, and how it is made and called."""

    function: str
    names: Sequence[str]
    types: Sequence[int]
    call: str


class PostgresTraining:
    """Implements TrainingLog. Between two steps it holds nothing: when the next one comes is up to a client."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reads = asyncio.Semaphore(_READS)
        # By the number of a feature, which another statement would change.
        self._statements: dict[int, _Statement] = {}

    async def rows(
        self, start_us: int, end_us: int, event_types: Sequence[str], page: int
    ) -> AsyncGenerator[TrainingRows, None]:
        """See TrainingLog."""
        place, end = (_instant(start_us), -1, -1), _instant(end_us)
        while True:
            async with self._reads, self._database.patient() as connection:
                rows = await connection.fetch(_ROWS, *place, end, list(event_types), page, timeout=_TIMEOUT)
                if not rows:
                    return
                *columns, times, lines = zip(*rows, strict=True)
                subjects, numbers = columns[0], columns[5]
                events = {seq: (subject, time) for seq, subject, time in zip(numbers, subjects, times, strict=True)}
                found = await connection.fetch(
                    _DEVICES, *zip(*events.values(), strict=True), list(events), times[0], times[-1], timeout=_TIMEOUT
                )
            devices = dict(map(tuple, found))
            times_us = await mapped(lambda time: (time - _EPOCH) // _MICROSECOND, times, 1_000)
            yield TrainingRows._make([*columns, [devices.get(seq, "") for seq in numbers], times_us])
            if len(rows) < page:
                return
            place = (times[-1], numbers[-1], lines[-1])

    async def values(self, questions: Sequence[Question]) -> list[list[Value | None]]:
        """See TrainingLog."""
        async with self._reads, self._database.patient() as connection:
            await connection.execute(_COUNT_LINES_ONLY)
            return [await self._values(connection, feature, moments) for feature, moments in questions]

    async def _values(self, connection: Any, feature: Feature, moments: Sequence[Moment]) -> list[Value | None]:
        statement = await self._prepared(connection, feature)
        ids, instants = [moment.id for moment in moments], [_instant(moment.at_us) for moment in moments]
        values: list[Value | None] = [None] * len(moments)
        for row in await connection.fetch(statement.call, ids, instants, timeout=_TIMEOUT):
            (_, place), *columns = row.items()
            values[place - 1] = value_of(feature, dict(columns))
        if feature.relative is None:
            return values
        # Magnitudes, until the greatest of each instant is known.
        rows = await connection.fetch(feature.relative.maximum, list(dict.fromkeys(instants)), timeout=_TIMEOUT)
        greatest = {row["at"]: float(row["value"]) for row in rows}
        return [
            feature.relative.score(value, greatest.get(at, 0.0)) if isinstance(value, float) else None
            for value, at in zip(values, instants, strict=True)
        ]

    async def _prepared(self, connection: Any, feature: Feature) -> _Statement:
        """The statement, which the connection knows as a function from now on."""
        statement = self._statements.get(feature.number)
        if statement is None:
            columns = (await connection.prepare(feature.sql)).get_attributes()
            statement = _statement(feature, {column.name: column.type.oid for column in columns})
            self._statements[feature.number] = statement
        there = "SELECT to_regprocedure($1) IS NOT NULL"
        if not await connection.fetchval(there, f"pg_temp.{statement.function}(text[], timestamptz)"):
            create = await connection.fetchval(
                _CREATE_FUNCTION, statement.function, statement.names, statement.types, feature.sql
            )
            await connection.execute(create)
        return statement


def _statement(feature: Feature, columns: dict[str, int]) -> _Statement:
    function = f"feature_{feature.number}"
    wanted = ", ".join('answer."{}"'.format(name.replace('"', '""')) for name in columns if name != UNTIL)
    return _Statement(
        function, list(columns), list(columns.values()), _VALUES.format(columns=wanted, function=function)
    )


def _instant(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
