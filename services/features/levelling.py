"""Keeps the levels of relative features whole: computes them all where they are new, and anew who was forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from services.features.domain.features import Entity, Feature, magnitude_of
from services.features.domain.relative import Relative
from services.features.level_ports import Levels
from services.features.ports import DueQueue, FeatureComputer, StoreDownError
from services.runtime.logs import get_logger

log = get_logger(__name__)

# Seconds.
_LOOK_EVERY = 60.0
_RETRY = 0.5
# The worker computes everybody with evidence once per refresh interval. Who was not in two was lost to it.
_FORGOTTEN = 2
_PAGE = 2_000
# What lost its evidence is kept for longer than a computation takes that began before.
_CLEAN_AFTER_MS = 600_000


class Levelling:
    """Beside the refresh, which keeps the levels of whoever is due; several workers may do it at once."""

    def __init__(
        self,
        entities: Sequence[Entity],
        levels: Levels,
        queue: DueQueue,
        computer: FeatureComputer,
        clock_ms: Callable[[], int],
    ) -> None:
        self._relative = [
            (entity, feature, feature.relative)
            for entity in entities
            for feature in entity.features.values()
            if feature.relative is not None
        ]
        self._levels = levels
        self._queue = queue
        self._computer = computer
        self._clock_ms = clock_ms

    async def run(self) -> None:
        """For as long as the process lives."""
        while True:
            try:
                await self.step()
            except StoreDownError:
                await asyncio.sleep(_RETRY)
            else:
                await asyncio.sleep(_LOOK_EVERY)

    async def step(self) -> None:
        """One look at all of them."""
        for entity, feature, relative in self._relative:
            # Also when the database was replaced while we ran.
            if not (await self._levels.greatest(feature, None)).complete:
                await self._compute_all(entity, feature, relative)
            await self._queue_forgotten(entity, feature)
        await self._levels.clean([feature for _, feature, _ in self._relative], self._clock_ms() - _CLEAN_AFTER_MS)

    async def _compute_all(self, entity: Entity, feature: Feature, relative: Relative) -> None:
        """What comes meanwhile is marked, and computed by the refresh."""
        count, after = 0, ""
        while page := await self._computer.active(entity, after, self._clock_ms(), _PAGE):
            now_ms = self._clock_ms()
            outcomes = await self._computer.compute(feature, page, now_ms)
            magnitudes = {i: magnitude_of(outcome) for i, outcome in outcomes.items()}
            levels = {i: relative.level(x, now_ms) for i, x in magnitudes.items() if x is not None}
            await self._levels.put(feature, levels, now_ms)
            count, after = count + len(levels), page[-1]
        await self._levels.complete(feature)
        log.info("levels are complete", feature=feature.name, count=count)

    async def _queue_forgotten(self, entity: Entity, feature: Feature) -> None:
        now_ms, after = self._clock_ms(), ""
        before_ms = now_ms - _FORGOTTEN * feature.refresh_ms
        while page := await self._levels.listed(feature, after, before_ms, _PAGE):
            await self._queue.enqueue(entity.name, dict.fromkeys(page, now_ms))
            after = page[-1]
