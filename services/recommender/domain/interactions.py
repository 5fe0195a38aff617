"""How much an interaction tells about taste: the confidence that the factorisation gets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

# As in the popularity score: an order line tells more than a cart, a cart more than a view.
EVENT_WEIGHTS: Mapping[str, float] = {"detail-page-view": 1.0, "add-to-cart": 3.0, "purchase-complete": 5.0}

# An opinion, and no sign of interest by itself: who rates has bought.
RATE = "rate"

# Tastes outlive trends: after two months an interaction counts half.
HALF_LIFE_DAYS = 60.0

_DAY_MS = 86_400_000.0


def confidences(
    weights: npt.NDArray[np.float64], times_ms: npt.NDArray[np.int64], now_ms: int
) -> npt.NDArray[np.float64]:
    """weight x 2^(-age / HALF_LIFE_DAYS) of each interaction; what lies in the future has age 0."""
    age_days = np.maximum(now_ms - times_ms, 0) / _DAY_MS
    decayed: npt.NDArray[np.float64] = weights * np.exp2(-age_days / HALF_LIFE_DAYS)
    return decayed
