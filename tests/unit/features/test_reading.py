"""Concurrent reads of an entity compute it once, in whatever batches they ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from services.features.domain.features import EMPTY, Entity, Entry, Feature, Outcome, Record, Status
from services.features.domain.relative import Maximum
from services.features.ports import EVENT_LOG, StoreDownError, Touched
from services.features.reading import Answer, Reader
from tests.unit.features.test_values import feature

ONE, TWO = feature(1, materialize=False), feature(2, materialize=False)
USER = Entity("User", 10, {f.name: f for f in (ONE, TWO)}, "", "", None)
NOW = 1_000_000


class Stores:
    """Records and a queue that keep nothing, a log whose statements wait for their release."""

    generation, in_debt = 0, False

    def __init__(self) -> None:
        self.token = b"token---"
        self.statements: list[tuple[str, list[str]]] = []
        self.cancelled = 0
        self.down = False
        self.release = asyncio.Event()
        self.reader = Reader(self, self, self, self, self, lambda: NOW, lambda: 0.5)  # type: ignore[arg-type]  # what it needs of them

    def owes(self, entity: str, entity_id: str) -> bool:
        return False

    async def of(self, entity: Entity, features: Sequence[Feature]) -> dict[str, Maximum]:
        return {}

    async def read(self, entity: str, ids: Sequence[str]) -> list[Record]:
        return [EMPTY._replace(token=self.token)] * len(ids)

    async def write(
        self, entity: str, ttl_ms: int, entries: Mapping[str, tuple[Record, Mapping[int, Entry]]]
    ) -> set[str]:
        return set()

    async def enqueue(self, entity: str, due: Mapping[str, int]) -> None:
        pass

    async def mark(self, touched: Touched, now_ms: int, transactions: Sequence[int]) -> None:
        pass

    async def known(self, entity: Entity, ids: Sequence[str]) -> set[str]:
        return set(ids)

    async def compute(self, wanted: Feature, ids: Sequence[str], now_ms: int) -> dict[str, Outcome]:
        self.statements.append((wanted.name, list(ids)))
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.down:
            raise StoreDownError(EVENT_LOG, "gone")
        return {i: Outcome(len(i)) for i in ids}

    def ask(self, *ids: str, features: Sequence[Feature] = (ONE,)) -> asyncio.Task[Answer]:
        return asyncio.create_task(self.reader.read(USER, ids, features))

    async def asked(self, statements: int) -> None:
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(self.statements) == statements


async def test_each_entity_is_in_one_statement_of_each_feature() -> None:
    stores = Stores()
    batches = [["a"], ["a", "bb"], ["bb", "a", "ccc"], ["ccc"], ["a", "ccc", "a"]]
    reads = [stores.ask(*batch, features=(ONE, TWO)) for batch in batches]
    await stores.asked(6)
    stores.release.set()
    for batch, read in zip(batches, reads, strict=True):
        answer = await read
        for name in (ONE.name, TWO.name):
            assert [(r.value, r.status) for r in answer.readings[name]] == [(len(i), Status.PRESENT) for i in batch]
    for name in (ONE.name, TWO.name):
        assert [ids for asked, ids in stores.statements if asked == name] == [["a"], ["bb"], ["ccc"]]


async def test_after_an_event_a_read_does_not_join_what_began_before_it() -> None:
    stores = Stores()
    before = stores.ask("a")
    await stores.asked(1)
    stores.token = b"another-"
    after = stores.ask("a")
    await stores.asked(2)
    stores.release.set()
    await asyncio.gather(before, after)


async def test_a_caller_that_gives_up_fails_nobody() -> None:
    stores = Stores()
    first, second = stores.ask("a", "bb"), stores.ask("bb")
    await stores.asked(1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    stores.release.set()
    assert (await second).readings[ONE.name][0].value == 2
    assert (stores.statements, stores.cancelled) == ([(ONE.name, ["a", "bb"])], 0)


async def test_when_all_give_up_the_statement_is_cancelled() -> None:
    stores = Stores()
    reads = [stores.ask("a", "bb"), stores.ask("bb")]
    await stores.asked(1)
    for read in reads:
        read.cancel()
    await asyncio.wait(reads)
    for _ in range(10):
        await asyncio.sleep(0)
    assert stores.cancelled == 1


async def test_a_failure_is_everybodys_and_not_kept() -> None:
    stores = Stores()
    stores.down = True
    reads = [stores.ask("a", "bb"), stores.ask("bb"), stores.ask("bb", "ccc")]
    await stores.asked(2)
    stores.release.set()
    for read in reads:
        answer = await read
        assert (list(answer.degraded), answer.readings[ONE.name][0].status) == (["event-log"], Status.UNAVAILABLE)
    stores.down = False
    assert (await stores.ask("bb")).readings[ONE.name][0].value == 2
