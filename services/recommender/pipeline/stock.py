"""Which products of a model version are in stock: searches over all of them look past the others.

Derived from the catalogue in memory. It may lag behind for a moment; the final check of a page never does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from services.recommender.domain.learned import Learned
from services.recommender.pipeline.following import Follower
from services.recommender.pipeline.mirror import Mirror

Mask = npt.NDArray[np.bool_]

# A millisecond of the event loop.
_CHUNK = 5_000


class Stock(Follower):
    """A mask over the rows of a :class:`Learned`, of the version that serves and the one before it. To be told of
    changes after the mirror."""

    def __init__(self, mirror: Mirror, clock: Callable[[], float] = time.time) -> None:
        self._mirror = mirror
        self._clock = clock
        # The newest first.
        self._masks: list[tuple[Learned, Mask]] = []
        mirror.tell(self._heard)

    def mask(self, learned: Learned) -> Mask | None:
        """True for each product in stock, without the row of the unknown; None: nobody knows. Not to be changed."""
        return next((mask for other, mask in self._masks if other is learned), None)

    def counted(self, product_id: str, quantity: int) -> None:
        for learned, mask in self._masks:
            place = learned.places.get(product_id)
            if place is not None:
                mask[place] = quantity > 0

    def deleted(self, product_id: str) -> None:
        self.counted(product_id, 0)

    def restarted(self) -> None:
        self._masks = []

    def _heard(self, product_id: str, _: object) -> None:
        """What came back may have been derived as sold out between its announcement and its reading."""
        self.counted(product_id, int(self._mirror.assortment.is_available(product_id, self._clock())))

    async def align(self, learned: Learned) -> None:
        """Makes a mask for a version, or makes it anew: what begins or ends by the clock is no change. What is not in
        memory may be in stock."""
        mask = self.mask(learned)
        if mask is None:
            mask = np.ones(len(learned), dtype=np.bool_)
            self._masks = [(learned, mask), *self._masks[:1]]
        for start in range(0, len(learned), _CHUNK):
            assortment = self._mirror.assortment
            places = assortment.find(learned.ids[start : start + _CHUNK])
            in_stock = assortment.available(places, self._clock())
            mask[start : start + _CHUNK] = in_stock if self._mirror.complete else in_stock | (places < 0)
            await asyncio.sleep(0)
