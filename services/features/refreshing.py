"""The refresh: claims entities that are due, computes what is due of them, one statement per feature and batch."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial

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
    DueQueue,
    FeatureComputer,
    OnlineStore,
    RecordsMissedError,
    SlowStatementError,
    StoreDownError,
)
from services.runtime.logs import get_logger

log = get_logger(__name__)

# Seconds. A stock change is to show within some tens of milliseconds; 40 polls of an empty queue cost 1 % of a core.
_IDLE = 0.025
_RETRY = 0.5
_GAUGE_EVERY = 1.0
# Until entities are tried again whose record cannot be reached: at the head of the queue they would keep others out.
_AWAY_MS = 5_000


class Refresher:
    """Keeps materialised features fresh, in at most ``duty`` (0..1] of its time."""

    def __init__(
        self,
        entities: Sequence[Entity],
        online: OnlineStore,
        queue: DueQueue,
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
        self._gauged = 0.0

    async def run(self) -> None:
        """For as long as the process lives."""
        while True:
            started = time.monotonic()
            done, down = 0, False
            for entity in self._entities:
                try:
                    done += await self.refresh(entity)
                except StoreDownError:  # the other entities may fare better
                    down = True
            if down:
                await asyncio.sleep(_RETRY)
                continue
            with contextlib.suppress(StoreDownError):
                await self._gauge()
            await asyncio.sleep((time.monotonic() - started) * self._rest if done else _IDLE)

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
        records = await self._reached([claim.id for claim in claims], partial(self._online.read, entity.name))
        ids = list(records)
        known = await self._computer.known(entity, ids)
        gone = [i for i in ids if i not in known]
        missing = [i for i in known if records[i] == EMPTY]
        if missing:
            begun = await self._reached(missing, partial(self._online.begin, entity.name))
            records = {i: record for i, record in records.items() if i not in missing} | begun
            known &= records.keys()
        materialized = entity.materialized
        if gone:
            for feature in materialized:
                if feature.relative is not None:
                    await self._levels.put(feature, dict.fromkeys(gone), self._clock_ms())
            await self._online.forget(entity.name, gone)
        entries: dict[str, dict[int, Entry]] = {i: {KNOWN: Entry(self._clock_ms(), NO_TOKEN, True)} for i in known}
        # Whose magnitude is not known.
        held = set[str]()
        for wanted, features in self._groups(materialized, known, records).items():
            for feature in await self._failed(features, wanted, records, entries):
                if feature.relative is not None:
                    held.update(wanted)
        every = entity.features.values()
        ttl_ms = max(f.ttl_ms for f in every)
        written = {i: (records[i], restamped(every, records[i]) | new) for i, new in entries.items()}
        await self._online.write(entity.name, ttl_ms, written)
        # Those leave the queue: what nobody looks at costs nothing, and a read or an event brings it back.
        idle = await self._computer.idle(entity, list(known), claimed_ms)
        result: list[tuple[Claim, int | None]] = []
        # Until their lease ends the others count as waiting: readers must not take what is stored for right by now.
        for claim in [claim for claim in claims if claim.id not in held]:
            if claim.id in idle:
                result.append((claim, None))
            elif claim.id in records:
                new = entries.get(claim.id)
                result.append((claim, self._next(materialized, records[claim.id], new, claimed_ms)))
            else:
                result.append((claim, claimed_ms + _AWAY_MS))
        return result

    async def _reached(
        self, ids: Sequence[str], records: Callable[[Sequence[str]], Awaitable[list[Record]]]
    ) -> dict[str, Record]:
        """Without those whose server is down."""
        try:
            found: Sequence[Record | None] = await records(ids)
        except RecordsMissedError as error:
            found = error.records
        return {i: record for i, record in zip(ids, found, strict=True) if record is not None}

    def _groups(
        self, features: Sequence[Feature], ids: Iterable[str], records: Mapping[str, Record]
    ) -> dict[tuple[str, ...], list[Feature]]:
        """The features that are due, together where they are of the same entities."""
        todo: dict[str, list[str]] = {}
        for entity_id in ids:
            for feature in due_features(features, records[entity_id], self._clock_ms()):
                todo.setdefault(feature.name, []).append(entity_id)
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
    ) -> list[Feature]:
        """Adds the features' values to ``entries``; returns those that have none."""
        now_ms = self._clock_ms()
        # All at the same moment, for they are one statement then.
        results = await asyncio.gather(
            *(self._values(feature, ids, records, entries, now_ms) for feature in features), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return [feature for feature, done in zip(features, results, strict=True) if not done]

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
        await self._levels.put(feature, levels, now_ms)
        maximum = (await self._levels.greatest(feature, None)).level
        return {i: related(relative, outcome, maximum, now_ms) for i, outcome in outcomes.items()}

    def _next(
        self, features: Sequence[Feature], record: Record, new: Mapping[int, Entry] | None, claimed_ms: int
    ) -> int | None:
        if new is None:
            return None
        return next_due_ms(features, merged(record.entries, new), self._jitter(), claimed_ms)

    async def _gauge(self) -> None:
        if time.monotonic() - self._gauged < _GAUGE_EVERY:
            return
        self._gauged = time.monotonic()
        for entity in self._entities:
            DUE.labels(entity.name).set(await self._queue.length(entity.name, self._clock_ms()))
