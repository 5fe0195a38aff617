"""Statements over ids as of an instant, asked together where their callers ask at the same moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from services.features.domain.features import Outcome
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
# Callers make up what is asked for together; of so many groups the common statement is remembered.
_MOST_GROUPS = 1_000

Outcomes = dict[str, Outcome]
# Instant, question, and the ids where they are many.
_Place = tuple[int, int, tuple[str, ...]]
# By the number of each question in it.
_Statement = asyncio.Task[dict[int, Outcomes | Exception]]


class Question(NamedTuple):
    """A statement over $1 ids and $2 now. ``number``: another one's is another.

    ``columns``: what it returns, names and types; without them it is asked alone. ``convert``: what its rows say, which
    are as of an instant (ms).
    """

    number: int
    sql: str
    convert: Callable[[Sequence[Any], int], Outcomes]
    columns: Mapping[str, str] | None = None
    plan_anew: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What one caller wants."""

    question: Question
    ids: Sequence[str]
    now_ms: int

    @property
    def place(self) -> _Place:
        """Equal where the ids may be asked for together."""
        return self.now_ms, self.question.number, tuple(self.ids) if len(self.ids) > _FEW else ()


class Statements:
    """One statement for all questions and ids that are asked for in one turn of the loop as of one instant."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._together: Together[_Asked, _Statement] = Together(self._answering, _MOST)
        self._running: set[_Statement] = set()
        # By the numbers of questions, ascending.
        self._combined: dict[tuple[int, ...], Combined | None] = {}
        # The same, also of one that is wrong or slow itself.
        self._apart_until: dict[tuple[int, ...], float] = {}

    async def ask(self, question: Question, ids: Sequence[str], now_ms: int) -> Outcomes:
        """What the statement says of each id, or the failure of this statement."""
        asked = _Asked(question, ids, now_ms)
        statement = (await self._together.run((asked,)))[asked]
        found = (await asyncio.shield(statement))[question.number]
        if isinstance(found, Exception):
            raise found
        return {i: found[i] for i in ids if i in found}  # others may have asked for others

    async def _answering(self, calls: Sequence[_Asked]) -> dict[_Asked, _Statement]:
        """The statement that answers each: nobody waits for another one's."""
        ids: dict[_Place, dict[str, None]] = {}
        for call in calls:
            ids.setdefault(call.place, {}).update(dict.fromkeys(call.ids))
        groups: dict[tuple[int, tuple[str, ...], bool], dict[int, Question]] = {}
        for call in calls:
            group = call.now_ms, tuple(ids[call.place]), call.question.plan_anew
            groups.setdefault(group, {})[call.question.number] = call.question
        answering: dict[tuple[int, tuple[str, ...], int], _Statement] = {}
        for (now_ms, wanted, _), questions in groups.items():
            for part in self._parts(list(questions.values())):
                statement = asyncio.create_task(self._in_common(part, wanted, now_ms))
                self._running.add(statement)
                statement.add_done_callback(self._running.discard)
                answering.update(((now_ms, wanted, question.number), statement) for question in part)
        return {call: answering[call.now_ms, tuple(ids[call.place]), call.question.number] for call in calls}

    def _parts(self, questions: Sequence[Question]) -> list[list[Question]]:
        """What is asked together of a group: without what was wrong or slow lately, which costs itself alone."""
        apart = [[one] for one in questions if self._is_apart([one])]
        together = sorted((one for one in questions if [one] not in apart), key=lambda one: one.number)
        return [together, *apart] if together else apart

    async def _in_common(
        self, questions: Sequence[Question], ids: Sequence[str], now_ms: int
    ) -> dict[int, Outcomes | Exception]:
        """One that is wrong or slow is asked alone in the end, and so are the others of this time."""
        common = self._common(questions)
        if common is not None:
            try:
                rows = await self._rows(questions[0], common.sql, ids, now_ms)
                pairs = zip(questions, common.rows(rows), strict=True)
                return {one.number: one.convert(own, now_ms) for one, own in pairs}
            except SlowStatementError:
                pass
            except StoreDownError as error:
                return {one.number: error for one in questions}
            except Exception:  # noqa: S110 - whose it is will show: it happens to that one again
                pass
        found = await asyncio.gather(*(self._alone(one, ids, now_ms) for one in questions))
        if common is not None:
            # Where none fails alone it is their company: together they are too slow, or one is no part of another.
            wrong: list[Sequence[Question]] = [
                [one] for one, said in zip(questions, found, strict=True) if isinstance(said, Exception)
            ]
            until = time.monotonic() + _APART_SECONDS
            self._apart_until.update((_numbers(some), until) for some in wrong or [questions])
        return {one.number: said for one, said in zip(questions, found, strict=True)}

    async def _alone(self, question: Question, ids: Sequence[str], now_ms: int) -> Outcomes | Exception:
        try:
            rows = await self._rows(question, question.sql, ids, now_ms)
            return question.convert(rows, now_ms)
        except Exception as error:  # handed to those who asked
            return error

    async def _rows(self, question: Question, sql: str, ids: Sequence[str], now_ms: int) -> list[Any]:
        """Of the statement of a question, or of some that are planned as it is."""
        fetch = self._database.fetch if question.plan_anew else self._database.fetch_planned
        return await fetch(sql, list(ids), instant(now_ms))

    def _common(self, questions: Sequence[Question]) -> Combined | None:
        """The statement of all of them, ascending by number; None: they are asked one by one."""
        if len(questions) <= 1 or self._is_apart(questions):
            return None
        numbers = _numbers(questions)
        if numbers not in self._combined:
            if len(self._combined) >= _MOST_GROUPS:
                self._combined.clear()
                self._apart_until.clear()
            parts = [Part(one.sql, one.columns) for one in questions if one.columns is not None]
            self._combined[numbers] = combined(parts) if len(parts) == len(numbers) else None
        return self._combined[numbers]

    def _is_apart(self, questions: Sequence[Question]) -> bool:
        return time.monotonic() < self._apart_until.get(_numbers(questions), 0.0)


def _numbers(questions: Sequence[Question]) -> tuple[int, ...]:
    return tuple([one.number for one in questions])


def instant(ms: int) -> datetime:
    """Milliseconds since 1970 as PostgreSQL's driver takes them."""
    seconds, rest = divmod(ms, 1_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1_000)
