"""What a read finds missing, dirty or aged: computed from the log, decided upon, written back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple

from services.features.domain.features import (
    EMPTY,
    KNOWN,
    NO_TOKEN,
    NOT_FOUND,
    UNAVAILABLE,
    Entity,
    Entry,
    Feature,
    Reading,
    Record,
    Worth,
    in_company,
    next_due_ms,
    reading,
    restamped,
    worth,
)
from services.features.domain.relative import Maximum
from services.features.marking import Marker
from services.features.maxima import Maxima
from services.features.ports import (
    EVENT_LOG,
    DueQueue,
    FeatureComputer,
    OnlineStore,
    RecordsMissedError,
    StoreDownError,
)
from services.features.sharing import READ, REFRESH, SharedComputations


class _Plan(NamedTuple):
    """What a read has to do: ids to compute by feature, ids whose existence is open, ids to refresh soon, and when."""

    compute: dict[str, list[str]]
    unsure: list[str]
    aged: dict[str, int]


class Missing(NamedTuple):
    """What a read has found of the entities that need more than that, and who of them may not be believed.

    ``unreachable``: whose record could not be read, it is empty then; ``owed``: of whose record a mark is missing;
    ``degraded``: the stores that were missed, to which others may be added.
    """

    records: dict[str, Record]
    unreachable: set[str]
    owed: Collection[str]
    degraded: set[str]


class Completer:
    """Completes reads from the log."""

    def __init__(
        self,
        online: OnlineStore,
        queue: DueQueue,
        computer: FeatureComputer,
        maxima: Maxima,
        marker: Marker,
        clock_ms: Callable[[], int],
        jitter: Callable[[], float],
    ) -> None:
        self._online = online
        self._queue = queue
        self._computer = computer
        self._marker = marker
        self._clock_ms = clock_ms
        self._jitter = jitter
        self._computations = SharedComputations(computer, maxima, clock_ms)
        # Computations that took longer than their callers had time for.
        self._late: set[asyncio.Task[dict[str, dict[int, Entry]]]] = set()

    async def complete(
        self,
        entity: Entity,
        features: Sequence[Feature],
        missing: Missing,
        maxima: Mapping[str, Maximum],
        fresh: bool,
        until: float | None,
    ) -> dict[str, list[Reading]]:
        """The reading of each feature by id; ``fresh`` computes all of them whatever is stored.

        At ``until``, in the loop's time, a log that has not answered is taken for missing.
        """
        records, unreachable, owed, degraded = missing
        now_ms = self._clock_ms()
        plan = self._plan(records, features, now_ms, records if fresh else owed)
        computed: dict[str, dict[int, Entry]] = {}
        if plan.compute or plan.unsure:
            try:
                cause = REFRESH if fresh else READ
                work = self._compute(entity, plan, records, unreachable, degraded, cause)
                computed = await self._within(until, work)
            except StoreDownError as error:
                degraded.add(error.store)
            now_ms = self._clock_ms()
        kept = {i: entries for i, entries in computed.items() if i not in unreachable}
        if kept or plan.aged:
            try:
                await self._write_back(entity, records, kept, plan.aged, now_ms)
            except StoreDownError as error:
                degraded.add(error.store)
        if self._marker.in_debt:
            maxima = {}  # what is stored may miss an event that we know of
        missed = EVENT_LOG in degraded
        return {
            i: _decide(features, record, computed.get(i), now_ms, missed, i in owed, maxima)
            for i, record in records.items()
        }

    def _plan(
        self, records: Mapping[str, Record], features: Sequence[Feature], now_ms: int, dirty: Collection[str]
    ) -> _Plan:
        compute: dict[str, list[str]] = {}
        unsure, aged = [], dict[str, int]()
        for entity_id, record in records.items():
            if KNOWN not in record.entries:
                unsure.append(entity_id)
            for feature in features:
                value = Worth.DIRTY if entity_id in dirty else worth(feature, record, now_ms)
                if value is Worth.GOOD:
                    continue
                if value is Worth.AGED and feature.materialize:  # the worker's turn
                    due_ms = in_company(feature, now_ms)
                    aged[entity_id] = min(aged.get(entity_id, due_ms), due_ms)
                else:
                    compute.setdefault(feature.name, []).append(entity_id)
        return _Plan(compute, unsure, aged)

    async def _compute(
        self,
        entity: Entity,
        plan: _Plan,
        records: dict[str, Record],
        unreachable: set[str],
        degraded: set[str],
        cause: str,
    ) -> dict[str, dict[int, Entry]]:
        """New entries by id. Ids that nobody names get none, and cost one look at the log, no feature's statement."""
        unknown = set[str]()
        if plan.unsure:
            unknown = set(plan.unsure) - await self._computer.known(entity, plan.unsure)
        entries: dict[str, dict[int, Entry]] = {
            i: {KNOWN: Entry(self._clock_ms(), NO_TOKEN, True)} for i in plan.unsure if i not in unknown
        }
        todo = {name: [i for i in ids if i not in unknown] for name, ids in plan.compute.items()}
        todo = {name: ids for name, ids in todo.items() if ids}
        missing = {i: None for ids in todo.values() for i in ids if records[i] == EMPTY and i not in unreachable}
        if missing:
            await self._begin(entity, list(missing), records, unreachable, degraded)
        # Without tokens only the count of marks tells whether a running computation may miss the caller's event.
        state = self._marker.generation if degraded or self._marker.in_debt else 0
        for entity_id, new in (await self._computations.entries(entity, todo, records, state, cause)).items():
            entries.setdefault(entity_id, {}).update(new)
        return entries

    async def _begin(
        self, entity: Entity, ids: Sequence[str], records: dict[str, Record], unreachable: set[str], degraded: set[str]
    ) -> None:
        """Puts records in the place of those that are missing; what cannot be reached now is not kept later."""
        try:
            found: Sequence[Record | None] = await self._online.begin(entity.name, ids)
        except StoreDownError as error:
            degraded.add(error.store)
            found = error.records if isinstance(error, RecordsMissedError) else [None] * len(ids)
        unreachable.update(i for i, record in zip(ids, found, strict=True) if record is None)
        records.update((i, record) for i, record in zip(ids, found, strict=True) if record is not None)

    async def _within(
        self, until: float | None, work: Coroutine[Any, Any, dict[str, dict[int, Entry]]]
    ) -> dict[str, dict[int, Entry]]:
        """The result, or StoreDownError when it is not there in time.

        Then the work goes on: its failure tells the store's breaker of an outage, and who asks again shares it.
        """
        task = asyncio.ensure_future(work)
        try:
            left = None if until is None else max(0.0, until - asyncio.get_running_loop().time())
            await asyncio.wait((task,), timeout=left)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if task.done():
            return task.result()
        self._late.add(task)
        task.add_done_callback(self._forget)
        raise StoreDownError(EVENT_LOG, "no answer in the caller's time")

    def _forget(self, task: asyncio.Task[dict[str, dict[int, Entry]]]) -> None:
        self._late.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved: nobody waits for it any more

    async def _write_back(
        self,
        entity: Entity,
        records: Mapping[str, Record],
        computed: Mapping[str, Mapping[int, Entry]],
        aged: Mapping[str, int],
        now_ms: int,
    ) -> None:
        kept = entity.materialized
        due = dict(aged)
        for entity_id, entries in computed.items():
            when = next_due_ms(kept, entries, self._jitter())
            if when is not None:
                due.setdefault(entity_id, when)
        features = entity.features.values()
        ttl_ms = max(f.ttl_ms for f in features)
        # Queued first: an erasure in between empties the queue too, and one before shows in the write.
        if due:
            await self._queue.enqueue(entity.name, due)
        if computed:
            erased = await self._online.write(
                entity.name,
                ttl_ms,
                {i: (records[i], {**restamped(features, records[i]), **new}) for i, new in computed.items()},
            )
            # At once: the worker drops what no event names.
            await self._queue.enqueue(entity.name, dict.fromkeys(erased, now_ms))


def _decide(
    features: Sequence[Feature],
    record: Record,
    computed: Mapping[int, Entry] | None,
    now_ms: int,
    log_missed: bool,
    owed: bool,
    maxima: Mapping[str, Maximum],
) -> list[Reading]:
    """The reading of each feature of one entity, from what was computed now and what was stored.

    ``owed``: a mark of the entity is missing in what was stored.
    """
    if computed is None and KNOWN not in record.entries:
        return [UNAVAILABLE if log_missed else NOT_FOUND] * len(features)
    result = []
    for feature in features:
        entry = computed.get(feature.number) if computed else None
        if entry is not None:
            result.append(reading(feature, entry, now_ms))
            continue
        value = worth(feature, record, now_ms)
        if value is Worth.MISSING:
            result.append(UNAVAILABLE)
        else:
            outdated = owed or value is Worth.DIRTY
            stored = record.entries[feature.number]
            result.append(reading(feature, stored, now_ms, outdated, maxima.get(feature.name)))
    return result
