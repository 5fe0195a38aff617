"""The greatest of all, for the features that are relative to it: looked up for readers, kept for a moment."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from services.features.domain.features import Entity, Feature, OnEvent
from services.features.domain.relative import Maximum, Relative
from services.features.level_ports import Greatest, Levels
from services.features.ports import SETTLE_MS, DueQueue, FeatureComputer, StoreDownError
from services.runtime.logs import get_logger

log = get_logger(__name__)

# A maximum that is older is waited for; see _SOON.
_KEEP_MS = 100
# Of that; who comes later has it looked up and does not wait, so that where many ask one after the other nobody does.
_SOON = 0.8
# Seconds for which a reader waits for a newer one. The last known is right, for its own instant.
_PATIENCE = 0.05
# When the worker is further behind, the levels it keeps are not believed: the log itself is asked.
_BEHIND_MS = 5_000
# A look that is further back does not tell whether who was the greatest since has left at this very moment.
_REMEMBERED_MS = 1_000
# For so long an older maximum is better than one that may know too much for its instant.
_UNSURE_MS = 10_000
# The log takes up to a second; then, for so many times as long as it took, what it said is good enough.
_REST = 20.0


class _Seen(NamedTuple):
    """What the levels said last, at which instant, and the instant by which they said less than before."""

    level: float | None
    seen_ms: int
    lowered_ms: int


class Maxima:
    """What readers know of the greatest of all."""

    def __init__(
        self,
        queue: DueQueue,
        levels: Levels,
        computer: FeatureComputer,
        clock_ms: Callable[[], int],
        keep_ms: int = _KEEP_MS,
        rest: float = _REST,
        patience: float = _PATIENCE,
    ) -> None:
        """``keep_ms`` and ``rest`` 0: always the newest, whatever that costs."""
        self._queue = queue
        self._levels = levels
        self._computer = computer
        self._clock_ms = clock_ms
        self._keep_ms = keep_ms
        self._rest = rest
        self._patience = patience
        self._known: dict[str, Maximum] = {}
        self._looked_ms: dict[str, int] = {}
        self._unsure_since: dict[str, int] = {}
        self._seen: dict[str, _Seen] = {}
        self._not_before: dict[str, float] = {}
        # Tasks of their own: a look takes as long as it takes, its callers go on with what is known.
        self._looks: dict[str, asyncio.Task[None]] = {}

    async def of(self, entity: Entity, features: Iterable[Feature]) -> dict[str, Maximum]:
        """What is known now, by feature; to be asked before the records are read."""
        relative = [(f, f.relative) for f in features if f.relative is not None]
        looks = []
        for f, scale in relative:
            age_ms = self._age_ms(f)
            if age_ms >= self._keep_ms:
                looks.append(self._look(entity, f, scale))
            elif age_ms >= self._keep_ms * _SOON:
                self._look(entity, f, scale)
        if looks:
            await asyncio.wait(looks, timeout=self._patience)
        return {f.name: self._known[f.name] for f, _ in relative if f.name in self._known}

    async def needed(self, entity: Entity, feature: Feature, relative: Relative) -> Maximum:
        """What is known now, or else what the stores say. Raises StoreDownError."""
        while feature.name not in self._known:
            await asyncio.shield(self._look(entity, feature, relative))
        return self._known[feature.name]

    async def close(self) -> None:
        """Ends what is under way."""
        looks = list(self._looks.values())
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)

    def _age_ms(self, feature: Feature) -> float:
        """Since it was looked up; of what never was, or by another clock, more than any."""
        looked_ms = self._looked_ms.get(feature.name)
        age_ms = -1 if looked_ms is None else self._clock_ms() - looked_ms
        return math.inf if age_ms < 0 else age_ms

    def _look(self, entity: Entity, feature: Feature, relative: Relative) -> asyncio.Task[None]:
        """The look that is under way, or a new one."""
        name = feature.name
        look = self._looks.get(name)
        if look is None:
            self._looked_ms[name] = self._clock_ms()
            look = asyncio.ensure_future(self._refresh(entity, feature, relative))
            self._looks[name] = look
            look.add_done_callback(lambda done: self._ended(name, done))
        return look

    def _ended(self, name: str, look: asyncio.Task[None]) -> None:
        del self._looks[name]
        error = None if look.cancelled() else look.exception()
        if error is not None and not isinstance(error, StoreDownError):
            log.error("maximum failed", feature=name, exc_info=error)

    async def _refresh(self, entity: Entity, feature: Feature, relative: Relative) -> None:
        seen = self._seen.get(feature.name)
        if seen is None or not 0 <= self._clock_ms() - seen.seen_ms < _REMEMBERED_MS:
            # Whoever leaves between the instant that is claimed and the look at the levels is missing in them, and only
            # one that is there before can tell.
            self._seen.pop(feature.name, None)
            self._see(feature.name, (await self._levels.greatest(feature, None)).level)
        now_ms = self._clock_ms()
        cursor: int | None = None
        waits_since: int | None = None
        with contextlib.suppress(StoreDownError):  # then values come from the log, and so does this
            waits_since, cursor = await self._queue.pending(entity.name, now_ms)
        found = await self._levels.greatest(feature, cursor)
        lowered_ms = self._see(feature.name, found.level)
        at_ms = _known_until(entity, now_ms, waits_since, found.since_ms)
        if cursor is not None and found.complete and now_ms - at_ms <= _BEHIND_MS:
            self._believe(feature.name, found, lowered_ms, at_ms, now_ms)
            return
        if found.complete:  # better than none, until the log has answered
            self._known.setdefault(feature.name, Maximum(found.level, now_ms, False, found.level))
        await self._ask_log(feature, relative, at_ms, whole=cursor is not None)

    def _see(self, name: str, level: float | None) -> int:
        """The instant from which on this greatest level may be claimed: who was greater before has left by then."""
        seen, now_ms = self._seen.get(name), self._clock_ms()
        less = seen is None or (seen.level is not None and (level is None or level < seen.level))
        lowered_ms = now_ms if seen is None or less else seen.lowered_ms
        self._seen[name] = _Seen(level, now_ms, lowered_ms)
        return lowered_ms

    def _believe(self, name: str, found: Greatest, lowered_ms: int, at_ms: int, now_ms: int) -> None:
        """Takes over the greatest level; as of ``at_ms``, unless it may know what came after that.

        Then what was known before is right for its own instant. But where the greatest changes all the time, that has
        to end: it is large then, and what a moment adds to it does not show.
        """
        if max(found.computed_ms, lowered_ms) <= at_ms:
            self._unsure_since.pop(name, None)
        elif now_ms - self._unsure_since.setdefault(name, now_ms) <= _UNSURE_MS:
            before = self._known.get(name, Maximum(found.level, now_ms, False, None))
            self._known[name] = before._replace(newest=found.level)
            return
        self._known[name] = Maximum(found.level, at_ms, True, found.level)

    async def _ask_log(self, feature: Feature, relative: Relative, at_ms: int, whole: bool) -> None:
        name = feature.name
        if name in self._known and time.monotonic() < self._not_before.get(name, 0.0):
            return
        started = time.monotonic()
        try:
            greatest = (await self._computer.maximum(feature, [at_ms])).get(at_ms)
        finally:
            ended = time.monotonic()
            self._not_before[name] = ended + (ended - started) * self._rest
        level = None if greatest is None else relative.level(greatest, at_ms)
        self._known[name] = Maximum(level, at_ms, whole, level)


def _known_until(entity: Entity, now_ms: int, waits_since: int | None, arrived_since: int | None) -> int:
    """The last instant of which everything is computed: before what waits, before what may still be unmarked."""
    instants = [now_ms]
    if waits_since is not None:
        instants.append(waits_since - 1)
    if any(f.on_event is OnEvent.READ_THROUGH for f in entity.features.values()):  # its marks are due a little later
        instants = [instant - SETTLE_MS for instant in instants]
    if arrived_since is not None:
        instants.append(arrived_since - 1)
    return min(instants)
