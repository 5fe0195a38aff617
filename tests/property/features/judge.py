"""Compares what is served with the truth, and with what the definitions promise of status and age."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from services.features.domain.features import Entity, Feature, FeatureType, OnEvent, Reading, Status
from services.features.reading import Answer
from tests.property.features.truth import Stamped
from tests.property.features.world import World

_DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Asked:
    """A read that was answered, and what is known of the moment."""

    entity: Entity
    ids: Sequence[str]
    features: Sequence[Feature]
    began_ms: int
    # Those that existed before the read began.
    known: frozenset[str]
    # Events that nobody was told of yet.
    unacknowledged: frozenset[str]
    # Of these the server may not know the newest events: their marks were lost by another process.
    doubtful: frozenset[str] = frozenset()
    # The worker has done all there is to do.
    caught_up: bool = False
    # Something was written while it was read: either is right.
    disturbed: bool = False


class Span(NamedTuple):
    """A time in which things happened at once; ``catalogue``: it changed too, ``crowd``: in no order that is known."""

    start_ms: int
    end_ms: int
    catalogue: bool = False
    crowd: bool = False


@dataclass(slots=True)
class Judge:
    """Remembers what the comparison needs of the past."""

    world: World
    # On their way, or durable while their process died before it marked: they count, but nobody is promised when.
    unacknowledged: set[str] = field(default_factory=set)
    once_known: set[tuple[str, str]] = field(default_factory=set)
    # Spans of time in which things happened at once: what was computed in one may know all of it or part.
    blurred: list[Span] = field(default_factory=list)
    # The one that has not ended yet.
    now_blurred: Span | None = None

    async def known(self, entity: Entity) -> frozenset[str]:
        """The ids that exist."""
        log = await self.world.truth.log()
        if entity.name == "User":
            return frozenset(event.subject_id for event in log)
        return frozenset({product for event in log for product in event.products}) | await self.world.truth.catalogue()

    async def check(self, asked: Asked, answer: Answer) -> None:
        """Raises AssertionError with the smallest thing that is wrong."""
        assert list(answer.degraded) == ([] if self.world.redis_up else ["online-store"])
        log = await self.world.truth.log()
        for entity_id in asked.known:
            self.once_known.add((asked.entity.name, entity_id))
        here = self._here(asked, log)
        for feature in asked.features:
            readings = dict(zip(asked.ids, answer.columns[feature.name].readings(), strict=True))
            found = {i: r for i, r in readings.items() if self._exists(asked, feature, i, r)}
            for entity_id, reading in found.items():
                self._check_status(asked, feature, entity_id, reading, entity_id in here)
                self._check_age(asked, feature, entity_id, reading, log)
            await self._check_values(asked, feature, found)
            await self._check_windows(asked, feature, found, log)

    def _exists(self, asked: Asked, feature: Feature, entity_id: str, reading: Reading) -> bool:
        if reading.status is Status.NOT_FOUND:
            assert entity_id not in asked.known, f"{entity_id} is not found"
            return False
        if entity_id not in asked.known and not asked.disturbed:
            # A product that left the catalogue is served until the worker has heard of it.
            assert not asked.caught_up, f"{entity_id} is gone, {feature.name} is {reading}"
            assert (asked.entity.name, entity_id) in self.once_known, f"{entity_id} is unknown, not {reading}"
        return True

    def _here(self, asked: Asked, log: Iterable[Stamped]) -> frozenset[str]:
        """Those whom the worker keeps fresh; of users, those with an event of yesterday or today."""
        if asked.entity.idle is None:
            return frozenset(asked.ids)
        yesterday_ms = (self.world.clock.ms // _DAY_MS - 1) * _DAY_MS
        return frozenset(event.subject_id for event in log if event.event_ms >= yesterday_ms)

    def _check_status(self, asked: Asked, feature: Feature, entity_id: str, reading: Reading, here: bool) -> None:
        what = f"{feature.name} of {entity_id}: {reading} at {self.world.clock.ms}"
        if reading.status in (Status.DEFAULT, Status.NULL):
            assert reading.value == feature.default, what
            assert (reading.status is Status.NULL) == (feature.default is None), what
            return
        assert reading.status in (Status.PRESENT, Status.STALE), what
        aged = [now - reading.computed_ms >= feature.refresh_ms for now in (asked.began_ms, self.world.clock.ms)]
        if aged[0] == aged[1]:
            assert (reading.status is Status.STALE) == aged[0], what
        if asked.caught_up and here:
            assert reading.status is Status.PRESENT, f"the worker forgot it: {what}"

    def _check_age(
        self, asked: Asked, feature: Feature, entity_id: str, reading: Reading, log: Iterable[Stamped]
    ) -> None:
        now_ms = self.world.clock.ms
        what = f"{feature.name} of {entity_id}: {reading} at {now_ms}"
        assert reading.computed_ms <= now_ms, what
        assert asked.began_ms - reading.computed_ms < feature.ttl_ms, f"past its ttl: {what}"
        if not self.world.redis_up:
            assert reading.computed_ms >= asked.began_ms, f"not from the log: {what}"
        for event in log:
            mine = entity_id == event.subject_id if asked.entity.name == "User" else entity_id in event.products
            if not mine or event.event_type not in feature.events or event.event_id in asked.unacknowledged:
                continue
            if asked.caught_up and event.event_ms <= asked.began_ms:
                due_ms = max(event.ingest_ms, event.event_ms)
            elif feature.on_event is OnEvent.READ_THROUGH and entity_id not in asked.doubtful:
                due_ms = event.ingest_ms
            else:
                continue
            # What is being written right now is in the log before anybody was promised it.
            if event.ingest_ms <= asked.began_ms - asked.disturbed:
                assert reading.computed_ms >= due_ms, f"misses {event}: {what}"

    async def _check_values(self, asked: Asked, feature: Feature, found: Mapping[str, Reading]) -> None:
        lasting = asked.caught_up
        questions: dict[tuple[int, tuple[int, ...]], list[str]] = {}
        for entity_id, reading in found.items():
            computed_ms = reading.computed_ms
            moments = [self.world.clock.ms] if lasting else self._moments(asked, feature, entity_id, computed_ms)
            questions.setdefault((computed_ms, tuple(moments)), []).append(entity_id)
        for (computed_ms, possible), ids in questions.items():
            # What is computed on read is right at the instant of the read: its window may have slid since, and whom a
            # change of the catalogue touches is asked with the window of that change.
            at_ms = self.world.clock.ms if lasting and _right_at_any_time(feature) else computed_ms
            truths = [await self.world.truth.values(feature, ids, at_ms, moment) for moment in possible]
            for entity_id in ids:
                value = _evidence(found[entity_id])
                right = not possible or any(_same(feature, value, truth.get(entity_id)) for truth in truths)
                if not right and not asked.caught_up and isinstance(value, float):
                    right = await self._lags_behind(feature, entity_id, value, computed_ms, possible)
                assert right, (
                    f"{feature.name} of {entity_id} is {found[entity_id]} at {self.world.clock.ms}, the statement gives"
                    f" {[truth.get(entity_id) for truth in truths]} as of {possible}"
                )

    async def _lags_behind(
        self, feature: Feature, entity_id: str, value: float, computed_ms: int, possible: Sequence[int]
    ) -> bool:
        """Whether a relative value misses no event of its own, and of others what the worker has yet to do.

        While much happens the greatest may also know what came after the instant that the value is of.
        """
        relative = feature.relative
        if relative is None:
            return False
        products = sorted({product for event in await self.world.truth.log() for product in event.products})
        moments = {event.ingest_ms for event in await self.world.truth.log()} | {computed_ms, 0}
        mine = [await self.world.truth.magnitudes(feature, [entity_id], computed_ms, moment) for moment in possible]
        for moment in sorted(moments):
            others = await self.world.truth.magnitudes(feature, products, computed_ms, moment)
            for greatest in (0.0, *others.values()):
                scores = [relative.score(own[entity_id], greatest) for own in mine if entity_id in own]
                if any(_same(feature, value, score) for score in scores):
                    return True
        return False

    async def _check_windows(
        self, asked: Asked, feature: Feature, found: Mapping[str, Reading], log: Iterable[Stamped]
    ) -> None:
        """A value that is computed on read is right now too: what left its window since has changed it."""
        now_ms = self.world.clock.ms
        if not _right_at_any_time(feature) or asked.disturbed:
            return
        times = [event.event_ms for event in log]
        for entity_id, reading in found.items():
            computed_ms = reading.computed_ms
            # What was in the future then counts when the worker has woken it.
            arrived = any(computed_ms < time <= now_ms for time in times)
            moments = self._moments(asked, feature, entity_id, computed_ms)
            if arrived or entity_id in asked.doubtful or len(moments) != 1:
                continue
            truth = (await self.world.truth.values(feature, [entity_id], now_ms, moments[0])).get(entity_id)
            assert _same(feature, _evidence(reading), truth), (
                f"{feature.name} of {entity_id} is {reading} at {now_ms}, by then the statement gives {truth}"
            )

    def _moments(self, asked: Asked, feature: Feature, entity_id: str, computed_ms: int) -> list[int]:
        """The instants of which a value that was computed at ``computed_ms`` may know all that happened; [] for any."""
        spans = [span for span in self.blurred if span.start_ms <= computed_ms <= span.end_ms]
        now = self.now_blurred
        if now is not None and computed_ms >= now.start_ms:
            spans.append(now._replace(end_ms=self.world.clock.ms))
        elif feature.on_event is OnEvent.READ_THROUGH and entity_id not in asked.doubtful:
            # What was acknowledged meanwhile has made dirty what does not know it.
            spans = [span if span.catalogue else Span(span.end_ms, span.end_ms) for span in spans]
        if not spans:
            return [computed_ms]
        if any(span.crowd for span in spans):
            return []
        return list(range(min(span.start_ms for span in spans), max(span.end_ms for span in spans) + 1))


def _right_at_any_time(feature: Feature) -> bool:
    """Whether a read computes what has changed since. Weights in tables decay: they are of the instant they have."""
    return feature.on_event is OnEvent.READ_THROUGH and feature.type is not FeatureType.TABLE


def _evidence(reading: Reading) -> Any:
    return None if reading.status in (Status.DEFAULT, Status.NULL) else reading.value


def _same(feature: Feature, served: Any, truth: Any) -> bool:
    if isinstance(served, float) and isinstance(truth, float):
        # Sums of doubles in another order; rounding may turn their last bit into a digit.
        return math.isclose(served, truth, rel_tol=1e-9, abs_tol=1e-12 if feature.relative is None else 0.0101)
    if isinstance(served, Sequence) and not isinstance(served, str) and truth is not None:
        return list(served) == list(truth)
    return bool(served == truth)
