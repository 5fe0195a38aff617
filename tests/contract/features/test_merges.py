"""Random histories of guests who sign in and persons who are erased, beside an account of whose each event is."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from services.features.app import Parts
from services.features.domain.events import Event, Line, guest
from services.features.stores.erasure import PostgresErasure
from services.features.stores.merging import PostgresMerges

VISITORS, USERS = ["v1", "v2"], ["u1", "u2", "u3"]


class Account:
    """Whose each event is, by the words of the contract; times are microseconds."""

    def __init__(self) -> None:
        self.events: dict[str, tuple[str, int]] = {}
        self.merges: dict[str, list[tuple[int, str]]] = {visitor: [] for visitor in VISITORS}
        self.erased: dict[str, int] = {}

    def is_erased(self, subject: str, at: int) -> bool:
        return at <= self.erased.get(subject, -1)

    def write(self, name: str, visitor: str, at: int) -> bool:
        """Whether it is stored."""
        subject = guest(visitor)
        if not self.is_erased(subject, at):
            subject = next((user for until, user in self.merges[visitor] if at <= until), subject)
        if self.is_erased(subject, at):
            return False
        self.events[name] = subject, at
        return True

    def merge(self, visitor: str, user: str, now: int) -> None:
        rows, subject = self.merges[visitor], guest(visitor)
        if rows and rows[-1][1] == user:
            rows.pop()
        rows.append((now, user))
        if user in self.erased:
            self._bury(subject, self.erased[user])
        for name, (owner, at) in self.events.items():
            if owner == subject:
                self.events[name] = user, at

    def erase(self, subject: str, now: int) -> None:
        for visitor, rows in self.merges.items():
            for until, user in rows:
                if user == subject:
                    self._bury(guest(visitor), until)
            self.merges[visitor] = [] if guest(visitor) == subject else [row for row in rows if row[1] != subject]
        self._bury(subject, now)

    def _bury(self, subject: str, until: int) -> None:
        self.erased[subject] = max(until, self.erased.get(subject, until))
        for name in [name for name, (owner, at) in self.events.items() if owner == subject and at <= until]:
            del self.events[name]


class Shop:
    """The stores, and the account of what they were told."""

    def __init__(self, parts: Parts, chance: random.Random) -> None:
        self.parts = parts
        self.chance = chance
        self.account = Account()
        self.merging, self.erasure = PostgresMerges(parts.database), PostgresErasure(parts.database)
        # When something was decided, from and to: no event is dated in between, it could be on either side.
        self.decided: list[tuple[int, int]] = []
        self.first, self.sent = _now() - 1_000_000, 0

    async def write(self) -> None:
        at = self.chance.randint(self.first, _now() - 1_000)
        while any(start <= at <= end for start, end in self.decided):
            at -= 1_000
        self.sent += 1
        name, visitor = f"e{self.sent}", self.chance.choice(VISITORS)
        event = Event(
            name, "detail-page-view", "", visitor, "", at, (Line("p", 1, None),) * 2, None, None, None, "", "", {}
        )
        appended = await self.parts.log.append([event])
        assert list(appended.new) == [self.account.write(name, visitor, at)]

    async def merge(self) -> None:
        visitor, user = self.chance.choice(VISITORS), self.chance.choice(USERS)
        half = self.chance.random() < 0.3  # the process dies after a page
        async with self._deciding():
            if await self.merging.begin(visitor, user, _now()):
                while await self.erasure.remove(guest(visitor)):
                    pass
            while await self.merging.move(visitor) and not half:
                pass
        self.account.merge(visitor, user, self.decided[-1][1])
        if half:
            # Whoever comes next finishes it, also another user's merge: nobody has been answered before.
            if self.chance.random() < 0.5:
                await self.erase(user)
            while await self.merging.move(visitor):
                pass

    async def erase(self, subject: str | None = None) -> None:
        subject = subject or self.chance.choice([*USERS, *map(guest, VISITORS)])
        async with self._deciding():
            for one in (*await self.erasure.bury(subject, _now()), subject):
                while await self.erasure.remove(one):
                    pass
            await self.erasure.forget_merges(subject)
        self.account.erase(subject, self.decided[-1][1])

    @asynccontextmanager
    async def _deciding(self) -> AsyncIterator[None]:
        start = _now()
        yield
        self.decided.append((start - 2_000, _now() + 2_000))
        while _now() <= self.decided[-1][1]:
            pass

    async def owners(self, table: str) -> dict[str, set[str]]:
        rows = await self.parts.database.fetch(
            f"SELECT e.event_id, t.subject_id FROM {table} t JOIN (SELECT seq, event_id FROM events) e USING (seq)"
        )
        found: dict[str, set[str]] = {}
        for row in rows:
            found.setdefault(row["event_id"], set()).add(row["subject_id"])
        return found

    async def check(self) -> None:
        right = {name: {owner} for name, (owner, _) in self.account.events.items()}
        assert await self.owners("events") == right
        assert await self.owners("event_lines") == right
        known = await self.parts.database.fetch("SELECT subject_id FROM subjects")
        assert {row[0] for row in known} == {owner for owners in right.values() for owner in owners}
        user_columns = (
            "SELECT count(*) FROM events WHERE user_id IS DISTINCT FROM nullif(subject_id, '~' || visitor_id)"
        )
        assert (await self.parts.database.fetch(user_columns))[0][0] == 0
        lines = "SELECT count(*) FROM event_lines WHERE guest <> (left(subject_id, 1) = '~')"
        assert (await self.parts.database.fetch(lines))[0][0] == 0


def _now() -> int:
    return time.time_ns() // 1_000


@pytest.mark.parametrize("seed", range(6))
async def test_each_event_is_whose_the_contract_says(parts: Parts, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr("services.features.stores.merging._PAGE", 2)
    shop = Shop(parts, random.Random(seed))
    for _ in range(60):
        for _ in range(shop.chance.randint(0, 3)):
            await shop.write()
        step = shop.chance.random()
        if step < 0.5:
            await shop.merge()
        elif step < 0.7:
            await shop.erase()
        await shop.check()
    assert shop.sent > 50
