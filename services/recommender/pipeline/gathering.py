"""Runs the candidate sources of a serving config side by side; one that fails or is late is left out, visibly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from services.recommender.domain.candidates import Hit
from services.recommender.domain.serving import ServingConfig, SourceSpec
from services.recommender.pipeline.context import Context, Degraded
from services.recommender.pipeline.deadline import within
from services.recommender.pipeline.metrics import CANDIDATES, SOURCE_FAILURES, SOURCE_SECONDS
from services.recommender.pipeline.sources import CandidateSource
from services.runtime.errors import ServiceError
from services.runtime.logs import get_logger

log = get_logger(__name__)


async def gather(
    config: ServingConfig,
    sources: Mapping[str, CandidateSource],
    context: Context,
    page_size: int,
    degraded: Degraded,
    hidden: int = 0,
) -> dict[str, list[Hit]]:
    """The hits of each source that answered; the others are in ``degraded`` as candidates:NAME.

    ``hidden``: how many of them may fall out, because pages before showed them for example.
    """
    found: dict[str, list[Hit]] = {}

    async def fetch(spec: SourceSpec) -> None:
        # A page of 100 needs more than the usual number, and reserves.
        limit = max(spec.limit, 2 * page_size) + hidden
        started = time.perf_counter()
        try:
            source = sources[spec.name]
            found_now = source.fetch(context, limit)
            hits = await (found_now if source.asks_nobody else within(spec.deadline, found_now))
        except Exception as error:
            degraded.add(f"candidates:{spec.name}")
            cause = _cause(error)
            SOURCE_FAILURES.labels(spec.name, cause).inc()
            if cause == "bug":
                log.error("source_failed", source=spec.name, error=type(error).__name__, exc_info=error)
            return
        SOURCE_SECONDS.labels(spec.name).observe(time.perf_counter() - started)
        CANDIDATES.labels(spec.name).inc(len(hits))
        found[spec.name] = hits

    async with asyncio.TaskGroup() as group:
        # Those that wait for somebody first: the others answer meanwhile.
        for spec in config.sources:
            if not sources[spec.name].asks_nobody:
                group.create_task(fetch(spec))
        await asyncio.sleep(0)
        for spec in config.sources:
            if sources[spec.name].asks_nobody:
                await fetch(spec)
    # In the order of the config, not of arrival: the same answers make the same page.
    return {spec.name: found[spec.name] for spec in config.sources if spec.name in found}


def _cause(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "late"
    return "away" if isinstance(error, ServiceError) else "bug"
