"""Training rows of a label window: what shoppers looked like at its start, and what they took within it.

Everything left of the label is made as a request makes it, from what was known at the start of the window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.recommender.domain.learned import Floats, Learned, Places
from services.recommender.domain.personal import personal
from services.recommender.domain.ranker_features import assemble
from services.recommender.domain.retrieving import ANYTHING, NEW, OBJECTIVES, retrieve
from services.recommender.training.learning.log import Log
from services.recommender.training.learning.states import States
from services.recommender.training.learning.truth import first_moments, taken

# Of a window; more of them sharpen nothing that the metrics could show, and cost time.
_USERS = 4_000


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time, in seconds since 1970: shoppers are seen at ``start``, labels lie before ``end``."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Case:
    """One shopper's candidates for one objective, the best fused score first.

    ``taken``: how many products they took in the window that count for the objective, found or not.
    """

    objective: str
    user: int
    places: Places
    fused: Floats
    matrix: npt.NDArray[np.float32]
    labels: npt.NDArray[np.bool_]
    taken: int


def cases(log: Log, learned: Learned, window: Window, types: Sequence[int], seed: int) -> Iterator[Case]:
    """The cases of the window's shoppers, at most a fixed number of them, drawn by ``seed``.

    ``types``: which interactions count as taking a product.
    """
    states = States(log.before(window.start), window.start)
    chosen = log.between(window.start, window.end).of(*types)
    took, moments = taken(chosen), first_moments(chosen)
    users = sorted(took)
    if len(users) > _USERS:
        users = sorted(np.random.default_rng(seed).choice(users, _USERS, replace=False).tolist())
    for user in users:
        person = personal(learned, states.of(user), moments[user])
        for objective in OBJECTIVES:
            wanted = took[user]
            if objective == NEW:
                wanted = np.setdiff1d(wanted, person.bought)
            if not len(wanted):
                continue
            places, fused = retrieve(person, objective)
            matrix = assemble(person, places)
            yield Case(objective, user, places, fused, matrix, np.isin(places, wanted), len(wanted))


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of many cases, for fitting."""

    matrix: npt.NDArray[np.float32]
    labels: npt.NDArray[np.bool_]
    # Of the negative rows, how many were kept: what the log-odds have to be lowered by is its logarithm.
    kept: float


def sample(found: Sequence[Case], limit: int, seed: int) -> Rows:
    """All rows with a true label, and so many of the others that there are about ``limit``, drawn by ``seed``."""
    labels = np.concatenate([case.labels for case in found])
    positives = int(labels.sum())
    kept = min(1.0, max(limit - positives, positives) / max(1, len(labels) - positives))
    chosen = labels | (np.random.default_rng(seed).random(len(labels)) < kept)
    ends = np.cumsum([len(case.labels) for case in found])
    parts = [case.matrix[chosen[end - len(case.labels) : end]] for case, end in zip(found, ends, strict=True)]
    return Rows(np.concatenate(parts), labels[chosen], kept)


__all__ = ["ANYTHING", "NEW", "Case", "Rows", "Window", "cases", "sample"]
