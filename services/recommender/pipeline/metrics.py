"""Metrics of recommending. Labels are names of serving configs, sources and stages: bounded by declarations."""

from __future__ import annotations

import contextlib
import functools
import time

from prometheus_client import Counter, Gauge

from services.runtime.metrics import BUCKETS, LoopCounter, LoopHistogram

CANDIDATES = LoopCounter(
    "windowshop_candidates_total",
    "Candidates found by source; a source that stands still finds nothing for anyone.",
    ["source"],
)
SOURCE_SECONDS = LoopHistogram(
    "windowshop_candidate_source_seconds",
    "Time a candidate source took; near its deadline its candidates are often missing.",
    ["source"],
    buckets=BUCKETS,
)
SOURCE_FAILURES = Counter(
    "windowshop_candidate_source_failures_total",
    "Candidate sources that failed or were late; each one made an answer degraded.",
    ["source", "cause"],
)
MERGED = LoopHistogram(
    "windowshop_recommendation_candidates",
    "Distinct available products that a page was chosen from; a ranker has little to choose from below 100.",
    # An edge takes in what equals it: beyond 99 means 100 and more.
    buckets=(9, 19, 49, 99, 149),
)
STAGE_SECONDS = LoopHistogram(
    "windowshop_recommendation_stage_seconds",
    "Time of a recommendation by stage; the sum should stay below 0.05.",
    ["stage"],
    buckets=BUCKETS,
)
ANSWERS = LoopCounter(
    "windowshop_recommendations_total",
    "Answers by outcome: full, degraded (something was missing) or empty; degraded above 0 needs a look.",
    ["serving_config", "outcome"],
)
REMEMBERED = LoopCounter(
    "windowshop_recommendations_remembered_total",
    "Answers in an order that was worked out a moment ago: nothing that decides it had changed, and stock was checked.",
)
DEGRADED = Counter(
    "windowshop_recommendations_degraded_total",
    "Answers that had to do without a part: features, catalogue, model or candidates.",
    ["part"],
)
DROPPED = LoopCounter(
    "windowshop_recommendations_dropped_total",
    "Products taken off a page by the final availability check; many mean that the searches see old stock.",
)
SHOWCASE = Gauge(
    "windowshop_showcase_products",
    "Products kept in memory for the time when the store is down; 0 means empty pages then.",
)
CONFIGS_BROKEN = Gauge(
    "windowshop_serving_configs_broken",
    "Stored edits of serving configs that this version cannot read; above 0 the bundled ones serve in their place.",
)


def forget_config(config_id: str) -> None:
    """Drops the series of a serving config that is gone: whoever creates and deletes must not fill the memory."""
    for outcome in ("full", "degraded", "empty"):
        with contextlib.suppress(KeyError):
            ANSWERS.remove(config_id, outcome)


class timed:  # noqa: N801  # read as a function
    """Observes how long its block took."""

    __slots__ = ("_stage", "_started")

    def __init__(self, stage: str) -> None:
        self._stage = stage

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        _seconds(self._stage).observe(time.perf_counter() - self._started)


@functools.cache
def _seconds(stage: str) -> LoopHistogram:
    """Looking it up takes as long as observing."""
    return STAGE_SECONDS.labels(stage)
