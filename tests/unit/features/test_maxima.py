"""What readers know of the greatest of all, while stores answer, are behind, hang or are down."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from services.features.domain.features import Entity, Feature, FeatureType, OnEvent
from services.features.domain.relative import Maximum, Relative
from services.features.level_ports import Greatest
from services.features.maxima import Maxima
from services.features.ports import EVENT_LOG, ONLINE_STORE, SETTLE_MS, Pending, StoreDownError
from tests.support.waiting import eventually
from tests.unit.features.test_values import feature

HOUR = 3_600_000
SCALE = Relative(100.0, HOUR, 2, "")
FAME = feature(1, type=FeatureType.DOUBLE, on_event=OnEvent.QUEUE, relative=SCALE)
PLAIN = feature(2, on_event=OnEvent.QUEUE)
PRODUCT = Entity("Product", 10, {f.name: f for f in (FAME, PLAIN)}, "", "", None)
NOW = 1_000 * HOUR


class Stores:
    """A queue, levels and a log that say what the test tells them."""

    def __init__(self, rest: float = 0.0, patience: float = 5.0) -> None:
        self.now_ms = NOW
        self.pending_ = Pending(None, 7)
        self.greatest_ = Greatest(True, 3.0, 0, None)
        self.leaves: float | None = None  # the level that is left when the greatest leaves amid a look
        self.in_log = 8.0
        self.queue_down = self.log_down = self.log_hangs = False
        self.ticking = False  # each answer takes a millisecond
        self.asked: list[int] = []
        self.looks = 0
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.maxima = Maxima(self, self, self, lambda: self.now_ms, rest=rest, patience=patience)  # type: ignore[arg-type]  # what it needs of them

    async def pending(self, entity: str, now_ms: int) -> Pending:
        self.looks += 1
        await self.flowing.wait()
        self.now_ms += self.ticking
        if self.queue_down:
            raise StoreDownError(ONLINE_STORE, "gone")
        return self.pending_

    async def greatest(self, wanted: Feature, cursor: int | None) -> Greatest:
        assert cursor in (None, self.pending_.cursor)
        if self.log_down:
            raise StoreDownError(EVENT_LOG, "gone")
        self.now_ms += self.ticking
        if cursor is not None and self.leaves is not None:
            self.greatest_ = self.greatest_._replace(level=self.leaves)
        return self.greatest_

    async def maximum(self, wanted: Feature, instants: Sequence[int]) -> dict[int, float]:
        if self.log_down:
            raise StoreDownError(EVENT_LOG, "gone")
        self.asked += instants
        if self.log_hangs:
            await asyncio.Event().wait()
        return dict.fromkeys(instants, self.in_log)

    async def known(self) -> Maximum | None:
        self.now_ms += 100
        return (await self.maxima.of(PRODUCT, [FAME, PLAIN])).get(FAME.name)


async def test_with_nothing_waiting_it_is_of_now() -> None:
    stores = Stores()
    assert await stores.known() == Maximum(3.0, stores.now_ms, True, 3.0)
    assert await stores.maxima.of(PRODUCT, [PLAIN]) == {}
    assert stores.asked == []


async def test_who_asks_once_an_hour_is_told_of_now_too() -> None:
    stores = Stores()
    stores.ticking = True
    for _ in range(2):
        stores.now_ms += HOUR
        known = await stores.known()
        assert known is not None
        assert (known.whole, stores.now_ms - known.at_ms) == (True, 2)  # from before the two answers


async def test_it_is_kept_for_a_moment_and_looked_up_once_for_all() -> None:
    stores = Stores()
    first = await stores.known()
    stores.now_ms += 99
    assert (await stores.maxima.of(PRODUCT, [FAME]))[FAME.name] == first
    stores.now_ms += 1
    await asyncio.gather(*(stores.maxima.of(PRODUCT, [FAME]) for _ in range(20)))
    assert stores.looks == 2
    stores.now_ms -= HOUR  # the clock is set back
    assert (await stores.maxima.of(PRODUCT, [FAME]))[FAME.name].at_ms == stores.now_ms


async def test_who_asks_soon_before_it_is_old_does_not_wait_and_the_next_one_has_a_newer_one() -> None:
    stores = Stores()
    first = await stores.known()
    stores.flowing.clear()
    stores.now_ms += 79
    assert await stores.maxima.of(PRODUCT, [FAME]) == {FAME.name: first}
    stores.now_ms += 1
    async with asyncio.timeout(2):
        for _ in range(3):
            assert await stores.maxima.of(PRODUCT, [FAME]) == {FAME.name: first}
    assert await eventually(lambda: stores.looks == 2)
    stores.flowing.set()
    assert await eventually(lambda: stores.maxima._known[FAME.name].at_ms == stores.now_ms)
    assert stores.looks == 2
    await stores.maxima.close()


@pytest.mark.parametrize(
    ("waits", "arrived", "at"),
    [(NOW + 170, None, NOW + 169), (None, NOW + 160, NOW + 159), (NOW + 170, NOW + 190, NOW + 169)],
)
async def test_it_is_of_before_what_waits_and_what_may_be_unmarked(
    waits: int | None, arrived: int | None, at: int
) -> None:
    stores = Stores()
    await stores.known()
    stores.pending_ = Pending(waits, 7)
    stores.greatest_ = Greatest(True, 3.0, 0, arrived)
    assert await stores.known() == Maximum(3.0, at, True, 3.0)


async def test_where_marks_are_due_later_it_is_of_earlier() -> None:
    stores = Stores()
    entity = Entity("User", 10, {FAME.name: FAME, "r": feature(3)}, "", "", None)
    await stores.maxima.of(entity, [FAME])
    stores.now_ms += SETTLE_MS
    known = await stores.maxima.of(entity, [FAME])
    assert known[FAME.name].at_ms == stores.now_ms - SETTLE_MS


async def test_when_the_worker_is_behind_the_log_is_asked() -> None:
    stores = Stores()
    stores.pending_ = Pending(NOW - 5_000, 7)
    assert await stores.known() == Maximum(
        SCALE.level(8.0, NOW - 5_001), NOW - 5_001, True, SCALE.level(8.0, NOW - 5_001)
    )


async def test_levels_that_are_not_complete_are_not_believed() -> None:
    stores = Stores()
    stores.greatest_ = Greatest(False, 3.0, 0, None)
    assert await stores.known() == Maximum(
        SCALE.level(8.0, stores.now_ms), stores.now_ms, True, SCALE.level(8.0, stores.now_ms)
    )


@pytest.mark.parametrize("down", [True, False])
async def test_without_a_queue_that_knows_stored_values_may_be_wrong_by_now(down: bool) -> None:
    stores = Stores()
    stores.queue_down, stores.pending_ = down, Pending(None, None)
    assert await stores.known() == Maximum(
        SCALE.level(8.0, stores.now_ms), stores.now_ms, False, SCALE.level(8.0, stores.now_ms)
    )


async def test_what_may_know_of_more_than_its_instant_is_not_taken_for_a_while() -> None:
    stores = Stores()
    first = await stores.known()
    assert first is not None
    stores.pending_ = Pending(stores.now_ms + 50, 7)
    stores.greatest_ = Greatest(
        True, 4.0, stores.now_ms + 60, None
    )  # what waits is older than what raised the greatest
    assert await stores.known() == first._replace(newest=4.0)
    stores.pending_ = Pending(None, 7)
    assert await stores.known() == Maximum(4.0, stores.now_ms, True, 4.0)


async def test_that_the_greatest_has_left_is_taken_from_then_on_only() -> None:
    stores = Stores()
    before = await stores.known()
    assert before is not None
    left_ms = stores.now_ms + 50
    # The worker has it claimed, and no level of it is left.
    stores.pending_, stores.greatest_ = Pending(left_ms, 7), Greatest(True, 2.0, 0, None)
    for _ in range(2):
        assert await stores.known() == before._replace(newest=2.0)
    stores.pending_ = Pending(None, 7)
    assert await stores.known() == Maximum(2.0, stores.now_ms, True, 2.0)
    stores.greatest_ = Greatest(True, None, 0, None)
    assert await stores.known() == Maximum(None, stores.now_ms, True, None)


@pytest.mark.parametrize("unasked_ms", [None, HOUR])
async def test_that_the_greatest_leaves_amid_a_look_is_noticed_by_the_first_one_too(unasked_ms: int | None) -> None:
    """Nobody has looked before, or nobody since it became the greatest: no look tells that there was a greater one."""
    stores = Stores()
    before = None
    if unasked_ms is not None:
        stores.greatest_ = Greatest(True, 2.0, 0, None)
        before = await stores.known()
        stores.now_ms += unasked_ms
    stores.greatest_, stores.leaves = Greatest(True, 3.0, 0, None), 2.0
    stores.ticking = True
    known = await stores.known()
    left_ms = stores.now_ms
    assert known is not None
    assert known == (Maximum(2.0, known.at_ms, False, 2.0) if before is None else before)
    known = await stores.known()
    assert known is not None
    assert (known.level, known.whole, known.at_ms > left_ms) == (2.0, True, True)


async def test_of_what_was_before_the_first_look_it_knows_nothing() -> None:
    stores = Stores()
    stores.pending_ = Pending(NOW + 50, 7)
    assert await stores.known() == Maximum(3.0, stores.now_ms, False, 3.0)


async def test_where_the_greatest_changes_all_the_time_it_is_taken_in_the_end() -> None:
    stores = Stores()
    for seconds in range(12):
        stores.now_ms += 900
        at_ms = stores.now_ms + 50
        stores.pending_ = Pending(at_ms + 1, 7)
        stores.greatest_ = Greatest(True, 4.0 + seconds, at_ms + 5, None)
        known = await stores.known()
        assert known is not None
        assert (known.whole, known.newest) == (seconds == 11, 4.0 + seconds)
        if known.whole:
            assert (known.level, known.at_ms) == (15.0, at_ms)


async def test_while_the_log_is_slow_the_levels_do() -> None:
    stores = Stores(patience=0.01)
    stores.queue_down = True
    stores.log_hangs = True
    assert await stores.known() == Maximum(3.0, stores.now_ms, False, 3.0)
    await stores.maxima.close()


async def test_the_log_is_not_asked_all_the_time() -> None:
    stores = Stores(rest=1e9)
    stores.pending_ = Pending(NOW - 5_000, 7)
    first = await stores.known()
    assert await stores.known() == first
    assert len(stores.asked) == 1
    stores.pending_ = Pending(None, 7)  # the worker has caught up
    assert await stores.known() == Maximum(3.0, stores.now_ms, True, 3.0)


async def test_the_last_known_one_stays_when_the_log_goes() -> None:
    stores = Stores()
    first = await stores.known()
    stores.log_down = True
    assert await stores.known() == first


async def test_a_store_that_hangs_holds_no_reader() -> None:
    stores = Stores(patience=0.0)
    stores.flowing.clear()
    assert await stores.known() is None
    stores.flowing.set()
    first = await stores.maxima.needed(PRODUCT, FAME, SCALE)
    stores.flowing.clear()
    assert await stores.known() == first
    await stores.known()
    assert stores.looks == 2  # the one that hangs is all there is
    await stores.maxima.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_who_needs_it_is_told_when_it_cannot_be_had() -> None:
    stores = Stores()
    stores.log_down = True
    with pytest.raises(StoreDownError):
        await stores.maxima.needed(PRODUCT, FAME, SCALE)
    stores.log_down = False
    assert (await stores.maxima.needed(PRODUCT, FAME, SCALE)).level == 3.0
