"""Runs the candidate sources of a serving config side by side; one that fails or is late is left out, visibly."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Mapping

from services.recommender.domain.candidates import Found
from services.recommender.domain.serving import ServingConfig, SourceSpec
from services.recommender.pipeline.context import Context, Degraded
from services.recommender.pipeline.deadline import within
from services.recommender.pipeline.metrics import CANDIDATES, SOURCE_FAILURES, SOURCE_SECONDS
from services.recommender.pipeline.sources import CandidateSource
from services.runtime.errors import ServiceError
from services.runtime.logs import get_logger
from services.runtime.metrics import LoopCounter, LoopHistogram

log = get_logger(__name__)


async def gather(
    config: ServingConfig,
    sources: Mapping[str, CandidateSource],
    context: Context,
    page_size: int,
    degraded: Degraded,
    hidden: int = 0,
) -> dict[str, Found]:
    """The hits of each source that answered; the others are in ``degraded`` as candidates:NAME.

    ``hidden``: how many of them may fall out, because pages before showed them for example.
    """
    found: dict[str, Found] = {}

    def at_once(spec: SourceSpec) -> bool:
        """Whether that was all."""
        started = time.perf_counter()
        try:
            hits = sources[spec.name].at_once(context, _limit(spec, page_size, hidden))
        except Exception as error:
            _failed(spec.name, error, degraded)
            return True
        if hits is None:
            return False
        _answered(spec.name, started, len(hits))
        found[spec.name] = hits
        return True

    async def fetch(spec: SourceSpec) -> None:
        started = time.perf_counter()
        limit = _limit(spec, page_size, hidden)
        try:
            hits = await within(spec.deadline, sources[spec.name].fetch(context, limit))
        except Exception as error:
            _failed(spec.name, error, degraded)
        else:
            _answered(spec.name, started, len(hits))
            found[spec.name] = hits

    # Those that may have to wait for somebody first: the others answer meanwhile.
    waiting = [spec for spec in config.sources if not sources[spec.name].asks_nobody and not at_once(spec)]
    at_work = [spec for spec in config.sources if sources[spec.name].asks_nobody]
    if waiting:
        async with asyncio.TaskGroup() as group:
            for spec in waiting:
                group.create_task(fetch(spec))
            await asyncio.sleep(0)
            for spec in at_work:
                at_once(spec)
    else:
        for spec in at_work:
            at_once(spec)
    # In the order of the config, not of arrival: the same answers make the same page.
    return {spec.name: found[spec.name] for spec in config.sources if spec.name in found}


def _limit(spec: SourceSpec, page_size: int, hidden: int) -> int:
    # A page of 100 needs more than the usual number, and reserves.
    return max(spec.limit, 2 * page_size) + hidden


@functools.cache
def _metrics(source: str) -> tuple[LoopHistogram, LoopCounter]:
    """Of a source, whose names are declared: looking them up takes as long as counting."""
    return SOURCE_SECONDS.labels(source), CANDIDATES.labels(source)


def _answered(source: str, started: float, hits: int) -> None:
    seconds, candidates = _metrics(source)
    seconds.observe(time.perf_counter() - started)
    candidates.inc(hits)


def _failed(source: str, error: Exception, degraded: Degraded) -> None:
    degraded.add(f"candidates:{source}")
    cause = _cause(error)
    SOURCE_FAILURES.labels(source, cause).inc()
    if cause == "bug":
        log.error("source_failed", source=source, error=type(error).__name__, exc_info=error)


def _cause(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "late"
    return "away" if isinstance(error, ServiceError) else "bug"
