"""Concurrent reads of an entity compute it once, in whatever batches they ask for it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

import pytest

from services.features.domain.features import KNOWN, NO_TOKEN, Entity, Entry, Feature, OnEvent, Outcome, Record, Status
from services.features.domain.relative import Maximum
from services.features.ports import EVENT_LOG, NO_COUNTERS, Counters, Meanwhile, StoreDownError, Touched
from services.features.reading import Answer, Reader
from services.features.stores.packing import pack, unpack
from tests.support.folding import fold
from tests.unit.features.test_values import feature

ONE, TWO = feature(1, materialize=False), feature(2, materialize=False)
QUEUED = feature(3, on_event=OnEvent.QUEUE)
USER = Entity("User", 10, {f.name: f for f in (ONE, TWO, QUEUED)}, "", "", None)
NOW = 1_000_000


class Stores:
    """Records and a queue that keep nothing, a log whose statements wait for their release."""

    generation = 0

    def __init__(self) -> None:
        self.token = b"token---"
        self.statements: list[tuple[str, list[str]]] = []
        self.cancelled = 0
        self.down = False
        self.kept: dict[int, Entry] = {}
        # Whose marks are owed: they are made when their records have been read.
        self.owed = set[str]()
        self.queued: list[Mapping[str, int]] = []
        self.now_ms = NOW
        self.release = asyncio.Event()
        self.reader = Reader(self, self, self, self, self, lambda: self.now_ms, lambda: 0.5, fold)  # type: ignore[arg-type]  # what it needs of them

    def owes(self, entity: str, entity_id: str) -> bool:
        return entity_id in self.owed

    @property
    def in_debt(self) -> bool:
        return bool(self.owed)

    async def of(self, entity: Entity, features: Sequence[Feature]) -> dict[str, Maximum]:
        return {}

    async def packed(self, entity: str, ids: Sequence[str], meanwhile: Meanwhile | None = None) -> list[bytes | None]:
        self.owed.clear()
        return [self.token + pack(self.kept, tight=True)] * len(ids)

    def unpack(self, packed: bytes | None, only: Collection[int] | None = None) -> Record:
        return unpack(packed, only)

    async def write(
        self, entity: str, ttl_ms: int, entries: Mapping[str, tuple[Record, Mapping[int, Entry]]]
    ) -> set[str]:
        return set()

    async def enqueue(self, entity: str, due: Mapping[str, int]) -> None:
        self.queued.append(due)

    async def mark(
        self, touched: Touched, now_ms: int, transactions: Sequence[int], some: Counters = NO_COUNTERS
    ) -> None:
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

    def ask(self, *ids: str, features: Sequence[Feature] = (ONE,), fresh: bool = False) -> asyncio.Task[Answer]:
        return asyncio.create_task(self.reader.read(USER, ids, features, fresh))

    async def asked(self, statements: int) -> None:
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(self.statements) == statements


def values(answer: Answer, name: str = ONE.name) -> list[tuple[object, Status]]:
    column = answer.columns[name]
    return list(zip(column.values, column.statuses, strict=True))


async def test_each_entity_is_in_one_statement_of_each_feature() -> None:
    stores = Stores()
    batches = [["a"], ["a", "bb"], ["bb", "a", "ccc"], ["ccc"], ["a", "ccc", "a"]]
    reads = [stores.ask(*batch, features=(ONE, TWO)) for batch in batches]
    await stores.asked(6)
    stores.release.set()
    for batch, read in zip(batches, reads, strict=True):
        answer = await read
        for name in (ONE.name, TWO.name):
            assert values(answer, name) == [(len(i), Status.PRESENT) for i in batch]
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


async def test_what_has_aged_is_refreshed_together_with_what_others_read() -> None:
    """Whoever comes meanwhile; a pass of the worker costs more than what it computes of one."""
    long, short = (feature(n, refresh_ms=ms, ttl_ms=10**9) for n, ms in ((4, 300_000), (5, 1_000)))
    user = Entity("User", 10, {f.name: f for f in (long, short)}, "", "", None)
    stores = Stores()
    stores.kept = {KNOWN: Entry(0, NO_TOKEN, True)} | {n: Entry(0, stores.token, n) for n in (4, 5)}
    for stores.now_ms in (1_000_001, 1_000_499):
        answer = await stores.reader.read(user, ["a"], [long])
        assert values(answer, long.name) == [(4, Status.STALE)]
    await stores.reader.read(user, ["a"], [long, short])
    assert stores.queued == [{"a": 1_000_500}, {"a": 1_000_500}, {"a": 1_000_500}]
    stores.now_ms = 1_000_001
    await stores.reader.read(user, ["a"], [long, short])
    assert stores.queued[3:] == [{"a": 1_000_010}]


async def test_a_caller_that_gives_up_fails_nobody() -> None:
    stores = Stores()
    first, second = stores.ask("a", "bb"), stores.ask("bb")
    await stores.asked(1)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    stores.release.set()
    assert values(await second) == [(2, Status.PRESENT)]
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
        assert (list(answer.degraded), values(answer)[0]) == (["event-log"], (None, Status.UNAVAILABLE))
    stores.down = False
    assert values(await stores.ask("bb")) == [(2, Status.PRESENT)]


async def test_a_refresh_does_not_join_what_began_before_an_event_that_leaves_no_token() -> None:
    stores = Stores()
    reads = [stores.ask("a", features=[QUEUED]) for _ in range(2)]
    await stores.asked(1)
    refreshed = stores.ask("a", features=[QUEUED], fresh=True)
    await stores.asked(2)
    stores.release.set()
    await asyncio.gather(*reads, refreshed)


async def test_a_mark_that_is_made_while_the_record_is_on_its_way_is_not_missed() -> None:
    stores = Stores()
    stores.kept = {KNOWN: Entry(NOW, NO_TOKEN, True), ONE.number: Entry(NOW, stores.token, 7)}
    stores.release.set()
    assert values(await stores.ask("a")) == [(7, Status.PRESENT)]
    stores.owed = {"a"}
    assert values(await stores.ask("a", "bb")) == [(1, Status.PRESENT), (7, Status.PRESENT)]


async def test_what_misses_a_mark_is_stale_when_the_log_is_down() -> None:
    stores = Stores()
    stores.kept = {KNOWN: Entry(NOW, NO_TOKEN, True), ONE.number: Entry(NOW, stores.token, 7)}
    stores.release.set()
    stores.down, stores.owed = True, {"a"}
    answer = await stores.ask("a", "bb")
    assert values(answer) == [(7, Status.STALE), (7, Status.PRESENT)]
