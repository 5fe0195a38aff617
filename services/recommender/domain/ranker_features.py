"""What the ranker reads: one row for each shopper and product, assembled by the same code in training and in serving.

Counts go through log(1 + x), because the hundredth order says less than the second. No column depends on which sources
answered, or on the other candidates: a request that lacks one of them is ranked as it was learned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from services.recommender.domain.everyone import FEATURES as PRODUCT_FEATURES
from services.recommender.domain.everyone import GROUPS
from services.recommender.domain.learned import NEIGHBOURS, Floats, Places, Singles, sums
from services.recommender.domain.personal import FADING, Personal, collaborative

# Longer than any purchase is remembered, in days: "never".
_NEVER_DAYS = 400.0
_TINY = 1e-9
# Of groups that sell little, shares are accidents.
_SMOOTH = np.array([0.002, 0.002, 0.002, 0.005])
# Groupings that are fine enough for what was bought or looked at last.
_FINE = slice(GROUPS.index("category"), GROUPS.index("kind") + 1)


def assemble(person: Personal, places: Places) -> Singles:
    """The matrix, places x FEATURES; a place of -1 is a product that the version does not know."""
    return np.ascontiguousarray(assemble_columns(person, places).T)


def assemble_columns(person: Personal, places: Places) -> Singles:
    """The same as FEATURES x places: so it is made, and so trees read it."""
    matrix = np.full((len(FEATURES), len(places)), np.nan, dtype=np.float32)
    matrix[_PRODUCT] = person.learned.everyone.features[places].T
    bought = _bought(person, places)
    matrix[_OF_OWN] = _own(person, places, *bought)
    matrix[_DISTANCES] = _price(person, places)
    _affinities(matrix, person, places, *bought)
    _scores(matrix, person, places)
    matrix[_OF_SESSION] = _session(person, places)
    # Whether the product is taken at this time of day, and from this device, more than others are.
    matrix[_LIFTS] = person.learned.habits.of(person.moment, places)
    return matrix


def _own(person: Personal, places: Places, rows: Places, own: Places) -> Floats:
    """What the shopper did with the product itself: how often, how long ago, and whether it is due again; 0 for what
    was never bought. ``rows`` of the places were, as ``own`` of the shopper's arrays say."""
    repeats = person.learned.everyone.repeat_rate[places]
    columns = np.zeros((len(_OWN) + 2, len(places)))
    own_repeat_rate, others_repeat_rate = columns[-2:]
    others_repeat_rate[:] = repeats
    if len(rows):
        columns[:-2, rows] = list(_habit(person, places[rows], own).values())
        own_repeat_rate[rows], others_repeat_rate[rows] = repeats[rows], 0.0
    return columns


def _habit(person: Personal, places: Places, own: Places) -> dict[str, Floats]:
    """Of products that were bought: ``own`` are their rows in the shopper's arrays."""
    orders, first, last, decayed = (
        values[own] for values in (person.orders, person.first_days, person.last_days, person.decayed)
    )
    repeated = orders > 1
    gap = np.where(repeated, (first - last) / np.maximum(orders - 1, 1.0), person.learned.everyone.gap_days[places])
    due = last / np.maximum(gap, 1.0)
    return {
        "own": np.ones(len(places)),
        "own_orders": np.log1p(orders),
        "own_repeated": repeated.astype(np.float64),
        "own_decayed": np.log1p(decayed),
        "own_share": np.log1p(100 * decayed / _total(person)),
        "own_place": _places_by(person.decayed, person.bought)[own],
        "own_last_7d": np.exp2(-last / 7),
        "own_last_30d": np.exp2(-last / 30),
        "own_last_90d": np.exp2(-last / 90),
        "own_rate": np.log1p(28 * orders / np.maximum(first, 7.0)),
        "own_gap": np.log1p(gap),
        "own_due": np.minimum(due, 5.0),
        "own_due_log": np.log1p(due),
        "own_on_time": np.exp2(-np.abs(np.log2(np.maximum(due, 0.02)))),
    }


def _price(person: Personal, places: Places) -> tuple[Floats, Floats]:
    """How far the price is from what the shopper pays, and its rank."""
    everyone = person.learned.everyone
    price, rank = everyone.price, everyone.price_rank
    total = float(person.decayed.sum())
    usual_price, usual_rank = everyone.mean_price, 0.5
    if total > 0:
        usual_price = float((person.decayed * price[person.bought]).sum()) / total
        usual_rank = float((person.decayed * rank[person.bought]).sum()) / total
    return np.abs(price[places] - usual_price), np.abs(rank[places] - usual_rank)


def _affinities(matrix: Singles, person: Personal, places: Places, rows: Places, bought: Places) -> None:
    """How much of the shopper's purchases goes to the product's groups, beside the product itself."""
    everyone = person.learned.everyone
    size, total = everyone.starts[-1], _total(person)
    own = np.zeros((len(places), 1))
    own[rows, 0] = person.decayed[bought]
    # All groupings at once: a column each.
    code, spent_on = everyone.codes[places], everyone.codes[person.bought]
    spent = sums(spent_on.ravel(), person.decayed.repeat(len(GROUPS)), size)
    spent[everyone.none] = 0.0
    grouped, of_group = code != everyone.none, spent[code]
    matrix[_AFFINITIES] = (grouped * np.log1p(100 * np.maximum(of_group - own, 0.0) / total)).T
    matrix[_GROUP_LIFTS] = np.log((of_group / total + _SMOOTH) / (everyone.sold[code] + _SMOOTH)).T
    last = np.full(size, _NEVER_DAYS)
    np.minimum.at(last, spent_on[:, _FINE].ravel(), person.last_days.repeat(2))
    last[everyone.none] = _NEVER_DAYS
    variety = np.bincount(spent_on.ravel(), minlength=size)
    code, grouped = code[:, _FINE], grouped[:, _FINE]
    matrix[_LASTS] = np.log1p(last[code]).T
    matrix[_VARIETIES] = (grouped * np.log1p(np.maximum(variety[code] - (own > 0), 0))).T


