"""Why a product has its score and its place. Computed only when somebody asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from services.recommender.domain.scoring import COLUMNS, Floats, effective_weights
from services.recommender.domain.selection import Scored, select
from services.recommender.domain.serving import Diversity

SESSION_SHARE = "session-share"
CATEGORY_CAP = "category-cap"
BRAND_CAP = "brand-cap"
DIVERSITY = "diversity"
REPLACEMENT = "replacement"
FILL = "fill"
MEMORY = "memory"

_NONE = Diversity()


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one column of the scorer did: ``amount`` = ``weight`` x ``value``."""

    column: str
    value: float
    weight: float

    @property
    def amount(self) -> float:
        return self.weight * self.value


@dataclass(frozen=True, slots=True)
class Explanation:
    """The contributions sum to the score, to six decimals; ``moved_by`` names what other than the score placed it."""

    contributions: tuple[Contribution, ...] = ()
    moved_by: tuple[str, ...] = ()


def contributions(row: Floats, weights: Mapping[str, float]) -> tuple[Contribution, ...]:
    """Of one row of the feature matrix, a column each; ``weights`` as for :func:`scoring.score`."""
    pairs = zip(COLUMNS, row.tolist(), effective_weights(weights).tolist(), strict=True)
    return tuple(Contribution(column, value, weight) for column, value, weight in pairs)


def movements(scored: Sequence[Scored], page_size: int, diversity: Diversity) -> dict[str, tuple[str, ...]]:
    """By product, what placed it other than its score.

    By trial: a rule without which a product of the page would not be on it brought it there. What is not on the page
    is shown only as a replacement.
    """

    def page(rules: Diversity) -> set[str]:
        return {item.id for item in select(scored, page_size, rules)[:page_size]}

    actual, by_score = page(diversity), page(_NONE)
    without = {
        SESSION_SHARE: page(replace(diversity, session_share=_NONE.session_share)),
        CATEGORY_CAP: page(replace(diversity, category_cap=_NONE.category_cap)),
        BRAND_CAP: page(replace(diversity, brand_cap=_NONE.brand_cap)),
    }

    def moved_by(product_id: str) -> tuple[str, ...]:
        if product_id not in actual:
            return (REPLACEMENT,)
        if product_id in by_score:
            return ()
        return tuple(rule for rule, others in without.items() if product_id not in others) or (DIVERSITY,)

    return {item.id: moved_by(item.id) for item in scored}
