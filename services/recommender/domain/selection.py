"""The selector: from scored candidates to the order of a page, with light diversity."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from services.recommender.domain.serving import Diversity


@dataclass(frozen=True, slots=True)
class Scored:
    """What the selector looks at; ``fresh``: a neighbour of the product viewed last, in a session."""

    id: str
    score: float
    top_category: str
    brand: str
    fresh: bool


def select(scored: Sequence[Scored], page_size: int, diversity: Diversity) -> list[Scored]:
    """All candidates, the page first: its ``page_size`` by falling score, then the reserves by falling score.

    Caps and shares count on the page; where they leave it short, the best of the others fill it: a full page is
    worth more than a diverse one.
    """
    ranked = sorted(scored, key=lambda item: (-item.score, item.id))
    caps = _Caps(
        # At least two, so that a small page of one taste is possible.
        category=max(2, math.ceil(diversity.category_cap * page_size)),
        brand=max(2, math.ceil(diversity.brand_cap * page_size)),
    )
    page: list[Scored] = []
    reserved = math.ceil(diversity.session_share * page_size) if diversity.session_share else 0
    _take([item for item in ranked if item.fresh], reserved, page, caps)
    _take(ranked, page_size, page, caps)
    chosen = {item.id for item in page}
    if len(page) < page_size:
        rest = [item for item in ranked if item.id not in chosen][: page_size - len(page)]
        page += rest
        chosen.update(item.id for item in rest)
    page.sort(key=lambda item: (-item.score, item.id))
    return page + [item for item in ranked if item.id not in chosen]


class _Caps:
    """How many of each category and brand are on the page; no category or no brand is never capped."""

    def __init__(self, category: int, brand: int) -> None:
        self._limits = (category, brand)
        self._categories: Counter[str] = Counter()
        self._brands: Counter[str] = Counter()

    def admit(self, item: Scored) -> bool:
        category_limit, brand_limit = self._limits
        if item.top_category and self._categories[item.top_category] >= category_limit:
            return False
        if item.brand and self._brands[item.brand] >= brand_limit:
            return False
        self._categories[item.top_category] += 1
        self._brands[item.brand] += 1
        return True


def _take(items: Sequence[Scored], up_to: int, page: list[Scored], caps: _Caps) -> None:
    chosen = {item.id for item in page}
    for item in items:
        if len(page) >= up_to:
            return
        if item.id not in chosen and caps.admit(item):
            page.append(item)