def _scores(matrix: Singles, person: Personal, places: Places) -> None:
    """What the version's vectors and neighbours say of shopper and product."""
    everyone = person.learned.everyone
    inner = collaborative(person, places)
    strength, strongest = _TINY, 0.0
    if person.vector is not None:
        exact = person.vector.astype(np.float64)
        strength += math.sqrt(float(exact @ exact))
        strongest = everyone.nearest.largest(person.vector, person.longest)
    sparse = (person.taste, person.alike, person.basket)
    scores = np.array([inner, *(one.of(places) for one in sparse)])
    # To the strongest of all products: how strong the scores are depends on how much the shopper bought.
    most = np.array([strongest, *(one.strongest for one in sparse)])[:, None]
    matrix[_SCORES] = scores
    matrix[_RELATIVES] = np.log1p(20 * np.maximum(scores, 0.0) / (most + _TINY))
    matrix[_COSINE] = inner / ((everyone.length[places] + _TINY) * strength)


def _session(person: Personal, places: Places) -> Floats:
    """What was looked at and put into the cart, the newest most, and what is of the same kind or category."""
    everyone = person.learned.everyone
    columns = np.zeros((2, 3, len(places)))
    for column, chosen in zip(columns, (person.views, person.carts), strict=True):
        if len(chosen):
            fresh = FADING ** np.arange(len(chosen), dtype=np.float64)
            column[0] = ((places[:, None] == chosen) * fresh).sum(axis=1)
            seen = sums(everyone.codes[chosen][:, _FINE].ravel(), fresh.repeat(2), everyone.starts[-1])
            seen[everyone.none] = 0.0
            column[1:] = seen[everyone.codes[places][:, _FINE]].T
    return columns.reshape(6, -1)


def _bought(person: Personal, places: Places) -> tuple[Places, Places]:
    """Which of ``places`` the shopper bought, and their rows in the shopper's arrays, which are in the order of
    places."""
    if not len(person.bought):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    own = np.minimum(np.searchsorted(person.bought, places), len(person.bought) - 1)
    rows = (person.bought[own] == places).nonzero()[0]
    return rows, own[rows]


def _total(person: Personal) -> float:
    return max(float(person.decayed.sum()), _TINY)


def _places_by(values: Floats, ids: Places) -> Floats:
    """1 for the largest value, a half for the tenth."""
    order = np.empty(len(values))
    order[np.lexsort((ids, -values))] = np.arange(len(values))
    return 1 / (1 + order / 10)


_OWN = (
    "own", "own_orders", "own_repeated", "own_decayed", "own_share", "own_place", "own_last_7d", "own_last_30d",
    "own_last_90d", "own_rate", "own_gap", "own_due", "own_due_log", "own_on_time",
)  # fmt: skip

_GROUP_FEATURES: Mapping[str, tuple[str, ...]] = {
    name: (
        f"affinity_{name}",
        f"lift_{name}",
        f"log_sold_{name}",
        f"log_new_{name}",
        *((f"log_last_{name}", f"log_variety_{name}") if name in ("category", "kind") else ()),
    )
    for name in GROUPS
}

FEATURES: tuple[str, ...] = (
    *_OWN, "own_repeat_rate", "others_repeat_rate",
    "log_sold_7d", "log_sold_28d", "log_sold_91d", "log_sold_ever", "log_new_buyers_7d", "log_new_buyers_28d",
    "log_new_buyers_91d", "log_buyers", "log_wanted_28d", "log_gap_days", "log_age_days",
    "trend_week", "trend_month", "trend_quarter", "new_buyer_share",
    "price", "price_rank", "price_distance", "price_rank_distance", "rating", "daypart_lift", "device_lift",
    *(feature for group in GROUPS for feature in _GROUP_FEATURES[group]),
    "share_of_kind", "log_products_kind",
    "collaborative", "collaborative_relative", "collaborative_cosine",
    "taste", "taste_relative", "alike", "alike_relative", "basket", "basket_relative",
    "viewed", "viewed_category", "viewed_kind", "carted", "carted_category", "carted_kind",
)  # fmt: skip


def _numbers(*names: str) -> Places:
    """Which columns these are."""
    return np.array([FEATURES.index(name) for name in names])


# What is written at once.
_PRODUCT = _numbers(*PRODUCT_FEATURES)
_OF_OWN = _numbers(*_OWN, "own_repeat_rate", "others_repeat_rate")
_DISTANCES = _numbers("price_distance", "price_rank_distance")
_AFFINITIES = _numbers(*(f"affinity_{group}" for group in GROUPS))
_GROUP_LIFTS = _numbers(*(f"lift_{group}" for group in GROUPS))
_LASTS = _numbers(*(f"log_last_{group}" for group in GROUPS[_FINE]))
_VARIETIES = _numbers(*(f"log_variety_{group}" for group in GROUPS[_FINE]))
_SCORES = _numbers("collaborative", *NEIGHBOURS)
_RELATIVES = _numbers("collaborative_relative", *(f"{name}_relative" for name in NEIGHBOURS))
_COSINE = _numbers("collaborative_cosine")
_OF_SESSION = _numbers(*(f"{what}{of}" for what in ("viewed", "carted") for of in ("", "_category", "_kind")))
_LIFTS = _numbers("daypart_lift", "device_lift")
