"""The decision: from everything that was gathered to an order of products. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, overload

import numpy as np

from services.recommender.domain import ranker_features
from services.recommender.domain.candidates import BY_TEXT, Candidate, Pool
from services.recommender.domain.explaining import Explanation, contributions, learnt_contributions, movements
from services.recommender.domain.learned import Singles
from services.recommender.domain.personal import Personal
from services.recommender.domain.ranker import Ranker
from services.recommender.domain.scoring import COLUMNS, Facts, Floats, assemble, effective_weights, score
from services.recommender.domain.selection import Field, arrange
from services.recommender.domain.serving import ServingConfig
from services.recommender.domain.signals import UserSignals


class Choice(NamedTuple):
    """One product in its place; ``candidate`` says how it was found. A tuple: a page makes some and shows fewer."""

    candidate: Candidate
    score: float
    top_category: str
    # None: nobody asked.
    explanation: Explanation | None = None
    # What is said of it, where that was found before; else its traces say it.
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trained:
    """A ranker for the config's objective, and the shopper as its version sees them."""

    ranker: Ranker
    person: Personal


# Of rows of the pool.
Explain = Callable[[Sequence[int]], Sequence[Explanation]]


class Ranking(Sequence[Choice]):
    """The choices in their order; those that are looked at are made, and explained where that was asked for."""

    def __init__(
        self,
        pool: Pool,
        facts: Facts,
        scores: Sequence[float],
        rows: Sequence[int],
        explain: Explain | None,
    ) -> None:
        """``rows`` are those of the pool, of ``facts`` and of ``scores`` in the order to show."""
        self._pool = pool
        self._facts = facts
        self._scores = scores
        self._rows = rows
        self._explain = explain
        self._made: dict[int, Choice] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> Choice: ...
    @overload
    def __getitem__(self, place: slice) -> list[Choice]: ...
    def __getitem__(self, place: int | slice) -> Choice | list[Choice]:
        if isinstance(place, slice):
            return self._choices(self._rows[place])
        return self._choices([self._rows[place]])[0]

    def _choices(self, rows: Sequence[int]) -> list[Choice]:
        new = [row for row in rows if row not in self._made]
        if new:
            explanations = self._explain(new) if self._explain is not None else [None] * len(new)
            for row, candidate, explanation in zip(new, self._pool.candidates(new), explanations, strict=True):
                self._made[row] = Choice(candidate, self._scores[row], self._facts.top_categories[row], explanation)
        return [self._made[row] for row in rows]


def decide(
    config: ServingConfig,
    pool: Pool,
    facts: Facts,
    signals: UserSignals,
    tastes: Mapping[str, float],
    page_size: int,
    explain: bool = False,
    trained: Trained | None = None,
) -> Sequence[Choice]:
    """The candidates in the order to show: a page of ``page_size``, then its reserves.

    ``facts`` are aligned with ``pool``, whose candidates are available, distinct and not excluded already. Without
    ``trained`` the weights order.
    """
    if not len(pool):
        return ()
    weights = effective_weights(config.weights, ranked=trained is not None, in_session=signals.in_session)
    # What weighs nothing is for explanations.
    wanted = [name for name in COLUMNS if explain or weights[name]]
    matrix = assemble(pool, facts, signals, tastes, wanted)
    opinion = None
    exact = score(matrix, weights)
    if trained is not None and facts.places is not None:
        opinion = ranker_features.assemble_columns(trained.person, facts.places).T
        exact = exact + trained.ranker.score(opinion)
    scores = np.round(exact, 6)
    # What a session reserves its share for.
    fresh = pool.around(signals.recent_views[0]).tolist() if signals.in_session else [False] * len(pool)
    field = Field(pool.ids, scores, facts.top_categories, facts.brands, fresh, _newness(pool, facts))
    explained = None
    if explain:
        moved = movements(field.scored(), page_size, config.diversity, facts.vectors)
        explained = partial(_explain, pool, matrix, weights, moved, trained, opinion)
    rows = arrange(field, page_size, config.diversity, facts.vectors)
    return Ranking(pool, facts, scores.tolist(), rows, explained)


def _explain(
    pool: Pool,
    matrix: Floats,
    weights: Mapping[str, float],
    moved: Mapping[str, tuple[str, ...]],
    trained: Trained | None,
    opinion: Singles | None,
    rows: Sequence[int],
) -> list[Explanation]:
    """Of these rows alone: what all columns did for all candidates are tens of thousands of objects."""
    parts = contributions(matrix[rows], weights)
    if trained is not None and opinion is not None:
        parts = learnt_contributions(trained.ranker, opinion[rows], parts)
    return [Explanation(part, moved[pool.ids[row]]) for row, part in zip(rows, parts, strict=True)]


def _newness(pool: Pool, facts: Facts) -> Floats | None:
    """How well what the version does not know fits the shopper, by its text; None: all is known, or there is no version
    that would put it behind everything that was ever taken."""
    if facts.places is None:
        return None
    unknown = facts.places < 0
    return unknown * pool.scores_of(BY_TEXT) if unknown.any() else None
