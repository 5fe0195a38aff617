"""Keeps the copied product scores near the feature service's, off the request path."""

from __future__ import annotations

import asyncio
import time

from services.recommender.ranking_ports import FeatureExport, ScoreStore
from services.recommender.training.metrics import SCORES_CHANGED, SCORES_FAILURES, SCORES_SECONDS
from services.runtime.errors import ServiceError
from services.runtime.logs import get_logger

log = get_logger(__name__)

# The most that one BatchGetFeatures takes.
_PAGE = 1_000
# A refresh may keep both services busy for a fiftieth of the time at most: with 100,000 products it takes seconds, and
# scores, which are sums over days, hardly move in minutes.
_SHARE = 0.02
# Scores of products that are gone are in nobody's way.
_FORGET_SECONDS = 600.0


class ScoreRefresher:
    """Copies popularity, trend and rating of every product, page by page."""

    def __init__(self, features: FeatureExport, store: ScoreStore, every: float) -> None:
        self._features = features
        self._store = store
        self._every = every
        self._asked = asyncio.Event()
        self._forget_at = 0.0

    def ask(self) -> None:
        """Starts the next refresh now, or right after the one under way."""
        self._asked.set()

    async def refresh(self) -> int:
        """One pass over the catalogue; returns how many scores changed. Raises when a side is away."""
        changed, after = 0, ""
        while ids := await self._store.product_ids(after, _PAGE):
            changed += await self._store.write(await self._features.scores(ids))
            after = ids[-1]
        if time.monotonic() >= self._forget_at:
            await self._store.forget_deleted()
            self._forget_at = time.monotonic() + _FORGET_SECONDS
        SCORES_CHANGED.inc(changed)
        return changed

    async def follow(self) -> None:
        """Refreshes for ever."""
        failing = False
        while True:
            self._asked.clear()
            started = time.monotonic()
            try:
                await self.refresh()
            except ServiceError as error:
                SCORES_FAILURES.inc()
                if not failing:
                    log.warning("scores_not_refreshed", error=str(error))
                failing = True
            else:
                if failing:
                    log.info("scores_refreshed_again")
                failing = False
            took = time.monotonic() - started
            SCORES_SECONDS.set(took)
            try:
                async with asyncio.timeout(max(self._every, took / _SHARE)):
                    await self._asked.wait()
            except TimeoutError:
                continue
