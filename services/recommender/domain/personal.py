"""A shopper seen through a model version: the vector of the moment, scores of products, and the candidates.

The same code serves requests and makes training rows; see docs/ranking.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from services.recommender.domain import kernels
from services.recommender.domain.folding import fold_in
from services.recommender.domain.interactions import EVENT_WEIGHTS
from services.recommender.domain.learned import Floats, Learned, Places, Singles, sums
from services.recommender.domain.moments import Moment
from services.recommender.domain.ordering import Allowed, best
from services.recommender.domain.scores import Scores
from services.recommender.domain.state import ShopperState

# Products of a history that shape vector and scores, those that count most: measured on real data, 200 are better than
# all, because the old ones blur the taste.
HISTORY = 200

# The k-th newest view or cart counts this to the power of k: what is looked at now leads, and fades within a few pages.
FADING = 0.8

# What goes into a basket goes by the last ones: purchases halve in this time.
BASKET_DAYS = 30.0

_VIEW = EVENT_WEIGHTS["detail-page-view"]
_CART = EVENT_WEIGHTS["add-to-cart"]
_PURCHASE = EVENT_WEIGHTS["purchase-complete"]


@dataclass(frozen=True, slots=True)
class Personal:
    """History arrays hold the products that the version knows.

    ``views`` and ``carts`` are places from new to old.
    """

    learned: Learned
    bought: Places
    orders: Floats
    first_days: Floats
    last_days: Floats
    decayed: Floats
    views: Places
    carts: Places
    # None: nothing is known of the shopper.
    vector: Singles | None
    # Its inner products with the longest vectors of products, where searches begin.
    longest: Singles | None
    taste: Scores
    alike: Scores
    basket: Scores
    # Of the decayed purchases, the share of each kind of product, by code.
    kinds: Floats
    moment: Moment


# Neither when nor from what is asked.
_ANY = Moment()


def personal(learned: Learned, state: ShopperState, moment: Moment = _ANY) -> Personal:
    """The state through the version's eyes. Takes longer with more of a history, not with more products."""
    found = learned.find(state.products)
    # In the order of places, whoever put them together: sums round by their order.
    known = (found >= 0).nonzero()[0]
    known = known[found[known].argsort(kind="stable")]
    bought = found[known]
    orders, first, last = state.orders[known], state.first_days[known], state.last_days[known]
    decayed = state.decayed[known]
    views, carts = _known(learned.find(state.views)), _known(learned.find(state.carts))
    places, interest = _strongest(
        (bought, _PURCHASE * decayed), (carts, _CART * _faded(carts)), (views, _VIEW * _faded(views))
    )
    strength = np.log1p(interest)
    together, recency = _strongest((bought, np.exp2(-last / BASKET_DAYS)), (carts, _faded(carts)))
    vector = fold_in(learned.fold, learned.vectors[places], interest)
    shares = sums(learned.groups["kind"][bought], decayed, learned.everyone.popular_in_kinds.size)
    shares[0] = 0.0  # those without a kind have nothing in common
    return Personal(
        learned=learned,
        bought=bought,
        orders=orders,
        first_days=first,
        last_days=last,
        decayed=decayed,
        views=views,
        carts=carts,
        vector=vector,
        longest=None if vector is None else learned.everyone.nearest.longest(vector),
        taste=Scores.spread(learned.neighbours["taste"], places, strength),
        alike=Scores.spread(learned.neighbours["alike"], places, strength),
        basket=Scores.spread(learned.neighbours["basket"], together, recency),
        kinds=shares / max(float(decayed.sum()), 1e-9),
        moment=moment,
    )


def collaborative(person: Personal, places: Places) -> Floats:
    """Inner products of the shopper's vector with those of products; 0 for a stranger and for the unknown."""
    if person.vector is None:
        return np.zeros(len(places))
    # Row by row: a BLAS product may round differently with the number of rows.
    return kernels.inner(person.learned.vectors, places, person.vector)


# The sources that need nothing but a version in memory.
SOURCES = (
    "buy_again",
    "taste",
    "collaborative",
    "alike",
    "basket",
    "popular_in_kinds",
    "best_sellers",
    "rising",
)


def hits(person: Personal, source: str, limit: int, allowed: Allowed | None = None) -> tuple[Places, Floats]:
    """Places and scores above 0 of a source's best ``limit`` products among those ``allowed`` (None: all), the best
    first, ties by place, which is the order of ids."""
    everyone = person.learned.everyone
    match source:
        case "buy_again":
            return best(person.bought, person.decayed, limit, allowed)
        case "collaborative":
            if person.vector is None:
                return np.zeros(0, dtype=np.int64), np.zeros(0)
            return everyone.nearest.search(person.vector, limit, allowed, person.longest)
        case "taste" | "alike" | "basket":
            scores: Scores = getattr(person, source)
            return best(scores.places, scores.values, limit, allowed)
        case "popular_in_kinds":
            return everyone.popular_in_kinds.best(person.kinds, limit, allowed)
        case "best_sellers":
            return everyone.best_sellers.best(limit, allowed)
        case "rising":
            return everyone.rising.best(limit, allowed)
    message = f"no source {source}"
    raise ValueError(message)


def _known(places: Places) -> Places:
    return places[places >= 0]


def _faded(places: Places) -> Floats:
    faded: Floats = FADING ** np.arange(len(places), dtype=np.float64)
    return faded


def _strongest(*parts: tuple[Places, Floats]) -> tuple[Places, Floats]:
    """Distinct places with their values added up, at most HISTORY, those of the largest values."""
    places, values = zip(*parts, strict=True)
    totals = Scores.add_up(np.concatenate(places), np.concatenate(values))
    return kernels.best(totals.places, totals.values, HISTORY, above=-np.inf)
