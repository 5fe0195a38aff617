"""The decision: from everything that was gathered to an order of products. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from services.recommender.domain.candidates import Candidate
from services.recommender.domain.explaining import Explanation, contributions, movements
from services.recommender.domain.scoring import Facts, assemble, score
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


def decide(
    config: ServingConfig,
    candidates: Sequence[Candidate],
    facts: Facts,
    signals: UserSignals,
    tastes: Mapping[str, float],
    page_size: int,
    explain: bool = False,
) -> list[Choice]:
    """The candidates in the order to show: a page of ``page_size``, then its reserves.

    ``facts`` are aligned with ``candidates``, which are available, distinct and not excluded already.
    """
    if not candidates:
        return []
    matrix = assemble(candidates, facts, signals, tastes)
    scores = np.round(score(matrix, config.weights), 6).tolist()
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
    ordered = select(scored, page_size, config.diversity)
    explanations: dict[str, Explanation] = {}
    if explain:
        moved = movements(scored, page_size, config.diversity)
        explanations = {
            item.id: Explanation(contributions(matrix[row], config.weights), moved[item.id])
            for row, item in enumerate(scored)
        }
    return [Choice(by_id[item.id], item.score, item.top_category, explanations.get(item.id)) for item in ordered]
