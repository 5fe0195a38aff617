"""A rehearsal: a version is learned from the past of a window, recommends at its start, and is judged by the window.

Over several windows, each with a version of its own, because one week of a small shop says too little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from services.recommender.domain import learned as knowledge
from services.recommender.domain import ranker as rankers
from services.recommender.domain.learned import Places
from services.recommender.domain.moments import Moment
from services.recommender.domain.personal import personal
from services.recommender.domain.ranker import Ranker
from services.recommender.domain.ranker_features import assemble
from services.recommender.domain.retrieving import OBJECTIVES, retrieve
from services.recommender.training.evaluating.comparing import Judged, Split, compare, pool, split
from services.recommender.training.evaluating.metrics import PAGE
from services.recommender.training.learning import job
from services.recommender.training.learning.log import DAY, Catalogue, Log
from services.recommender.training.learning.states import States
from services.recommender.training.learning.windows import WINDOWS, label_types, label_windows

SERVED = "windowshop"

# Beyond so many the intervals are narrow enough.
_SHOPPERS = 5_000


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Who was judged on what: ``lineage`` says how each version came about, the newest first."""

    judged: Judged
    days: float
    lineage: tuple[dict[str, str], ...]


def rehearse(log: Log, catalogue: Catalogue, report: Callable[[float], None], count: int = WINDOWS) -> Rehearsal | None:
    """On the newest ``count`` label windows of the log, at most 4; None: the log is too short to be split."""
    windows = label_windows(log)[:count]
    if not windows:
        return None
    types = label_types(log, windows)
    judged: list[Judged] = []
    lineage: list[dict[str, str]] = []
    for number, window in enumerate(windows):
        task = split(log, window.start, window.end, *types)
        outcome = job.run(task.past, catalogue, window.start, {}, _share(report, number, len(windows)))
        lists = _recommend(outcome, task)
        judged.append(compare(task, lists, SERVED, catalogue.groups["department"]))
        lineage.append(outcome.lineage)
    report(1.0)
    return Rehearsal(pool(judged), (windows[0].end - windows[0].start) / DAY, tuple(lineage))


def _share(report: Callable[[float], None], number: int, count: int) -> Callable[[float], None]:
    return lambda share: report((number + share) / count)


def _recommend(outcome: job.Outcome, task: Split) -> dict[str, dict[int, Places]]:
    known = knowledge.decode(outcome.artifacts[knowledge.ARTIFACT])
    orders: dict[str, Ranker] = {
        objective: rankers.decode(outcome.artifacts[f"ranker_{objective}"])
        for objective in OBJECTIVES
        if f"ranker_{objective}" in outcome.artifacts
    }
    states = States(task.past, task.instant)
    lists: dict[str, dict[int, Places]] = {objective: {} for objective in OBJECTIVES}
    shoppers = sorted({user for wanted in task.wanted.values() for user in wanted})
    if len(shoppers) > _SHOPPERS:
        shoppers = sorted(np.random.default_rng(0).choice(shoppers, _SHOPPERS, replace=False).tolist())
    for user in shoppers:
        person = personal(known, states.of(user), task.moments.get(user, Moment()))
        for objective in OBJECTIVES:
            places, scores = retrieve(person, objective)
            if objective in orders:
                scores = orders[objective].score(assemble(person, places))
            lists[objective][user] = places[np.lexsort((places, -scores))][:PAGE]
    return lists
