"""The selector: from scored candidates to the order of a page, as diverse as the serving config wants it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.recommender.domain.kernels import falling
from services.recommender.domain.serving import Diversity

Vectors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]

# A share is a decimal: a tenth of ten is one.
_ROUNDING = 1e-9


class Scored(NamedTuple):
    """What the selector looks at; ``fresh``: a neighbour of the product viewed last, in a session; ``newness``: how
    well it fits the shopper, of what the model version does not know, 0 of others."""

    id: str
    score: float
    top_category: str
    brand: str
    fresh: bool
    newness: float = 0.0


@dataclass(frozen=True, slots=True)
class Field:
    """All that are to be selected from, in columns: an element of each for every candidate."""

    ids: Sequence[str]
    scores: Floats
    top_categories: Sequence[str]
    brands: Sequence[str]
    fresh: Sequence[bool]
    # None: nothing is new.
    newness: Floats | None = None

    @classmethod
    def of(cls, scored: Sequence[Scored]) -> Field:
        """From rows."""
        ids, scores, categories, brands, fresh, newness = zip(*scored, strict=True) if scored else ((),) * 6
        return cls(ids, np.array(scores, dtype=np.float64), categories, brands, fresh, np.array(newness))

    def scored(self) -> list[Scored]:
        """In rows."""
        newness = [0.0] * len(self.ids) if self.newness is None else self.newness.tolist()
        columns = (self.ids, self.scores.tolist(), self.top_categories, self.brands, self.fresh, newness)
        return [Scored(*row) for row in zip(*columns, strict=True)]


def select(
    scored: Sequence[Scored], page_size: int, diversity: Diversity, vectors: Vectors | None = None
) -> list[Scored]:
    """As :func:`arrange`, the candidates themselves."""
    return [scored[row] for row in arrange(Field.of(scored), page_size, diversity, vectors)]


def arrange(field: Field, page_size: int, diversity: Diversity, vectors: Vectors | None = None) -> list[int]:
    """The rows of all candidates, the page first: its ``page_size`` by falling score, then the reserves by falling
    score.

    Caps and shares count on the page; where they leave it short, the best of the others fill it: a full page is
    worth more than a diverse one. ``vectors`` (one row per candidate, of length 1, or zeros for one that is like
    nothing) are what maximal marginal relevance goes by; with it, a page stands in the order of its choices.
    """
    order = falling(field.scores, field.ids)
    caps = None
    if diversity.category_cap < 1 or diversity.brand_cap < 1:
        caps = _Caps(
            field,
            order,
            # At least two, so that a small page of one taste is possible.
            category=max(2, math.ceil(diversity.category_cap * page_size)),
            brand=max(2, math.ceil(diversity.brand_cap * page_size)),
        )
    pick: _Pick = _Ranked()
    if diversity.needs_vectors and vectors is not None and order:
        pick = _Marginal(field.scores[order], vectors[order], diversity.mmr_lambda)
    page: list[int] = []
    if diversity.session_share:
        fresh = [place for place, row in enumerate(order) if field.fresh[row]]
        _take(fresh, math.ceil(diversity.session_share * page_size), page, caps, pick)
    if diversity.newcomer_share and field.newness is not None:
        _take_newcomers(field.newness[order], int(diversity.newcomer_share * page_size + _ROUNDING), page, caps, pick)
    _take(range(len(order)), page_size, page, caps, pick)
    _take(range(len(order)), page_size, page, None, pick)
    chosen = set(page)
    # Those of a reserved share are not ahead of the others.
    page = pick.in_order(page)
    return [order[place] for place in page] + [row for place, row in enumerate(order) if place not in chosen]


class _Caps:
    """How many of each category and brand are on the page; no category or no brand is never capped."""

    def __init__(self, field: Field, order: Sequence[int], category: int, brand: int) -> None:
        """``order``: which row stands at each place."""
        self._field = field
        self._order = order
        self._limits = (category, brand)
        self._categories: Counter[str] = Counter()
        self._brands: Counter[str] = Counter()

    def admit(self, place: int) -> bool:
        row = self._order[place]
        category, brand = self._field.top_categories[row], self._field.brands[row]
        category_limit, brand_limit = self._limits
        if category and self._categories[category] >= category_limit:
            return False
        if brand and self._brands[brand] >= brand_limit:
            return False
        self._categories[category] += 1
        self._brands[brand] += 1
        return True


class _Ranked:
    """Picks the best score: the first place."""

    def best(self, places: list[int]) -> int:
        return places[0]

    def chose(self, place: int) -> None:
        """Nothing depends on it."""

    def in_order(self, page: list[int]) -> list[int]:
        return sorted(page)


class _Marginal:
    """Picks by maximal marginal relevance (Carbonell and Goldstein 1998) among candidates in the order of scores.

    lambda x relevance - (1 - lambda) x largest cosine to a chosen one; relevance is the score between the lowest (0)
    and the highest (1) of the candidates. Ties go to the higher score, then to the smaller id.
    """

    def __init__(self, scores: Floats, vectors: Vectors, trade: float) -> None:
        spread = float(np.ptp(scores))
        self._relevance: Floats = (scores - scores.min()) / spread if spread > 0 else np.ones(len(scores))
        self._vectors = vectors
        self._trade = trade
        self._likeness: Floats = np.zeros(len(scores))

    def best(self, places: list[int]) -> int:
        at = np.asarray(places)
        worth = self._trade * self._relevance[at] - (1 - self._trade) * self._likeness[at]
        # Rounded, for the last digits of a dot product depend on the machine.
        return places[int(np.argmax(np.round(worth, 6)))]

    def chose(self, place: int) -> None:
        cosines = self._vectors @ self._vectors[place]
        self._likeness = np.maximum(self._likeness, np.clip(cosines, 0.0, 1.0))

    def in_order(self, page: list[int]) -> list[int]:
        """Picked once more among themselves."""
        self._likeness = np.zeros(len(self._likeness))
        left, ordered = sorted(page), list[int]()
        while left:
            place = self.best(left)
            left.remove(place)
            ordered.append(place)
            self.chose(place)
        return ordered


_Pick = _Ranked | _Marginal


def _take(places: Sequence[int], up_to: int, page: list[int], caps: _Caps | None, pick: _Pick) -> None:
    """Adds to ``page`` from ``places`` (ascending) until it has ``up_to``."""
    if len(page) >= up_to:
        return
    chosen = set(page)
    if caps is None and isinstance(pick, _Ranked):
        page += islice((place for place in places if place not in chosen), up_to - len(page))
        return
    left = [place for place in places if place not in chosen]
    while left and len(page) < up_to:
        place = pick.best(left)
        left.remove(place)
        if caps is None or caps.admit(place):
            page.append(place)
            pick.chose(place)


def _take_newcomers(newness: Floats, wanted: int, page: list[int], caps: _Caps | None, pick: _Pick) -> None:
    """Adds those that fit best, until there are ``wanted`` of them; ``newness`` by place. No ranker can tell them
    apart: nobody has taken them."""
    wanted -= int(np.count_nonzero(newness[page]))
    new = (newness > 0).nonzero()[0]
    for place in new[(-newness[new]).argsort(kind="stable")].tolist():
        if wanted <= 0 or place in page:
            continue
        if caps is None or caps.admit(place):
            page.append(place)
            pick.chose(place)
            wanted -= 1
