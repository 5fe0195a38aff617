"""A rehearsal: a version is learned from the past of a window, recommends at its start, and is judged by the window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from services.recommender.domain import learned as knowledge
from services.recommender.domain import ranker as rankers
from services.recommender.domain.learned import Places
from services.recommender.domain.personal import personal
from services.recommender.domain.ranker import Ranker
from services.recommender.domain.ranker_features import assemble
from services.recommender.domain.retrieving import OBJECTIVES, retrieve
from services.recommender.training.evaluating.comparing import Judged, Split, compare, split
from services.recommender.training.evaluating.metrics import PAGE
from services.recommender.training.learning import job
from services.recommender.training.learning.log import DAY, Catalogue, Log
from services.recommender.training.learning.states import States
from services.recommender.training.learning.windows import label_types, label_windows

SERVED = "windowshop"

# Beyond so many the intervals are narrow enough.
_SHOPPERS = 5_000


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Who was judged on what: ``lineage`` says how the version came about."""

    judged: Judged
    days: float
    lineage: dict[str, str]


def rehearse(log: Log, catalogue: Catalogue, report: Callable[[float], None]) -> Rehearsal | None:
    """On the newest label window of the log; None: the log is too short to be split."""
    windows = label_windows(log)
    if not windows:
        return None
    window = windows[0]
    task = split(log, window.start, window.end, *label_types(log, windows))
    outcome = job.run(task.past, catalogue, window.start, {}, report)
    lists = _recommend(outcome, task)
    judged = compare(task, lists, SERVED, catalogue.groups["department"])
    return Rehearsal(judged, (window.end - window.start) / DAY, outcome.lineage)


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
        person = personal(known, states.of(user))
        for objective in OBJECTIVES:
            places, scores = retrieve(person, objective)
            if objective in orders:
                scores = orders[objective].score(assemble(person, places))
            lists[objective][user] = places[np.lexsort((places, -scores))][:PAGE]
    return lists
