"""Which model version serves: one object, read once per request, changed between requests.

A version is loaded before it serves. What a request began with goes on living until the request ends.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

from services.recommender.domain import learned, ranker, ranker_features
from services.recommender.domain.learned import Learned
from services.recommender.domain.version import Version
from services.recommender.pipeline.polling import Poller
from services.recommender.ranking_ports import ModelStore, ModelVersion
from services.runtime.logs import get_logger

log = get_logger(__name__)

# A version that could not be read is tried again after so long: what was in its way may have been for a moment.
_RETRY_SECONDS = 60.0

# The rankers' artifacts by the objective that they serve.
_RANKERS = {"anything": "ranker_anything", "never_bought": "ranker_new"}


class ActiveModel:
    """Follows the store; this process's own activations are told directly."""

    def __init__(
        self,
        store: ModelStore,
        prepared: Callable[[Learned], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``prepared`` is awaited for each version before it serves; ``clock`` counts seconds."""
        self._store = store
        self._get_ready = prepared
        self._clock = clock
        self._tried_at = 0.0
        self._version = Version()
        # Loaded, and about to serve.
        self._next = Version()
        self._poller = Poller("the active model", self.refresh)

    @property
    def version(self) -> Version:
        """The one that serves at this moment."""
        return self._version

    async def prepare(self, model_id: str) -> None:
        """Loads a version that is about to be activated, so that the switch takes no time. Raises UNAVAILABLE."""
        found = await self._store.get(model_id)
        if found is not None:
            self._next = await self._load(found)

    def switch(self, model_id: str) -> None:
        """From the next request on where it is prepared, else as soon as it is loaded."""
        if model_id == self._next.id:
            self._serve(self._next)
        else:
            self._poller.ask()

    async def refresh(self) -> None:
        """Reads the store. Raises UNAVAILABLE when it is away; the version stays as it was then."""
        active = await self._store.active()
        if active is None:
            self._serve(Version())
        elif active.id == self._next.id:
            self._serve(self._next)
        elif active.id != self._version.id or self._worth_another_try():
            self._serve(await self._load(active))

    async def follow(self) -> None:
        """Refreshes for ever."""
        await self._poller.follow()

    def _worth_another_try(self) -> bool:
        return self._version.broken and self._clock() >= self._tried_at + _RETRY_SECONDS

    def _serve(self, version: Version) -> None:
        if version.id != self._version.id or version.broken != self._version.broken:
            log.info("model_active", model=version.id, before=self._version.id, rankers=sorted(version.rankers))
            self._version = version
            self._next = Version()

    async def _load(self, model: ModelVersion) -> Version:
        self._tried_at = self._clock()
        artifacts = await self._store.artifacts(model.id)
        try:
            version = await asyncio.to_thread(_decode, model, artifacts)
        except Exception as error:  # an archive can be broken in many ways
            # Its searches in the store are better than nothing of it.
            if not (self._version.broken and self._version.id == model.id):
                log.error("model_unreadable", model=model.id, error=f"{type(error).__name__}: {error}")
            return Version(model.id, broken=True, whole=False)
        if version.learned is not None:
            await self._get_ready(version.learned)
        return version


def _decode(model: ModelVersion, artifacts: Mapping[str, bytes]) -> Version:
    if learned.ARTIFACT not in artifacts:
        return Version(model.id, whole=False)
    knowledge = learned.decode(artifacts[learned.ARTIFACT])
    # One that was trained with columns that this version of the service does not make cannot be read.
    rankers = {
        objective: one
        for objective, name in _RANKERS.items()
        if name in artifacts and (one := ranker.reading(ranker.decode(artifacts[name]), ranker_features.FEATURES))
    }
    return Version(
        model.id,
        knowledge,
        rankers,
        whole=model.metrics.get("products", 0.0) <= len(knowledge),
    )
