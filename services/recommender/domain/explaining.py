"""Why a product has its score and its place. Computed only when somebody asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from services.recommender.domain.learned import Singles
from services.recommender.domain.ranker import Ranker
from services.recommender.domain.scoring import COLUMNS, Floats
from services.recommender.domain.selection import Scored, Vectors, select
from services.recommender.domain.serving import Diversity

SESSION_SHARE = "session-share"
NEWCOMER_SHARE = "newcomer-share"
CATEGORY_CAP = "category-cap"
BRAND_CAP = "brand-cap"
MMR = "mmr"
DIVERSITY = "diversity"
REPLACEMENT = "replacement"
FILL = "fill"
MEMORY = "memory"

# The ranker's column that is the same for every product.
INTERCEPT = "intercept"

_NONE = Diversity()


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one column did: ``amount``, which of the scorer's columns is ``weight`` x ``value``; a trained ranker's
    have no weight (0)."""

    column: str
    value: float
    weight: float
    amount: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """The contributions sum to the score, to six decimals; ``moved_by`` names what other than the score placed it."""

    contributions: tuple[Contribution, ...] = ()
    moved_by: tuple[str, ...] = ()


def contributions(matrix: Floats, weights: Mapping[str, float]) -> list[tuple[Contribution, ...]]:
    """Of each row of the scorer's matrix, a column each; ``weights`` as for :func:`scoring.score`."""
    chosen = [weights[column] for column in COLUMNS]
    return [
        tuple(
            Contribution(column, value, weight, weight * value)
            for column, value, weight in zip(COLUMNS, row, chosen, strict=True)
        )
        for row in matrix.tolist()
    ]


def learnt_contributions(
    ranker: Ranker, matrix: Singles, others: Sequence[tuple[Contribution, ...]]
) -> list[tuple[Contribution, ...]]:
    """Of each row of a ranker's matrix: its columns that did something, the intercept, and those of ``others`` that
    have a weight."""
    columns = (*ranker.features, INTERCEPT)
    values = np.column_stack([matrix, np.ones(len(matrix))]).tolist()
    amounts = ranker.contributions(matrix).tolist()
    return [
        (
            *(
                Contribution(column, value, 0.0, amount)
                for column, value, amount in zip(columns, row, added, strict=True)
                if amount
            ),
            *(part for part in other if part.weight),
        )
        for row, added, other in zip(values, amounts, others, strict=True)
    ]


def movements(
    scored: Sequence[Scored], page_size: int, diversity: Diversity, vectors: Vectors | None = None
) -> dict[str, tuple[str, ...]]:
    """By product, what placed it other than its score.

    By trial: a rule without which a product of the page would not be on it brought it there. What is not on the page
    is shown only as a replacement.
    """

    def page(rules: Diversity) -> set[str]:
        return {item.id for item in select(scored, page_size, rules, vectors)[:page_size]}

    actual, by_score = page(diversity), page(_NONE)
    without = {
        SESSION_SHARE: page(replace(diversity, session_share=_NONE.session_share)),
        NEWCOMER_SHARE: page(replace(diversity, newcomer_share=_NONE.newcomer_share)),
        CATEGORY_CAP: page(replace(diversity, category_cap=_NONE.category_cap)),
        BRAND_CAP: page(replace(diversity, brand_cap=_NONE.brand_cap)),
        MMR: page(replace(diversity, mmr_lambda=_NONE.mmr_lambda)),
    }

    def moved_by(product_id: str) -> tuple[str, ...]:
        if product_id not in actual:
            return (REPLACEMENT,)
        if product_id in by_score:
            return ()
        return tuple(rule for rule, others in without.items() if product_id not in others) or (DIVERSITY,)

    return {item.id: moved_by(item.id) for item in scored}
