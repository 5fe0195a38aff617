"""The scorer: a linear model over user x product features, each scaled so that a weight is its largest effect.

Why these weights: docs/ranking.md. They are judgement, not training: a trained ranker takes this
module's place behind the same function.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.recommender.domain.candidates import Pool
from services.recommender.domain.signals import UserSignals

Floats = npt.NDArray[np.float64]

DEFAULT_WEIGHTS: Mapping[str, float] = {
    # Agreement of the sources: the strongest single signal without a trained ranker.
    "fusion": 1.0,
    # The user's taste learned from everyone's behaviour.
    "collaborative": 0.6,
    # Likeness to what is on the page or was viewed last: what the shopper wants now.
    "session_similarity": 0.5,
    "browsing_category": 0.25,
    # Long-term taste; with the collaborative score it keeps a session from taking over.
    "category_affinity": 0.4,
    "price_fit": 0.2,
    # Enough to order equals, too little to make all users' pages alike.
    "popularity": 0.2,
    "rating": 0.15,
    "repeat": 0.25,
    "in_cart": 0.15,
    # May be gone at checkout.
    "low_stock": -0.05,
}
COLUMNS = tuple(DEFAULT_WEIGHTS)
_NUMBERS: Mapping[str, int] = {name: number for number, name in enumerate(COLUMNS)}

# Text embeddings of unrelated products still have a cosine of about .2: that is no likeness.
UNRELATED_SIMILARITY = 0.2
_RELATED = 1 - UNRELATED_SIMILARITY

# The middle of each price segment, as a percentile within the category; the limits 1/3 and 2/3 are those of
# user_price_sensitivity: a highly sensitive shopper buys cheap.
PREFERRED_PERCENTILE: Mapping[str, float] = {"high": 1 / 6, "medium": 1 / 2, "low": 5 / 6}


@dataclass(frozen=True, slots=True)
class Facts:
    """What the store of record and the feature service say of the candidates; one element per candidate.

    Missing numbers are NaN. ``similarity`` is the largest cosine to the anchors, ``collaborative`` the inner product
    of user and product embeddings, ``price_percentile`` the place within the top-level category (0 cheap, 1 dear).
    ``vectors`` (one row each, of length 1 or zeros where there is none) are there when the page is to be made diverse,
    ``places`` (the rows of the products in a model version's arrays) when the version knows the shopper.
    """

    top_categories: Sequence[str]
    brands: Sequence[str]
    price_percentile: Floats
    similarity: Floats
    collaborative: Floats
    popularity: Floats
    rating: Floats
    low_stock: npt.NDArray[np.bool_]
    vectors: npt.NDArray[np.float32] | None = None
    places: npt.NDArray[np.int64] | None = None


def assemble(
    pool: Pool, facts: Facts, signals: UserSignals, tastes: Mapping[str, float], wanted: Collection[str] = COLUMNS
) -> Floats:
    """The feature matrix, candidates x COLUMNS; every element within 0..1, except rating within -1..1. Columns that are
    not ``wanted`` are 0."""
    matrix = np.zeros((len(pool), len(COLUMNS)))
    for name in wanted:
        matrix[:, _NUMBERS[name]] = _column(name, pool, facts, signals, tastes)
    return matrix


def _column(
    name: str, pool: Pool, facts: Facts, signals: UserSignals, tastes: Mapping[str, float]
) -> Floats | list[float]:
    match name:
        case "fusion":
            return pool.fusion
        case "collaborative":
            return _relative(np.maximum(_known(facts.collaborative, 0.0), 0.0))
        case "session_similarity":
            return _limited((_known(facts.similarity, 0.0) - UNRELATED_SIMILARITY) / _RELATED, 0.0, 1.0)
        case "browsing_category":
            browsed = signals.browsing_category or None
            return [float(category == browsed) for category in facts.top_categories]
        case "category_affinity":
            strongest = max(tastes.values(), default=1.0)
            return [tastes.get(category, 0.0) / strongest for category in facts.top_categories]
        case "price_fit":
            preferred = PREFERRED_PERCENTILE.get(signals.price_sensitivity, 0.5)
            # An unknown price fits half.
            return 1.0 - np.abs(_known(facts.price_percentile, preferred - 0.5) - preferred)
        case "popularity":
            return _limited(_known(facts.popularity, 0.0) / 100.0, 0.0, 1.0)
        case "rating":
            # 3 stars say nothing, as no rating does.
            return _limited((_known(facts.rating, 3.0) - 3.0) / 2.0, -1.0, 1.0)
        case "repeat":
            # The most habitual purchase 1, the tenth about a half.
            repeats = {id_: 1.0 / (1.0 + place / 10.0) for place, id_ in enumerate(signals.purchases)}
            return [repeats.get(id_, 0.0) for id_ in pool.ids]
        case "in_cart":
            carts = set(signals.recent_carts)
            return [float(id_ in carts) for id_ in pool.ids]
        case _:
            return facts.low_stock.astype(np.float64)


# What a trained ranker's log-odds are moved by, on the same columns. A ranker learns what shoppers take in the end;
# these say what they are after at this moment: a session must show on the next page, as long as it lasts.
RANKED_WEIGHTS: Mapping[str, float] = dict.fromkeys(COLUMNS, 0.0) | {
    "session_similarity": 1.0,
    "browsing_category": 0.5,
    "low_stock": -0.05,
}


def score(matrix: Floats, weights: Mapping[str, float]) -> Floats:
    """One score per row of :func:`assemble`'s matrix; ``weights`` has one for each of COLUMNS."""
    # Summed row by row: a BLAS product may round differently with the number of rows and threads.
    result: Floats = (matrix * np.array([weights[name] for name in COLUMNS])).sum(axis=1)
    return result


def effective_weights(weights: Mapping[str, float], *, ranked: bool, in_session: bool) -> Mapping[str, float]:
    """The weight of each of COLUMNS: that of ``weights``, else the default.

    Beside a trained ranker (``ranked``) the defaults are others, and what is about a session counts only while there
    is one.
    """
    if not ranked:
        return {**DEFAULT_WEIGHTS, **weights}
    chosen = {**RANKED_WEIGHTS, **weights}
    return chosen if in_session else chosen | dict.fromkeys(_OF_SESSION, 0.0)


_OF_SESSION = ("session_similarity", "browsing_category")


def _relative(values: Floats) -> Floats:
    # To the strongest candidate: the level of the inner products says how active the user is, not what fits.
    strongest = values.max(initial=0.0)
    return values / strongest if strongest > 0 else values


def _limited(values: Floats, least: float, most: float) -> Floats:
    return np.minimum(np.maximum(values, least), most)


def _known(values: Floats, otherwise: float) -> Floats:
    return np.where(np.isnan(values), otherwise, values)
