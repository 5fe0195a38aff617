"""What a shopper did, as of one instant, in arrays: what the learned part of ranking starts from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_NONE: Floats = np.zeros(0)

DAY_SECONDS = 86_400.0


@dataclass(frozen=True, slots=True)
class ShopperState:
    """Purchases with their arrays of one element each; views and carts run from new to old, each product once.

    ``first_days`` and ``last_days`` are days since the first and the last purchase; ``decayed`` is the number of order
    lines, each halved every 45 days. The default describes a stranger.
    """

    products: Sequence[str] = ()
    orders: Floats = field(default_factory=lambda: _NONE)
    first_days: Floats = field(default_factory=lambda: _NONE)
    last_days: Floats = field(default_factory=lambda: _NONE)
    decayed: Floats = field(default_factory=lambda: _NONE)
    views: Sequence[str] = ()
    carts: Sequence[str] = ()

    @classmethod
    def as_of(
        cls,
        now: float,
        products: Sequence[str],
        history: Floats,
        views: Sequence[str],
        carts: Sequence[str],
    ) -> ShopperState:
        """From the feature ``user_purchase_history``: products x (orders, first_time, last_time, decayed).

        Times, ``now`` as well, are seconds since 1970.
        """
        if not products:
            return cls(views=views, carts=carts)
        ages = np.maximum(now - history[:, 1:3], 0.0) / DAY_SECONDS
        return cls(products, history[:, 0], ages[:, 0], ages[:, 1], history[:, 3], views, carts)
