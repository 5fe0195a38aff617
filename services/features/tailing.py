"""The log tail: repeats lost marks; queues everything when the online store was emptied."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from services.features.domain.features import Entity
from services.features.level_ports import Levels
from services.features.marking import moved, touched
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


class LogTail:
    """Reads the log behind its writers. The place where it stands is kept beside the marks, and lost with them."""

    def __init__(
        self,
        entities: Sequence[Entity],
        log_reader: LogReader,
        state: TailState,
        online: OnlineStore,
        computer: FeatureComputer,
        levels: Levels,
        clock_ms: Callable[[], int],
    ) -> None:
        self._entities = entities
        self._log = log_reader
        self._state = state
        self._online = online
        self._computer = computer
        self._levels = levels
        self._clock_ms = clock_ms
        # Writers of what had ended at the last poll have had their time to mark.
        self._settled: int | None = None

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
        if settled is None or settled <= cursor:
            return False
        transactions = await self._log.transactions(cursor, settled, _TRANSACTIONS)
        confirmed = await self._state.confirmed(transactions)
        for transaction in transactions:
            if transaction not in confirmed:
                await self._repeat(transaction)
        more = len(transactions) == _TRANSACTIONS
        await self._state.advance(transactions[-1] + 1 if more else settled)
        return more

    async def _repeat(self, transaction: int) -> None:
        now_ms = self._clock_ms()
        events = await self._log.events_of(transaction)
        await self._online.mark(touched(events, self._entities, now_ms), now_ms, (), moved(events))
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

    async def _queue_everything(self) -> None:
        """From the log; the cursor comes last, so that whoever dies here begins again."""
        await self._state.renew()
        horizon, now_ms = await self._log.horizon(), self._clock_ms()
        await self._online.mark(touched(await self._log.future_events(now_ms), self._entities, now_ms), now_ms, ())
        for entity in self._entities:
            await self._queue_levels(entity)
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

    async def _queue_levels(self, entity: Entity) -> None:
        """What has lost its evidence since its level was computed: nobody else remembers to compute it once more."""
        for feature in entity.materialized:
            after, now_ms = "", self._clock_ms()
            while feature.relative and (page := await self._levels.listed(feature, after, now_ms + 1, _PAGE)):
                await self._online.mark({entity.name: dict.fromkeys(page, ())}, now_ms, ())
                after = page[-1]
