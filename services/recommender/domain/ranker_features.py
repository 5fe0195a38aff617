"""What the ranker reads: one row for each shopper and product, assembled by the same code in training and in serving.

Counts go through log(1 + x), because the hundredth order says less than the second. No column depends on which sources
answered, or on the other candidates: a request that lacks one of them is ranked as it was learned.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.recommender.domain.learned import GROUPS, Floats, Places, Singles, sums
from services.recommender.domain.personal import FADING, Personal, collaborative

# Longer than any purchase is remembered, in days: "never".
_NEVER_DAYS = 400.0
_TINY = 1e-9


def assemble(person: Personal, places: Places) -> Singles:
    """The matrix, places x FEATURES; a place of -1 is a product that the version does not know."""
    columns = features(person, places)
    return np.column_stack([columns[name] for name in FEATURES]).astype(np.float32)


def features(person: Personal, places: Places) -> dict[str, Floats]:
    """The columns by name."""
    own = _own_decayed(person, places)
    return {
        **_own(person, places),
        **_product(person, places),
        **_price(person, places),
        **_affinities(person, places, own),
        **_scores(person, places),
        **_session(person, places),
    }


def _own(person: Personal, places: Places) -> dict[str, Floats]:
    """What the shopper did with the product itself: how often, how long ago, and whether it is due again."""
    size = len(person.learned) + 1
    rows = np.full(size, -1)
    rows[person.bought] = np.arange(len(person.bought))
    row = rows[places]
    mine = row >= 0
    # One element more, which the row -1 finds: what was never bought.
    orders, first, last, decayed = (
        np.append(values, 0.0)[row] for values in (person.orders, person.first_days, person.last_days, person.decayed)
    )
    columns = person.learned.columns
    repeated = orders > 1
    gap = np.where(repeated, (first - last) / np.maximum(orders - 1, 1.0), columns["gap_days"][places])
    due = np.where(mine, last / np.maximum(gap, 1.0), 0.0)
    repeats = (columns["repeaters"][places] + 1) / (columns["buyers"][places] + 4)
    total = max(float(person.decayed.sum()), _TINY)
    return {
        "own": mine.astype(np.float64),
        "own_orders": np.log1p(orders),
        "own_repeated": repeated.astype(np.float64),
        "own_decayed": np.log1p(decayed),
        "own_share": np.log1p(100 * decayed / total),
        "own_place": np.append(_places_by(person.decayed, person.bought), 0.0)[row],
        "own_last_7d": mine * np.exp2(-last / 7),
        "own_last_30d": mine * np.exp2(-last / 30),
        "own_last_90d": mine * np.exp2(-last / 90),
        "own_rate": np.where(mine, np.log1p(28 * orders / np.maximum(first, 7.0)), 0.0),
        "own_gap": mine * np.log1p(gap),
        "own_due": np.minimum(due, 5.0),
        "own_due_log": np.log1p(due),
        "own_on_time": np.where(mine, np.exp2(-np.abs(np.log2(np.maximum(due, 0.02)))), 0.0),
        "own_repeat_rate": mine * repeats,
        "others_repeat_rate": ~mine * repeats,
    }


def _product(person: Personal, places: Places) -> dict[str, Floats]:
    """What everybody did with the product lately."""
    columns = {name: values[places] for name, values in person.learned.columns.items()}
    counts = (
        "sold_7d", "sold_28d", "sold_91d", "sold_ever", "new_buyers_7d", "new_buyers_28d", "new_buyers_91d",
        "buyers", "wanted_28d", "gap_days", "age_days",
    )  # fmt: skip
    week, month, quarter = columns["sold_7d"], columns["sold_28d"], columns["sold_91d"]
    return {
        **{f"log_{name}": np.log1p(columns[name]) for name in counts},
        "trend_week": np.log((4 * week + 4) / (month + 4)),
        "trend_month": np.log((month + 2) / (columns["sold_before_28d"] + 2)),
        "trend_quarter": np.log((3.25 * month + 4) / (quarter + 4)),
        "new_buyer_share": np.log((columns["new_buyers_28d"] + 1) / (month + 2)),
    }


def _price(person: Personal, places: Places) -> dict[str, Floats]:
    """The price, and how far it is from what the shopper pays."""
    price, rank = person.learned.columns["log_price"], person.learned.columns["price_rank"]
    total = float(person.decayed.sum())
    if total > 0:
        usual_price = float((person.decayed * price[person.bought]).sum()) / total
        usual_rank = float((person.decayed * rank[person.bought]).sum()) / total
    else:
        usual_price, usual_rank = float(price[:-1].mean()) if len(price) > 1 else 0.0, 0.5
    return {
        "price": price[places],
        "price_rank": rank[places],
        "price_distance": np.abs(price[places] - usual_price),
        "price_rank_distance": np.abs(rank[places] - usual_rank),
    }


def _affinities(person: Personal, places: Places, own: Floats) -> dict[str, Floats]:
    """How much of the shopper's purchases goes to the product's groups, beside the product itself."""
    learned = person.learned
    total = max(float(person.decayed.sum()), _TINY)
    sold = learned.columns["sold_28d"]
    everything = max(float(sold.sum()), _TINY)
    result: dict[str, Floats] = {}
    for name in GROUPS:
        codes = learned.groups[name]
        code, bought = codes[places], codes[person.bought]
        size = len(learned.group_sold[name])
        spent = sums(bought, person.decayed, size)
        spent[0] = 0.0
        share = spent[code] / total
        smooth = 0.005 if name == "brand" else 0.002
        grouped = (code > 0).astype(np.float64)
        result[f"affinity_{name}"] = grouped * np.log1p(100 * np.maximum(spent[code] - own, 0.0) / total)
        result[f"lift_{name}"] = np.log((share + smooth) / (learned.group_sold[name][code] / everything + smooth))
        result[f"log_sold_{name}"] = grouped * np.log1p(learned.group_sold[name][code])
        result[f"log_new_{name}"] = grouped * np.log1p(learned.group_new[name][code])
        if name in ("category", "kind"):
            last = np.full(size, _NEVER_DAYS)
            np.minimum.at(last, bought, person.last_days)
            last[0] = _NEVER_DAYS
            variety = np.bincount(bought, minlength=size)
            result[f"log_last_{name}"] = np.log1p(last[code])
            result[f"log_variety_{name}"] = grouped * np.log1p(np.maximum(variety[code] - (own > 0), 0))
    kind = learned.groups["kind"][places]
    result["share_of_kind"] = np.log((sold[places] + 0.5) / (learned.group_sold["kind"][kind] + 5))
    result["log_products_kind"] = np.log1p(learned.group_products["kind"][kind])
    return result


def _scores(person: Personal, places: Places) -> dict[str, Floats]:
    """What the version's vectors and neighbours say of shopper and product."""
    inner = collaborative(person, places)
    length = np.linalg.norm(person.learned.vectors[places], axis=1) + _TINY
    strength, strongest = _TINY, 0.0
    if person.vector is not None:
        strength += float(np.linalg.norm(person.vector.astype(np.float64)))
        strongest = person.learned.nearest.largest(person.vector)
    result = {
        "collaborative": inner,
        "collaborative_cosine": inner / (length * strength),
        "collaborative_relative": _relative(inner, strongest),
    }
    for name, scores in (("taste", person.taste), ("alike", person.alike), ("basket", person.basket)):
        result[name] = scores.of(places)
        result[f"{name}_relative"] = _relative(result[name], scores.strongest)
    return result


