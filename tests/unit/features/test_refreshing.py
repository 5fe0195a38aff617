"""What becomes of claims when a statement fails, and of the others when a part of the store is down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from services.features.domain.features import (
    KNOWN,
    NO_TOKEN,
    Entity,
    Entry,
    Feature,
    FeatureType,
    OnEvent,
    Outcome,
    Record,
)
from services.features.domain.relative import Relative
from services.features.ports import EVENT_LOG, ONLINE_STORE, Claim, SlowStatementError, Standing, StoreDownError
from services.features.refreshing import Refresher
from services.features.stores.keys import due_key
from services.features.stores.queue import RedisDueQueue
from services.features.stores.redis import Command, RedisStore
from services.runtime.lifecycle import background
from tests.support.waiting import eventually
from tests.unit.features.test_values import feature

NOW = 1_000_000
CLAIM = Claim("p1", NOW + 30_000, NOW - 5)
FAME = feature(1, type=FeatureType.DOUBLE, on_event=OnEvent.QUEUE, relative=Relative(100.0, 3_600_000, 2, ""))
PLAIN = feature(2, on_event=OnEvent.QUEUE)
PRODUCT = Entity("Product", 10, {f.name: f for f in (FAME, PLAIN)}, "", "", None)


class Stores:
    """One product that is due; the statement of one of its features is too slow."""

    def __init__(self, slow: Feature) -> None:
        self.slow = slow
        self.written: dict[int, Entry] = {}
        self.completed: list[tuple[Claim, int | None]] = []
        self.refresher = Refresher([PRODUCT], self, self, self, self, lambda: NOW, lambda: 0.0, 1.0)  # type: ignore[arg-type]  # what it needs of them

    async def claim(self, entity: str, now_ms: int, limit: int) -> list[Claim]:
        return [CLAIM]

    async def complete(self, entity: str, done: Sequence[tuple[Claim, int | None]]) -> None:
        self.completed += done

    async def read(self, entity: str, ids: Sequence[str]) -> list[Record]:
        return [Record(b"token---", {KNOWN: Entry(NOW, NO_TOKEN, True)})]

    async def write(
        self, entity: str, ttl_ms: int, entries: Mapping[str, tuple[Record, Mapping[int, Entry]]]
    ) -> set[str]:
        self.written.update(entries["p1"][1])
        return set()

    async def standing(self, entity: Entity, ids: Sequence[str], now_ms: int) -> Standing:
        return Standing(set(ids), set())

    async def compute(self, wanted: Feature, ids: Sequence[str], now_ms: int) -> dict[str, Outcome]:
        if wanted is self.slow:
            raise SlowStatementError(EVENT_LOG, "a statement took too long")
        return {i: Outcome(2.0) for i in ids}

    async def put(self, wanted: Feature, levels: Mapping[str, float | None], computed_ms: int) -> float | None:
        return None


async def test_an_old_magnitude_stays_claimed_when_the_statement_fails() -> None:
    """Given back, it would count as computed, and readers would take it for right by now."""
    stores = Stores(slow=FAME)
    await stores.refresher.refresh(PRODUCT)
    assert (stores.completed, set(stores.written)) == ([], {KNOWN, PLAIN.number})


async def test_a_statement_that_fails_costs_its_own_feature() -> None:
    stores = Stores(slow=PLAIN)
    await stores.refresher.refresh(PRODUCT)
    assert [claim for claim, due in stores.completed if due] == [CLAIM]
    assert set(stores.written) == {KNOWN, FAME.number}


class HalfDown(RedisStore):
    """Counts one entity that is due of each type; but the server that has the users' queue is down."""

    ordered = False

    def __init__(self, *down: str) -> None:
        self.down = {due_key(entity) for entity in down}

    def slot(self, key: str) -> int:
        return 0

    async def send(self, commands: Sequence[Command], extra: float = 0.0) -> list[Any]:
        down = StoreDownError(ONLINE_STORE, "cut")
        return [down if one.key in self.down else 1 if one.words[0] == "ZCOUNT" else [] for one in commands]


async def test_a_queue_that_is_down_keeps_no_other_from_being_refreshed() -> None:
    stores = Stores(slow=FAME)
    queue = RedisDueQueue(HalfDown("User"), ["User", "Product"])
    user = Entity("User", 10, {}, "", "", None)

    async def claim(entity: str, now_ms: int, limit: int) -> list[Claim]:
        if entity == "User":
            raise StoreDownError(ONLINE_STORE, "cut")
        return [CLAIM]

    stores.claim = claim  # type: ignore[method-assign]  # a queue of which a part is down
    stores.look = queue.look  # type: ignore[attr-defined]  # asked by the loop only
    refresher = Refresher([user, PRODUCT], stores, stores, stores, stores, lambda: NOW, lambda: 0.0, 1.0)  # type: ignore[arg-type]  # what it needs of them
    async with background("refresher", refresher.run()):
        await eventually(lambda: PLAIN.number in stores.written)


async def test_without_any_queue_nobody_knows_what_is_due() -> None:
    queue = RedisDueQueue(HalfDown("User", "Product"), ["User", "Product"])
    with pytest.raises(StoreDownError):
        await queue.look(NOW)
