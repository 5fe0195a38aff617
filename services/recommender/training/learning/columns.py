"""The numbers of products as of an instant: how they sell, to whom, how often again, at what price."""

from __future__ import annotations

import numpy as np

from services.recommender.domain.learned import Codes, Floats, sums
from services.recommender.training.learning.log import DAY, PURCHASE, WEIGHTS, Catalogue, Ints, Log, Ratings

# Until a product was bought twice by somebody.
_USUAL_GAP_DAYS = 60.0
# One enthusiast is no reputation.
_RATED_AS_USUAL = 5.0


def product_columns(past: Log, instant: float, catalogue: Catalogue) -> dict[str, Floats]:
    """Each of domain.learned.COLUMNS, an element per product. ``past`` ends before ``instant``."""
    size = len(past.product_ids)
    sales = past.of(PURCHASE)
    ages = (instant - sales.times) / DAY

    def count(rows: Log, ages: Floats, days: float, after: float = -1.0) -> Floats:
        chosen = (ages <= days) & (ages > after)
        return np.bincount(rows.products[chosen], minlength=size).astype(np.float64)

    def wanted(days: float) -> Floats:
        rows = past.since(instant - days * DAY)
        return sums(rows.products, WEIGHTS[rows.types], size)

    pairs = sales.users.astype(np.int64) * size + sales.products
    _, first = np.unique(pairs, return_index=True)  # the rows are in the order of time
    firsts = sales.products[first]

    def new_buyers(days: float) -> Floats:
        return np.bincount(firsts[ages[first] <= days], minlength=size).astype(np.float64)

    repeaters, gap = _repeats(sales, pairs, size)
    age = np.zeros(size)
    everything = (instant - past.times) / DAY
    age[past.products[::-1]] = everything[::-1]  # the oldest one is written last
    return {
        "sold_7d": count(sales, ages, 7),
        "sold_28d": count(sales, ages, 28),
        "sold_91d": count(sales, ages, 91),
        "sold_ever": count(sales, ages, np.inf),
        "sold_before_28d": count(sales, ages, 56, after=28),
        "new_buyers_7d": new_buyers(7),
        "new_buyers_28d": new_buyers(28),
        "new_buyers_91d": new_buyers(91),
        "buyers": np.bincount(firsts, minlength=size).astype(np.float64),
        "repeaters": repeaters,
        "gap_days": gap,
        "age_days": age,
        "log_price": np.log1p(np.nan_to_num(catalogue.prices)),
        "price_rank": _ranks(catalogue.prices, catalogue.groups["department"]),
        "wanted_7d": wanted(7),
        "wanted_28d": wanted(28),
        "rating": _ratings(past.ratings, size),
    }


def _ratings(ratings: Ratings, size: int) -> Floats:
    """Stars above the mean of all, as if it had been rated so a few times as well; 0 for what nobody rated. Of a user's
    ratings of a product the newest counts, as in ``product_rating``; the catalogue's own average has no history."""
    pairs = ratings.users.astype(np.int64) * size + ratings.products
    _, last = np.unique(pairs[::-1], return_index=True)
    newest = len(pairs) - 1 - last
    products, stars = ratings.products[newest], ratings.stars[newest]
    if not len(stars):
        return np.zeros(size)
    above = sums(products, stars - stars.mean(), size)
    return above / (np.bincount(products, minlength=size) + _RATED_AS_USUAL)


def _repeats(sales: Log, pairs: Ints, size: int) -> tuple[Floats, Floats]:
    """Of each product, how many bought it again, and the mean of their mean days between purchases."""
    order = np.argsort(pairs, kind="stable")
    sorted_pairs, times = pairs[order], sales.times[order]
    start = np.flatnonzero(np.r_[True, sorted_pairs[1:] != sorted_pairs[:-1]]) if len(order) else order
    count = np.diff(np.r_[start, len(order)])
    again = count > 1
    if not again.any():
        return np.zeros(size), np.full(size, _USUAL_GAP_DAYS)
    begin, count = start[again], count[again]
    gaps = (times[begin + count - 1] - times[begin]) / DAY / (count - 1)
    product = sorted_pairs[begin] % size
    repeaters = np.bincount(product, minlength=size).astype(np.float64)
    total = sums(product, gaps, size)
    return repeaters, np.where(repeaters > 0, total / np.maximum(repeaters, 1), _USUAL_GAP_DAYS)


def _ranks(prices: Floats, departments: Codes) -> Floats:
    """The share of the department's prices that are lower, equal ones half; 0.5 without a price."""
    ranks = np.full(len(prices), 0.5)
    known = np.flatnonzero(~np.isnan(prices))
    order = known[np.lexsort((prices[known], departments[known]))]
    if not len(order):
        return ranks
    bounds = np.flatnonzero(np.r_[True, departments[order][1:] != departments[order][:-1]])
    for start, end in zip(bounds, np.r_[bounds[1:], len(order)], strict=True):
        rows = order[start:end]
        own = prices[rows]
        below, not_above = np.searchsorted(own, own, "left"), np.searchsorted(own, own, "right")
        ranks[rows] = (below + not_above) / 2 / len(rows)
    return ranks
