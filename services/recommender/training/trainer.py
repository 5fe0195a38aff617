"""Training runs: from the event log to an active model version, one at a time, by command and by schedule."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta

from services.recommender.domain import learned as knowledge
from services.recommender.domain.retrieving import OBJECTIVES
from services.recommender.ports import CatalogStore, Clock
from services.recommender.ranking_ports import FeatureExport, ModelContents, ModelStore, ModelVersion
from services.recommender.training.interactions import Interactions, Kind
from services.recommender.training.learning.log import Catalogue, Log
from services.recommender.training.metrics import MODEL_CREATED, TRAINING_SECONDS, TRAININGS
from services.recommender.training.process import Learnt, Progress
from services.runtime.errors import ServiceError
from services.runtime.logs import get_logger

log = get_logger(__name__)

NO_INTERACTIONS = (
    "NO_INTERACTIONS: the event log has no view, cart or order by a known user of a product of the catalogue"
)

# How often the schedule is looked at: a shop whose first events just came gets its first model this soon.
_TICK_SECONDS = 20.0

# At a steady pace, a log grows less than that between two looks after some minutes, however fast the pace.
_HARDLY = 0.05

# Of a run: reading the log, then learning, then storing and indexing.
_READ, _LEARNT = 0.1, 0.9

# Of the catalogue at once.
_PAGE = 1_000

# Among so many versions there is the newest that was trained to its end: the store keeps fewer failed ones.
_RECENT = 30

Learn = Callable[[Log, Catalogue, float, Mapping[str, bytes], Progress, float, bool], Awaitable[Learnt]]


class Trainer:
    """Owns the run that is under way in this process."""

    def __init__(
        self,
        store: ModelStore,
        features: FeatureExport,
        catalog: CatalogStore,
        learn: Learn,
        clock: Clock,
        every: float,
        prepare: Callable[[str], Awaitable[None]],
        activated: Callable[[str], None],
    ) -> None:
        """``every`` is in seconds, 0: by command only; ``prepare`` gets this process ready for a stored version, and
        ``activated`` is told each one that serves from now on."""
        self._store = store
        self._features = features
        self._catalog = catalog
        self._learn = learn
        self._clock = clock
        self._every = every
        self._prepare = prepare
        self._activated = activated
        self._run: asyncio.Task[None] | None = None
        # By the schedule: when the log was last found unchanged, and how many rows it had at the last look.
        self._unchanged_at: datetime | None = None
        self._last_look = 0

    async def start(self) -> ModelVersion:
        """Begins a run and returns its version at once. Raises ABORTED while one is under way anywhere."""
        model = await self._store.begin(self._new_id())
        self._run = asyncio.create_task(self._train(model, None), name=f"train-{model.id}")
        return model

    async def close(self) -> None:
        """Ends the run under way; its version is FAILED then."""
        if self._run is not None and not self._run.done():
            self._run.cancel()
            await asyncio.wait([self._run])

    async def follow(self) -> None:
        """Recovers from a crash, then trains by schedule for ever."""
        recovered = False
        while True:
            try:
                if not recovered:
                    await self._store.recover()
                    recovered = True
                if self._every > 0:
                    await self._train_when_due()
            except ServiceError as error:
                log.warning("training_not_started", error=str(error))
            await asyncio.sleep(_TICK_SECONDS)

    async def _train_when_due(self) -> None:
        newest = await self._store.list(_RECENT, None)
        since = max(filter(None, (newest[0].create_time if newest else None, self._unchanged_at)), default=None)
        if since is not None and self._clock() < since + timedelta(seconds=self._every):
            return
        interactions = await self._read()
        # Not the active one: after a rollback that would train again, from the same log, what was just rolled back.
        trained = next((model for model in newest if model.state in ("READY", "ACTIVE", "REJECTED")), None)
        if not len(interactions) or (trained and _same(trained.metrics, interactions)):
            TRAININGS.labels("skipped").inc()
            # An empty log is cheap to look at; a full one is not.
            self._unchanged_at = self._clock() if len(interactions) else None
            return
        if trained is None and not self._settled(interactions):
            return
        model = await self._store.begin(self._new_id())
        self._run = asyncio.create_task(self._train(model, interactions), name=f"train-{model.id}")
        await asyncio.wait([self._run])

    def _settled(self, interactions: Interactions) -> bool:
        """Whether the log has hardly grown since the last look: a first load that is under way is waited for, but the
        events of a shop that is open never end."""
        before, self._last_look = self._last_look, len(interactions)
        return 0 < len(interactions) <= before * (1 + _HARDLY)

    async def _train(self, model: ModelVersion, interactions: Interactions | None) -> None:
        started = time.monotonic()
        log.info("training", model=model.id)
        try:
            if interactions is None:
                interactions = await self._read()
            made = await self._make(model, interactions)
            if made is None:
                await self._fail(model, NO_INTERACTIONS)
            else:
                await self._end(model, interactions, made, started)
        except asyncio.CancelledError:
            await self._fail(model, "INTERRUPTED: the service stopped")
            raise
        except Exception as error:
            reason = error.reason if isinstance(error, ServiceError) else type(error).__name__
            log.warning("training_failed", model=model.id, reason=reason, error=str(error))
            await self._fail(model, f"{reason}: {error}")
        finally:
            TRAINING_SECONDS.set(time.monotonic() - started)
            await self._store.end()

    async def _make(self, model: ModelVersion, interactions: Interactions) -> Learnt | None:
        """None: there is nothing to learn from."""
        kinds = await self._kinds() if len(interactions) else {}
        events, catalogue = await asyncio.to_thread(interactions.arrays, kinds)
        if not len(events):
            return None

        async def progress(share: float) -> None:
            try:
                await self._store.report(model.id, _READ + (_LEARNT - _READ) * share)
            except ServiceError as error:
                # For whoever watches; hours of work are not given up for it.
                log.debug("progress_not_reported", model=model.id, error=str(error))

        await progress(0.0)
        active = await self._store.active()
        rankers, seen_until = ({}, 0.0) if active is None else await self._rankers(active)
        now, awaited = self._clock().timestamp(), active is None
        return await self._learn(events, catalogue, now, rankers, progress, seen_until, awaited)

    async def _end(self, model: ModelVersion, interactions: Interactions, made: Learnt, started: float) -> None:
        """Stores what was made, and lets it serve unless it is worse."""
        contents = await asyncio.to_thread(_contents, made)
        metrics = {
            **made.metrics,
            "interactions": float(len(interactions)),
            "newest_event_ms": float(interactions.newest_ms),
            "users": float(interactions.users),
            "products": float(len(contents.product_ids)),
        }
        if made.rejected:
            metrics["train_seconds"] = round(time.monotonic() - started, 3)
            await self._store.reject(model.id, f"WORSE: {made.rejected}", metrics, made.lineage)
            TRAININGS.labels("rejected").inc()
            log.warning("model_rejected", model=model.id, reason=made.rejected)
            return
        # With the time so far: storing is a small part of it.
        metrics["train_seconds"] = round(time.monotonic() - started, 3)
        await self._store.store(model.id, contents, metrics, made.lineage)
        await self._prepare(model.id)
        log.info("trained", model=model.id, **metrics)
        await self._serve(model)

    async def _rankers(self, active: ModelVersion) -> tuple[dict[str, bytes], float]:
        """By objective, and when the labels end that they were trained on."""
        artifacts = await self._store.artifacts(active.id)
        rankers = {name: artifacts[f"ranker_{name}"] for name in OBJECTIVES if f"ranker_{name}" in artifacts}
        return rankers, active.metrics.get("labels_until", 0.0)

    async def _kinds(self) -> dict[str, Kind]:
        """What learning reads of every product."""
        kinds: dict[str, Kind] = {}
        after = ""
        while page := await self._catalog.page(after, _PAGE):
            kinds |= {product.id: Kind.of(product) for product in page}
            after = page[-1].id
        return kinds

    async def _serve(self, model: ModelVersion) -> None:
        # Before the switch: so the version that serves now is the one that a rollback finds.
        try:
            await self._store.prune()
        except ServiceError as error:
            log.warning("old_models_kept", error=str(error))
        await self._store.complete(model.id)
        self._activated(model.id)
        MODEL_CREATED.set(model.create_time.timestamp())
        TRAININGS.labels("active").inc()

    async def _fail(self, model: ModelVersion, reason: str) -> None:
        TRAININGS.labels("failed").inc()
        try:
            # Shielded: also when this process is about to stop.
            await asyncio.shield(self._store.fail(model.id, reason))
        except ServiceError as error:
            # The next start finds it without its lock and marks it then.
            log.warning("model_not_marked_failed", model=model.id, error=str(error))

    async def _read(self) -> Interactions:
        """The whole log. Where a version serves, its pages win: as much time as reading takes is left to them."""
        rest = await self._store.active() is not None
        interactions, began = Interactions(), time.monotonic()
        async for chunk in self._features.interactions():
            interactions.add(chunk)
            await asyncio.sleep(time.monotonic() - began if rest else 0)
            began = time.monotonic()
        return interactions

    def _new_id(self) -> str:
        return f"v-{self._clock():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def _contents(made: Learnt) -> ModelContents:
    known = knowledge.decode(made.artifacts[knowledge.ARTIFACT])
    return ModelContents(known.ids, known.vectors[:-1], made.artifacts)


def _same(metrics: Mapping[str, float], interactions: Interactions) -> bool:
    """Whether a model has seen exactly this log; the number tells of late events, the time of new ones."""
    return metrics.get("interactions") == len(interactions) and metrics.get("newest_event_ms") == float(
        interactions.newest_ms
    )
