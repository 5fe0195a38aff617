"""Candidates from a version in memory: the hits of its sources, merged by weighted reciprocal ranks, as places.

Training, its gate and the evaluation rank these; a request adds what the stores found.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.recommender.domain.candidates import RANK_CONSTANT
from services.recommender.domain.learned import Floats, Places
from services.recommender.domain.ordering import best
from services.recommender.domain.personal import Personal, hits
from services.recommender.domain.scores import Scores

# What a ranker is for: anything that the shopper may take next, or only what they never bought.
ANYTHING = "anything"
NEW = "new"
OBJECTIVES = (ANYTHING, NEW)

# How many each source gives, and what a rank in it is worth; why: docs/ranking.md. As the serving configs that the
# rankers are for have them (serving_configs.toml): the gate compares with the order that would serve instead.
LIMITS: Mapping[str, int] = {
    "buy_again": 100,
    "taste": 60,
    "collaborative": 60,
    "alike": 60,
    "best_sellers": 30,
    "rising": 30,
}
WEIGHTS: Mapping[str, Mapping[str, float]] = {
    ANYTHING: {
        "buy_again": 10.0,
        "taste": 3.0,
        "collaborative": 1.6,
        "alike": 1.0,
        "best_sellers": 0.5,
        "rising": 0.3,
    },
    NEW: {
        "taste": 2.4,
        "collaborative": 3.2,
        "alike": 1.0,
        "best_sellers": 0.7,
        "rising": 0.5,
    },
}

# Measured: 100 candidates lose nothing against 500.
CANDIDATES = 150


def retrieve(person: Personal, objective: str, limit: int = CANDIDATES) -> tuple[Places, Floats]:
    """The best candidates for the objective and their fused scores, best first, ties by place."""
    allowed = None
    if objective == NEW:
        allowed = np.ones(len(person.learned), dtype=np.bool_)
        allowed[person.bought] = False
    weights = WEIGHTS[objective]
    found = [hits(person, source, LIMITS[source], allowed)[0] for source in weights]
    parts = [
        weight / (RANK_CONSTANT + 1 + np.arange(len(places)))
        for weight, places in zip(weights.values(), found, strict=True)
    ]
    fused = Scores.add_up(np.concatenate(found), np.concatenate(parts))
    return best(fused.places, fused.values, limit)
