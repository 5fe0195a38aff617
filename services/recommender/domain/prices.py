"""Where a price stands among its category's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def percentile(category: str, price: float | None, bands: Mapping[str, Sequence[float]]) -> float:
    """0 (the cheapest) to 1 (the dearest) of the top-level category; NaN when that cannot be said.

    ``bands`` are evenly spaced quantiles of each category's prices, ascending.
    """
    quantiles = bands.get(category)
    if price is None or quantiles is None or len(quantiles) < 2 or quantiles[0] == quantiles[-1]:
        return float("nan")
    return float(np.interp(price, quantiles, np.linspace(0.0, 1.0, len(quantiles))))
