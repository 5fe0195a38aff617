"""Values that a read lacks, computed from the log: each state of each entity once, for all who read it meanwhile."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from services.features.domain.features import (
    NO_EVIDENCE,
    Entity,
    Entry,
    Feature,
    OnEvent,
    Outcome,
    Record,
    related,
)
from services.features.maxima import Maxima
from services.features.metrics import COMPUTATIONS, COMPUTE_SECONDS
from services.features.ports import FeatureComputer, StoreDownError
from services.runtime.coalescing import SharedBatches

# Why values are computed.
READ, REFRESH = "read", "refresh"


class _State(NamedTuple):
    """What a value is computed for: reads of the same state of an entity share its computation."""

    feature: str
    id: str
    token: bytes
    generation: int


class _Computed(NamedTuple):
    """What a statement said of an entity, and the instant it was asked for."""

    now_ms: int
    outcome: Outcome


class SharedComputations:
    """The statements of a reader: one for each feature and the ids of it that nobody computes already."""

    def __init__(self, computer: FeatureComputer, maxima: Maxima, clock_ms: Callable[[], int]) -> None:
        self._computer = computer
        self._maxima = maxima
        self._clock_ms = clock_ms
        self._computations: SharedBatches[_State, _Computed] = SharedBatches()
        self._never_shared = itertools.count(-1, -1)

    async def entries(
        self,
        entity: Entity,
        wanted: Mapping[str, Sequence[str]],
        records: Mapping[str, Record],
        generation: int,
        cause: str,
    ) -> dict[str, dict[int, Entry]]:
        """New entries by id, from the ids wanted of each feature. Raises StoreDownError.

        What is computed for the same token and ``generation`` is shared. ``cause``: READ or REFRESH.
        """
        now_ms = self._clock_ms()  # one for all: then they are one statement
        results = await _all(
            self._values(entity, entity.features[name], ids, records, generation, cause, now_ms)
            for name, ids in wanted.items()
        )
        entries: dict[str, dict[int, Entry]] = {}
        for (name, ids), result in zip(wanted.items(), results, strict=True):
            number = entity.features[name].number
            for entity_id in ids:
                computed_ms, outcome = result[entity_id]
                entries.setdefault(entity_id, {})[number] = Entry(computed_ms, records[entity_id].token, *outcome)
        return entries

    async def _values(
        self,
        entity: Entity,
        feature: Feature,
        ids: Sequence[str],
        records: Mapping[str, Record],
        generation: int,
        cause: str,
        now_ms: int,
    ) -> dict[str, _Computed]:
        async def compute(wanted: Sequence[_State]) -> dict[_State, _Computed]:
            COMPUTATIONS.labels(feature.name, cause).inc(len(wanted))
            with COMPUTE_SECONDS.labels(feature.name).time():
                outcomes = await self._computer.compute(feature, [one.id for one in wanted], now_ms)
            if feature.relative is not None:
                maximum = (await self._maxima.needed(entity, feature, feature.relative)).newest
                outcomes = {i: related(feature.relative, one, maximum, now_ms) for i, one in outcomes.items()}
            return {one: _Computed(now_ms, outcomes.get(one.id, NO_EVIDENCE)) for one in wanted}

        # No mark tells whether a running computation misses an event. Where the worker sees to it, a read may join;
        # not who wants it computed now.
        if feature.on_event is OnEvent.ALWAYS or (cause == REFRESH and feature.on_event is not OnEvent.READ_THROUGH):
            generation = next(self._never_shared)
        states = [_State(feature.name, i, records[i].token, generation) for i in ids]
        return {one.id: found for one, found in (await self._computations.run(states, compute)).items()}


async def _all(calls: Iterable[Coroutine[Any, Any, dict[str, _Computed]]]) -> list[dict[str, _Computed]]:
    """All results; raises StoreDownError when a store fails one of them, and any other failure as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except* StoreDownError as failures:
        down = failures.exceptions[0]
    else:
        return [task.result() for task in tasks]
    raise down
