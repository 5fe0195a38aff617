"""The log tail: repeats lost marks; queues everything when the online store was emptied or history was loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from services.features.domain.features import Entity, OnEvent
from services.features.marking import touched
from services.features.metrics import MARKS_REPEATED, TAIL_LAG
from services.features.ports import (
    FeatureComputer,
    LogReader,
    MarksLostError,
    OnlineStore,
    StoreDownError,
    TailState,
    Touched,
)
from services.runtime.logs import get_logger

log = get_logger(__name__)

# Seconds; also what a writer has for its own marks before they are taken for lost.
_POLL = 0.25
_RETRY = 0.5
_TRANSACTIONS = 500
_PAGE = 2_000
_ARRIVED = 1_000
# Chunks of a load follow each other faster than this.
_LOAD_PAUSE_MS = 2_000
# Late events may drip in for ever, from phones that were offline; computing everything anew each time would leave no
# time for what is live. So the next renewal waits in proportion to what this one costs (about a millisecond an entity),
# at most until the hour that refreshes everything anyway.
_RENEW_PAUSE_MS = (60_000, 3_600_000)
_PAUSE_PER_ENTITY_MS = 20


class LogTail:
    """Reads the log behind its writers. The place where it stands is kept beside the marks, and lost with them."""

    def __init__(
        self,
        entities: Sequence[Entity],
        log_reader: LogReader,
        state: TailState,
        online: OnlineStore,
        computer: FeatureComputer,
        clock_ms: Callable[[], int],
    ) -> None:
        self._entities = entities
        self._log = log_reader
        self._state = state
        self._online = online
        self._computer = computer
        self._clock_ms = clock_ms
        # Writers of what had ended at the last poll have had their time to mark.
        self._settled: int | None = None
        # When the newest history was seen that stored values may have been computed without.
        self._history_ms: int | None = None
        self._renew_not_before_ms = 0

    async def run(self) -> None:
        """For as long as the process lives."""
        while True:
            try:
                more = await self.step()
            except StoreDownError:
                await asyncio.sleep(_RETRY)
            else:
                await asyncio.sleep(0 if more else _POLL)

    async def step(self) -> bool:
        """One look at the log; whether there is more to see at once."""
        await self._wake_arrived()
        # The cursor first: another worker may move it up to a horizon later than ours.
        cursor = await self._state.cursor()
        settled, self._settled = self._settled, await self._log.horizon()
        if cursor is None or cursor > self._settled:  # emptied; or the log was replaced by an older one
            await self._queue_everything()
            return False
        TAIL_LAG.set(self._settled - cursor)
        await self._renew_after_load()
        if settled is None or settled <= cursor:
            return False
        transactions = await self._log.transactions(cursor, settled, _TRANSACTIONS)
        confirmed = await self._state.confirmed(transactions)
        for transaction in transactions:
            if transaction not in confirmed:
                await self._repeat(transaction)
        more = len(transactions) == _TRANSACTIONS
        following = transactions[-1] + 1 if more else settled
        if transactions and await self._log.has_history(cursor, following):
            self._history_ms = self._clock_ms()
        await self._state.advance(following)
        return more

    async def _repeat(self, transaction: int) -> None:
        now_ms = self._clock_ms()
        await self._online.mark(touched(await self._log.events_of(transaction), self._entities, now_ms), now_ms, ())
        MARKS_REPEATED.inc()

    async def _wake_arrived(self) -> None:
        """Marks again what has an event that was in the future when it came."""
        arrivals = await self._state.arrived(self._clock_ms(), _ARRIVED)
        if not arrivals:
            return
        who: dict[str, dict[str, list[int]]] = {}
        for arrival in arrivals:
            who.setdefault(arrival.entity, {})[arrival.id] = []
        lost: Touched = {}
        try:
            await self._online.mark(who, self._clock_ms(), ())
        except MarksLostError as error:
            lost = error.lost
        # Not before: whoever dies here marks again.
        await self._state.woken([arrival for arrival in arrivals if arrival.id not in lost.get(arrival.entity, ())])

    async def _renew_after_load(self) -> None:
        """Computes once more, after a load, what was computed while it ran.

        A score relative to the greatest of all (popularity) is right for the log of its moment; history that comes
        later changes it for every entity, and marks only those that it names. What happens live changes nothing
        before its own time.
        """
        now_ms = self._clock_ms()
        if self._history_ms is None or now_ms < max(self._history_ms + _LOAD_PAUSE_MS, self._renew_not_before_ms):
            return
        total = 0
        for entity in self._entities:
            if any(feature.on_event is OnEvent.QUEUE for feature in entity.materialized):
                count = await self._queue_active(entity)
                log.info("history was loaded: queued", entity=entity.name, count=count)
                total += count
        shortest, longest = _RENEW_PAUSE_MS
        self._renew_not_before_ms = now_ms + min(max(shortest, total * _PAUSE_PER_ENTITY_MS), longest)
        self._history_ms = None

    async def _queue_everything(self) -> None:
        """From the log; the cursor comes last, so that whoever dies here begins again."""
        horizon, now_ms = await self._log.horizon(), self._clock_ms()
        await self._online.mark(touched(await self._log.future_events(now_ms), self._entities, now_ms), now_ms, ())
        for entity in self._entities:
            log.info("online store is new: queued", entity=entity.name, count=await self._queue_active(entity))
        await self._state.advance(horizon)

    async def _queue_active(self, entity: Entity) -> int:
        """Everything with evidence; returns how many that is."""
        count, after = 0, ""
        while page := await self._computer.active(entity, after, self._clock_ms(), _PAGE):
            now_ms = self._clock_ms()
            await self._online.mark({entity.name: dict.fromkeys(page, ())}, now_ms, ())
            count, after = count + len(page), page[-1]
        return count
