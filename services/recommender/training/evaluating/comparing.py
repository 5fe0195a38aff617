"""What is recommended beside the simple models of the same past: the same shoppers, the same truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from services.recommender.domain.learned import Codes
from services.recommender.domain.moments import Moment
from services.recommender.domain.retrieving import ANYTHING, NEW
from services.recommender.training.evaluating.baselines import OWN, baselines, lists
from services.recommender.training.evaluating.metrics import (
    PER_SHOPPER,
    SHOP_WIDE,
    Judgement,
    Lists,
    Shop,
    judge,
    paired_bootstrap,
)
from services.recommender.training.learning.log import Log
from services.recommender.training.learning.truth import first_moments, never_before, taken

METRICS = ("ndcg", "recall", "hit_rate", "mrr", "coverage", "novelty", "calibration", "popularity_bias")

# By objective, then by the name of who recommends.
Judged = Mapping[str, Mapping[str, Judgement]]


@dataclass(frozen=True, slots=True)
class Split:
    """A log up to an instant, and what was taken after it: anything, and what the shopper had never bought."""

    past: Log
    instant: float
    histories: Lists
    wanted: Mapping[str, Lists]
    # When and from what each shopper took something first after it.
    moments: Mapping[int, Moment]


def split(log: Log, instant: float, end: float, *types: int) -> Split:
    """``types``: which interactions count as taking."""
    past = log.before(instant)
    window = log.between(instant, end).of(*types)
    histories, wanted = taken(past.of(*types)), taken(window)
    targets = {ANYTHING: wanted, NEW: never_before(wanted, histories)}
    return Split(past, instant, histories, targets, first_moments(window))


def _silent(_: str) -> None:
    """Nobody watches."""


def compare(
    task: Split, served: Mapping[str, Lists], name: str, departments: Codes, report: Callable[[str], None] = _silent
) -> Judged:
    """``served``: the lists of ``name`` by objective; shoppers without one are not judged, by nobody.

    ``report`` is told each simple model before it learns: one takes up to half a minute.
    """
    past = task.past
    shop = Shop(np.bincount(past.products, minlength=len(past.product_ids)).astype(np.float64), departments)
    wanted = {
        objective: {user: products for user, products in task.wanted[objective].items() if user in own}
        for objective, own in served.items()
    }
    judged = {
        objective: {name: judge(own, wanted[objective], task.histories, shop)} for objective, own in served.items()
    }
    # One model in memory at a time.
    for other, learn in baselines(past, task.instant).items():
        report(other)
        scorer = learn()
        for objective, found in judged.items():
            if objective == NEW and other == OWN:
                continue
            bought = task.histories if objective == NEW else {}
            simple = lists(scorer, list(wanted[objective]), bought)
            found[other] = judge(simple, wanted[objective], task.histories, shop)
    return judged


def pool(windows: Sequence[Judged]) -> Judged:
    """Judgements of the same models over several windows as one: a shopper of some of them counts once, with the mean,
    so that drawing shoppers anew draws what is independent."""
    return {
        objective: {name: _pooled([window[objective][name] for window in windows]) for name in found}
        for objective, found in windows[0].items()
    }


def _pooled(parts: Sequence[Judgement]) -> Judgement:
    everybody = np.concatenate([np.array(part.shoppers, dtype=np.int64) for part in parts])
    shoppers, row, times = np.unique(everybody, return_inverse=True, return_counts=True)
    values = {
        metric: np.bincount(row, np.concatenate([part.values[metric] for part in parts]), len(shoppers)) / times
        for metric in PER_SHOPPER
    }
    overall = {metric: float(np.mean([part.overall[metric] for part in parts])) for metric in SHOP_WIDE}
    return Judgement(shoppers.tolist(), values, overall)


def summary(judged: Judged, name: str) -> dict[str, Any]:
    """For JSON: by objective and model all metrics, and by how much ``name`` is better, with the 95 % interval."""
    return {
        objective: {
            other: {
                **{metric: round(one.mean(metric), 5) for metric in (*PER_SHOPPER, *SHOP_WIDE)},
                "shoppers": len(one.shoppers),
                "better_by": _differences(found[name], one) if other != name else {},
            }
            for other, one in found.items()
        }
        for objective, found in judged.items()
    }


def _differences(one: Judgement, other: Judgement) -> dict[str, list[float]]:
    found = {}
    for metric in PER_SHOPPER:
        interval = paired_bootstrap(one.values[metric], other.values[metric])
        found[metric] = [round(value, 5) for value in (interval.mean, interval.low, interval.high)]
    return found