def _relative(scores: Floats, strongest: float) -> Floats:
    """To the strongest of all products: how strong the scores are depends on how much the shopper bought."""
    relative: Floats = np.log1p(20 * np.maximum(scores, 0.0) / (strongest + _TINY))
    return relative


def _session(person: Personal, places: Places) -> dict[str, Floats]:
    """What was looked at and put into the cart, the newest most, and what is of the same kind or category."""
    size = len(person.learned) + 1
    result: dict[str, Floats] = {}
    for name, chosen in (("viewed", person.views), ("carted", person.carts)):
        fresh = FADING ** np.arange(len(chosen), dtype=np.float64)
        direct = np.zeros(size)
        direct[chosen] = fresh
        result[name] = direct[places]
        for group in ("category", "kind"):
            codes = person.learned.groups[group]
            seen = sums(codes[chosen], fresh, len(person.learned.group_sold[group]))
            seen[0] = 0.0
            result[f"{name}_{group}"] = seen[codes[places]]
    return result


def _own_decayed(person: Personal, places: Places) -> Floats:
    values = np.zeros(len(person.learned) + 1)
    values[person.bought] = person.decayed
    return values[places]


def _places_by(values: Floats, ids: Places) -> Floats:
    """1 for the largest value, a half for the tenth."""
    order = np.empty(len(values))
    order[np.lexsort((ids, -values))] = np.arange(len(values))
    return 1 / (1 + order / 10)


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
    "own", "own_orders", "own_repeated", "own_decayed", "own_share", "own_place", "own_last_7d", "own_last_30d",
    "own_last_90d", "own_rate", "own_gap", "own_due", "own_due_log", "own_on_time", "own_repeat_rate",
    "others_repeat_rate",
    "log_sold_7d", "log_sold_28d", "log_sold_91d", "log_sold_ever", "log_new_buyers_7d", "log_new_buyers_28d",
    "log_new_buyers_91d", "log_buyers", "log_wanted_28d", "log_gap_days", "log_age_days",
    "trend_week", "trend_month", "trend_quarter", "new_buyer_share",
    "price", "price_rank", "price_distance", "price_rank_distance",
    *(feature for group in GROUPS for feature in _GROUP_FEATURES[group]),
    "share_of_kind", "log_products_kind",
    "collaborative", "collaborative_relative", "collaborative_cosine",
    "taste", "taste_relative", "alike", "alike_relative", "basket", "basket_relative",
    "viewed", "viewed_category", "viewed_kind", "carted", "carted_category", "carted_kind",
)  # fmt: skip
