"""Whether a ranker earns its place: on the newest label window, which it was not trained on, per shopper."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from services.recommender.domain.learned import Floats
from services.recommender.training.learning.rows import Case

PAGE = 10
_DISCOUNTS: Floats = 1 / np.log2(np.arange(2, PAGE + 2))
_IDEAL: Floats = np.cumsum(_DISCOUNTS)

# With fewer shoppers to judge by, every difference is an accident.
FEWEST_CASES = 20

Score = Callable[[Case], Floats]


def fused(case: Case) -> Floats:
    """The order of weighted reciprocal ranks alone."""
    return case.fused


def ndcg(cases: Sequence[Case], score: Score) -> Floats:
    """nDCG@10 of each case, by falling score, ties by place; what retrieval did not find counts as missed."""
    return np.array([_one(case, score(case)) for case in cases])


def _one(case: Case, scores: Floats) -> float:
    best = np.lexsort((case.places, -scores))[:PAGE]
    hits = case.labels[best]
    return float((_DISCOUNTS[: len(hits)] * hits).sum() / _IDEAL[min(PAGE, case.taken) - 1])


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two orders on the same cases: mean difference of their nDCG and its standard error."""

    mean: float
    error: float

    @property
    def worse(self) -> bool:
        """Whether the first one is worse by more than one standard error."""
        return self.mean < -self.error


def compare(one: Floats, other: Floats) -> Comparison:
    """``one`` minus ``other``, paired."""
    difference = one - other
    error = float(difference.std(ddof=1)) / math.sqrt(len(difference)) if len(difference) > 1 else math.inf
    return Comparison(float(difference.mean()) if len(difference) else 0.0, error)


def best(values: Mapping[str, Floats], otherwise: str) -> str:
    """The name with the highest mean, if that is above that of ``otherwise``."""
    means = {name: float(value.mean()) for name, value in values.items()}
    leader = max(sorted(means), key=lambda name: means[name])
    return leader if means[leader] > means[otherwise] else otherwise
