"""Where a price stands among its category's."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence


def percentile(category: str, price: float | None, bands: Mapping[str, Sequence[float]]) -> float:
    """0 (the cheapest) to 1 (the dearest) of the top-level category; NaN when that cannot be said.

    ``bands`` are evenly spaced quantiles of each category's prices, ascending.
    """
    quantiles = bands.get(category)
    if price is None or quantiles is None or len(quantiles) < 2 or quantiles[0] == quantiles[-1]:
        return math.nan
    last = len(quantiles) - 1
    above = bisect_right(quantiles, price)
    if above == 0 or above > last:
        return float(above > last)
    low, high = quantiles[above - 1], quantiles[above]
    return (above - 1 + (price - low) / (high - low)) / last
