"""The decision: from everything that was gathered to an order of products. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from services.recommender.domain import ranker_features
from services.recommender.domain.candidates import Candidate
from services.recommender.domain.explaining import Explanation, contributions, learnt_contributions, movements
from services.recommender.domain.personal import Personal
from services.recommender.domain.ranker import Ranker
from services.recommender.domain.scoring import Facts, assemble, effective_weights, score
from services.recommender.domain.selection import Scored, select
from services.recommender.domain.serving import ServingConfig
from services.recommender.domain.signals import UserSignals


@dataclass(frozen=True, slots=True)
class Choice:
    """One product in its place; ``candidate`` says how it was found."""

    candidate: Candidate
    score: float
    top_category: str
    # None: nobody asked.
    explanation: Explanation | None = None


@dataclass(frozen=True, slots=True)
class Trained:
    """A ranker for the config's objective, and the shopper as its version sees them."""

    ranker: Ranker
    person: Personal


def decide(
    config: ServingConfig,
    candidates: Sequence[Candidate],
    facts: Facts,
    signals: UserSignals,
    tastes: Mapping[str, float],
    page_size: int,
    explain: bool = False,
    trained: Trained | None = None,
) -> list[Choice]:
    """The candidates in the order to show: a page of ``page_size``, then its reserves.

    ``facts`` are aligned with ``candidates``, which are available, distinct and not excluded already. Without
    ``trained`` the weights order.
    """
    if not candidates:
        return []
    weights = effective_weights(config.weights, ranked=trained is not None, in_session=signals.in_session)
    matrix = assemble(candidates, facts, signals, tastes)
    opinion = None
    exact = score(matrix, weights)
    if trained is not None and facts.places is not None:
        opinion = ranker_features.assemble(trained.person, facts.places)
        exact = exact + trained.ranker.score(opinion)
    scores = np.round(exact, 6).tolist()
    newest_view = signals.recent_views[0] if signals.in_session else None
    scored = [
        Scored(
            candidate.id,
            scores[row],
            facts.top_categories[row],
            facts.brands[row],
            newest_view is not None and candidate.came_from(newest_view),
        )
        for row, candidate in enumerate(candidates)
    ]
    by_id = {candidate.id: candidate for candidate in candidates}
    ordered = select(scored, page_size, config.diversity, facts.vectors)
    explanations: dict[str, Explanation] = {}
    if explain:
        moved = movements(scored, page_size, config.diversity, facts.vectors)
        parts = contributions(matrix, weights)
        if trained is not None and opinion is not None:
            parts = learnt_contributions(trained.ranker, opinion, parts)
        explanations = {item.id: Explanation(part, moved[item.id]) for item, part in zip(scored, parts, strict=True)}
    return [Choice(by_id[item.id], item.score, item.top_category, explanations.get(item.id)) for item in ordered]
