"""An answer that is made while the store is asked is given only if it is what would have been made afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from services.features.domain.features import KNOWN, NO_TOKEN, Entry, Status
from services.features.domain.settled import Column
from services.features.ports import Meanwhile
from services.features.reading import Reader
from services.features.stores.packing import pack
from tests.support.folding import columns_of, fold
from tests.unit.features.test_reading import NOW, ONE, TWO, USER, Stores

REFRESH = min(ONE.refresh_ms, ONE.ttl_ms)


class Held(Stores):
    """Records at hand; between the guess and the store's word something happens."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ms = NOW
        self.guesses = 0
        self.values = {"a": 1, "bb": 2}
        # Whether what is owed is so no more once it was looked at.
        self.paid = False
        self.happens: Callable[[], object] = lambda: None
        self.reader = Reader(self, self, self, self, self, lambda: self.now_ms, lambda: 0.5, fold)  # type: ignore[arg-type]  # as there
        self.release.set()

    def owes(self, entity: str, entity_id: str) -> bool:
        owes = super().owes(entity, entity_id)
        if owes and self.paid:
            self.owed = set()
        return owes

    def records(self, ids: Sequence[str]) -> list[bytes | None]:
        known = {KNOWN: Entry(NOW, NO_TOKEN, True)}
        return [self.token + pack(known | {ONE.number: Entry(NOW, self.token, self.values[i])}, True) for i in ids]

    async def packed(self, entity: str, ids: Sequence[str], meanwhile: Meanwhile | None = None) -> list[bytes | None]:
        held = self.records(ids)
        if meanwhile is not None:
            meanwhile(held)
            self.guesses += 1
        self.happens()
        now = self.records(ids)
        return held if now == held else now

    async def read(self, *ids: str) -> Column:
        answer = await self.reader.read_rows(USER, ids, [ONE], None, lambda answer: answer)
        return columns_of([ONE], answer.found)[ONE.name]


async def test_the_guess_is_the_answer_where_nothing_happens() -> None:
    stores = Held()
    for _ in range(4):
        assert await stores.read("a", "bb", "a") == ((1, 2, 1), (Status.PRESENT,) * 3, (NOW,) * 3)
    assert (stores.guesses, stores.statements) == (4, [])


def changed(stores: Held) -> None:
    stores.values["bb"] = 7


def marked(stores: Held) -> None:
    stores.token = b"another-"


def owed(stores: Held) -> None:
    stores.owed = {"bb"}


def owed_for_a_moment(stores: Held) -> None:
    """The mark is made by the time the answer is: what was read lacks it."""
    stores.owed = {"bb"}
    stores.paid = True


def aged(stores: Held) -> None:
    stores.now_ms = NOW + REFRESH


@pytest.mark.parametrize(
    ("event", "computed", "value"),
    [(changed, [], 7), (marked, [], 2), (owed, ["bb"], 2), (owed_for_a_moment, ["bb"], 2), (aged, ["a", "bb"], 2)],
)
async def test_the_guess_is_dropped_where_something_happened(
    event: Callable[[Held], None], computed: list[str], value: int
) -> None:
    stores = Held()
    for _ in range(3):
        await stores.read("a", "bb")
    stores.happens = lambda: event(stores)
    column = await stores.read("a", "bb")
    assert [ids for _, ids in stores.statements] == ([computed] if computed else [])
    assert tuple(column.values) == (1, value)


async def test_what_cannot_be_guessed_is_computed() -> None:
    stores = Held()
    answer = await stores.reader.read_rows(USER, ("a", "bb", "a"), [TWO], None, lambda answer: answer)
    assert columns_of([TWO], answer.found)[TWO.name].values == (1, 2, 1)
    assert stores.statements == [(TWO.name, ["a", "bb"])]
