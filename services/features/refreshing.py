"""The refresh: claims entities that are due, computes what is due of them, one statement per feature and batch."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

from services.features.domain.features import (
    EMPTY,
    KNOWN,
    NO_EVIDENCE,
    NO_TOKEN,
    Entity,
    Entry,
    Feature,
    Outcome,
    Record,
    due_features,
    magnitude_of,
    merged,
    next_due_ms,
    related,
    restamped,
)
from services.features.domain.relative import Relative
from services.features.level_ports import Levels
from services.features.metrics import COMPUTATIONS, COMPUTE_SECONDS, DUE, REFRESH_LAG
from services.features.ports import (
    Claim,
    FeatureComputer,
    OnlineStore,
    RecordsMissedError,
    SlowStatementError,
    StoreDownError,
)
from services.features.watch_ports import Look, WatchedQueue
from services.runtime.logs import get_logger
from services.runtime.turns import mapped

log = get_logger(__name__)

# Seconds between two looks at a queue. A stock change is to show within some tens of milliseconds; 40 looks a second
# cost 1 % of a core, so where the store tells of changes we wait for one. What comes in a row is taken up together.
_LOOK_EVERY = 0.025
# The longest wait for the store to tell: a server that is wiped, or exchanged for another, does not tell everything.
_LOOK_ANYHOW = 1.0
_RETRY = 0.5
# Entities that are asked for the same features, whatever each of them lacks.
_FEW = 50
# Until entities are tried again whose record cannot be reached: at the head of the queue they would keep others out.
_AWAY_MS = 5_000


class Refresher:
    """Keeps materialised features fresh, in at most ``duty`` (0..1] of its time."""

    def __init__(
        self,
        entities: Sequence[Entity],
        online: OnlineStore,
        queue: WatchedQueue,
        computer: FeatureComputer,
        levels: Levels,
        clock_ms: Callable[[], int],
        jitter: Callable[[], float],
        duty: float,
    ) -> None:
        self._entities = entities
        self._online = online
        self._queue = queue
        self._computer = computer
        self._levels = levels
        self._clock_ms = clock_ms
        self._jitter = jitter
        self._rest = 1 / duty - 1

    async def run(self) -> None:
        """For as long as the process lives."""
        while True:
            started = time.monotonic()
            try:
                look = await self._look()
            except StoreDownError:
                await asyncio.sleep(_RETRY)
                continue
            done, down = 0, False
            for entity in self._due(look):
                try:
                    done += await self.refresh(entity)
                except StoreDownError:  # the other entities may fare better
                    down = True
            if down:
                await asyncio.sleep(_RETRY)
            elif done:
                await asyncio.sleep((time.monotonic() - started) * self._rest)
            else:
                await self._until_due(look)
                await asyncio.sleep(started + _LOOK_EVERY - time.monotonic())

    async def refresh(self, entity: Entity) -> int:
        """One batch; returns how many entities it had."""
        now_ms = self._clock_ms()
        claims = await self._queue.claim(entity.name, now_ms, entity.batch)
        if not claims:
            return 0
        for claim in claims:
            REFRESH_LAG.labels(entity.name).observe(max(0, now_ms - claim.due_ms) / 1_000)
        # Given back as they were, unless all goes well.
        done: list[tuple[Claim, int | None]] = [(claim, claim.due_ms) for claim in claims]
        try:
            done = await self._compute(entity, claims, now_ms)
        finally:
            with contextlib.suppress(StoreDownError):  # the lease ends by itself
                await self._queue.complete(entity.name, done)
        return len(claims)

    async def _compute(
        self, entity: Entity, claims: Sequence[Claim], claimed_ms: int
    ) -> list[tuple[Claim, int | None]]:
        """The claims to give back, each with its next due time."""
        found = await self._reached([claim.id for claim in claims], partial(self._online.read, entity.name))
        records, unknown = await self._begun(entity, found)
        materialized, now_ms = entity.materialized, self._clock_ms()
        entries: dict[str, dict[int, Entry]] = {i: {KNOWN: Entry(now_ms, NO_TOKEN, True)} for i in records}
        groups = self._groups(materialized, records, now_ms)
        # All at the same moment, for they are one statement then.
        standing, *failed = await _all(
            self._computer.standing(entity, list(records), now_ms),
            *(self._failed(features, wanted, records, entries, now_ms) for wanted, features in groups.items()),
        )
        # Whose magnitude is not known.
        held = {i for wanted, some in zip(groups, failed, strict=True) if any(f.relative for f in some) for i in wanted}
        gone = {*unknown, *(records.keys() - standing.known)}
        if gone:
            for feature in materialized:
                if feature.relative is not None:
                    await self._levels.put(feature, dict.fromkeys(gone), now_ms)
            await self._online.forget(entity.name, list(gone))
        every = entity.features.values()
        ttl_ms = max(f.ttl_ms for f in every)
        kept = [i for i in entries if i in standing.known]
        stamped = await mapped(lambda i: (records[i], restamped(every, records[i]) | entries[i]), kept)
        written = dict(zip(kept, stamped, strict=True))
        await self._online.write(entity.name, ttl_ms, written)
        result: list[tuple[Claim, int | None]] = []
        # Until their lease ends the others count as waiting: readers must not take what is stored for right by now.
        for claim in [claim for claim in claims if claim.id not in held]:
            if claim.id in gone or claim.id in standing.idle:
                # They leave the queue: what nobody looks at costs nothing, and a read or an event brings it back.
                result.append((claim, None))
            elif claim.id not in records:
                result.append((claim, claimed_ms + _AWAY_MS))
            else:
                new = merged(records[claim.id].entries, entries[claim.id])
                result.append((claim, next_due_ms(materialized, new, self._jitter(), claimed_ms)))
        return result

    async def _begun(self, entity: Entity, found: Mapping[str, Record]) -> tuple[dict[str, Record], list[str]]:
        """With records in the place of those that are missing; and the ids of these that nobody knows, who get none."""
        records = {i: record for i, record in found.items() if record != EMPTY}
        missing = [i for i in found if i not in records]
        if not missing:
            return records, []
        known = await self._computer.known(entity, missing)
        begun = await self._reached([i for i in missing if i in known], partial(self._online.begin, entity.name))
        return records | begun, [i for i in missing if i not in known]

    async def _reached(
        self, ids: Sequence[str], records: Callable[[Sequence[str]], Awaitable[list[Record]]]
    ) -> dict[str, Record]:
        """Without those whose server is down."""
        try:
            found: Sequence[Record | None] = await records(ids)
        except RecordsMissedError as error:
            found = error.records
        return {i: record for i, record in zip(ids, found, strict=True) if record is not None}

    @staticmethod
    def _groups(
        features: Sequence[Feature], records: Mapping[str, Record], now_ms: int
    ) -> dict[tuple[str, ...], list[Feature]]:
        """The features that are due, together where they are of the same entities.

        Of a few, what one lacks is computed of all: another statement would cost more.
        """
        todo: dict[str, list[str]] = {}
        for entity_id, record in records.items():
            for feature in due_features(features, record, now_ms):
                todo.setdefault(feature.name, []).append(entity_id)
        if len(records) <= _FEW:
            todo = {name: list(records) for name in todo}
        groups: dict[tuple[str, ...], list[Feature]] = {}
        for feature in features:
            if feature.name in todo:
                groups.setdefault(tuple(todo[feature.name]), []).append(feature)
        return groups

    async def _failed(
        self,
        features: Sequence[Feature],
        ids: Sequence[str],
        records: Mapping[str, Record],
        entries: Mapping[str, dict[int, Entry]],
        now_ms: int,
    ) -> list[Feature]:
        """Adds the features' values to ``entries``; returns those that have none."""
        done = await _all(*(self._values(feature, ids, records, entries, now_ms) for feature in features))
        return [feature for feature, is_done in zip(features, done, strict=True) if not is_done]

    async def _values(
        self,
        feature: Feature,
        ids: Sequence[str],
        records: Mapping[str, Record],
        entries: Mapping[str, dict[int, Entry]],
        now_ms: int,
    ) -> bool:
        """Adds a feature's values to ``entries``. A statement that is wrong or slow costs its own feature only.

        False: it was.
        """
        COMPUTATIONS.labels(feature.name, "due").inc(len(ids))
        try:
            with COMPUTE_SECONDS.labels(feature.name).time():
                outcomes = await self._computer.compute(feature, ids, now_ms)
            if feature.relative is not None:
                outcomes = await self._relate(feature, feature.relative, ids, outcomes, now_ms)
        except SlowStatementError:
            log.warning("feature is too slow", feature=feature.name)
            return False
        except StoreDownError:
            raise
        except Exception:
            log.exception("feature failed", feature=feature.name)
            return False
        for entity_id in ids:
            outcome = outcomes.get(entity_id, NO_EVIDENCE)
            entries[entity_id][feature.number] = Entry(now_ms, records[entity_id].token, *outcome)
        return True

    async def _relate(
        self, feature: Feature, relative: Relative, ids: Sequence[str], outcomes: Mapping[str, Outcome], now_ms: int
    ) -> dict[str, Outcome]:
        """Keeps the levels of magnitudes; returns them with the greatest beside each."""
        magnitudes = {i: magnitude_of(outcomes.get(i, NO_EVIDENCE)) for i in ids}
        levels = {i: None if x is None else relative.level(x, now_ms) for i, x in magnitudes.items()}
        maximum = await self._levels.put(feature, levels, now_ms)
        return {i: related(relative, outcome, maximum, now_ms) for i, outcome in outcomes.items()}

    async def _look(self) -> Look:
        look = await self._queue.look(self._clock_ms())
        for name, length in look.lengths.items():
            DUE.labels(name).set(length)
        return look

    def _due(self, look: Look) -> list[Entity]:
        """The entity types of which something is due.

        Of one that cannot be reached something may be: ``refresh`` says that it is down, when the others are done.
        """
        return [entity for entity in self._entities if look.lengths.get(entity.name, 1)]

    async def _until_due(self, look: Look) -> None:
        """Returns when something may be due that was not when we looked."""
        if look.changed is None:
            return
        seconds = _LOOK_ANYHOW
        if look.next_ms is not None:
            seconds = min(seconds, (look.next_ms - self._clock_ms() + 1) / 1_000)  # our clock is up to 1 ms ahead
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await look.changed.wait()


async def _all(*calls: Awaitable[Any]) -> list[Any]:
    """All results, once all have ended; raises the first failure."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results
