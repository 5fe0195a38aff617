"""What a version says of products to every shopper alike, worked out when it is read instead of at each request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.recommender.domain.nearest import Nearest
from services.recommender.domain.ordering import Order, Shelves

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]

# Groupings of products, from the catalogue: the levels of a product's first category path, and its brand.
GROUPS = ("department", "category", "kind", "brand")
KIND = GROUPS.index("kind")

_COUNTS = (
    "sold_7d", "sold_28d", "sold_91d", "sold_ever", "new_buyers_7d", "new_buyers_28d", "new_buyers_91d",
    "buyers", "wanted_28d", "gap_days", "age_days",
)  # fmt: skip

# The ranker's columns that are about a product alone, see ranker_features.py.
FEATURES = (
    *(f"log_{name}" for name in _COUNTS),
    "trend_week", "trend_month", "trend_quarter", "new_buyer_share", "price", "price_rank", "rating",
    *(f"log_sold_{group}" for group in GROUPS), *(f"log_new_{group}" for group in GROUPS),
    "share_of_kind", "log_products_kind",
)  # fmt: skip

_TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Everyone:
    """Arrays of n + 1 rows, the last one stands for the unknown; orders without it."""

    best_sellers: Order
    rising: Order
    # By kind, how much products are wanted, dampened.
    popular_in_kinds: Shelves
    nearest: Nearest
    # Products x FEATURES.
    features: Singles
    # What is counted against the shopper's own numbers.
    gap_days: Floats
    repeat_rate: Floats
    price: Floats
    price_rank: Floats
    mean_price: float
    length: Floats
    # Products x GROUPS: codes that no two groupings share. ``none`` are those for not having one, ``starts`` is where
    # each grouping's begin (at its none), and ends all; ``sold`` by code is the share of the order lines of 28 days.
    codes: Places
    none: Places
    starts: tuple[int, ...]
    sold: Floats


def everyone(vectors: Singles, columns: Mapping[str, Floats], groups: Mapping[str, Codes]) -> Everyone:
    """From a version's arrays of n + 1 rows."""
    sizes = [int(groups[name].max()) + 1 for name in GROUPS]
    starts = np.cumsum([0, *sizes])
    codes = np.column_stack([groups[name] for name in GROUPS]).astype(np.int64) + starts[:-1]

    def totals(values: Floats) -> Floats:
        """By code."""
        return np.bincount(codes.ravel(), np.repeat(values, len(GROUPS)), int(starts[-1])).astype(np.float64)

    month = columns["sold_28d"]
    sold, known = totals(month), np.append(np.ones(len(month) - 1), 0.0)
    week_wanted, month_wanted = columns["wanted_7d"][:-1], columns["wanted_28d"][:-1]
    return Everyone(
        best_sellers=Order.of(month_wanted),
        rising=Order.of((week_wanted + 0.5) / (month_wanted / 4 + 2) * np.log1p(week_wanted)),
        popular_in_kinds=Shelves.of(groups["kind"][:-1], np.log1p(month_wanted), sizes[KIND]),
        nearest=Nearest.of(vectors[:-1]),
        features=_features(columns, codes, starts[:-1], sold, totals(columns["new_buyers_28d"]), totals(known)),
        gap_days=columns["gap_days"],
        repeat_rate=(columns["repeaters"] + 1) / (columns["buyers"] + 4),
        price=columns["log_price"],
        price_rank=columns["price_rank"],
        mean_price=float(columns["log_price"][:-1].mean()) if len(month) > 1 else 0.0,
        length=np.linalg.norm(vectors.astype(np.float64), axis=1),
        codes=codes,
        none=starts[:-1],
        starts=tuple(starts.tolist()),
        sold=sold / max(float(month.sum()), _TINY),
    )


def _features(
    columns: Mapping[str, Floats], codes: Places, none: Places, sold: Floats, new: Floats, products: Floats
) -> Singles:
    """The last three by code."""
    week, month, quarter = columns["sold_7d"], columns["sold_28d"], columns["sold_91d"]
    kind = codes[:, KIND]
    made = {f"log_{name}": np.log1p(columns[name]) for name in _COUNTS} | {
        "trend_week": np.log((4 * week + 4) / (month + 4)),
        "trend_month": np.log((month + 2) / (columns["sold_before_28d"] + 2)),
        "trend_quarter": np.log((3.25 * month + 4) / (quarter + 4)),
        "new_buyer_share": np.log((columns["new_buyers_28d"] + 1) / (month + 2)),
        "price": columns["log_price"],
        "price_rank": columns["price_rank"],
        "rating": columns["rating"],
        "share_of_kind": np.log((month + 0.5) / (sold[kind] + 5)),
        "log_products_kind": np.log1p(products[kind]),
    }
    for number, group in enumerate(GROUPS):
        code = codes[:, number]
        grouped = code != none[number]
        made[f"log_sold_{group}"] = grouped * np.log1p(sold[code])
        made[f"log_new_{group}"] = grouped * np.log1p(new[code])
    features = np.empty((len(codes), len(FEATURES)), dtype=np.float32)
    for number, name in enumerate(FEATURES):
        features[:, number] = made[name]
    return features
