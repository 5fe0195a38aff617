"""Which products of the serving version are in stock, in memory: searches over all of them look past the others.

It may lag behind the store for a moment; the final check of a page never does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from services.recommender.domain.learned import Learned
from services.runtime.errors import ServiceError
from services.runtime.logs import get_logger

log = get_logger(__name__)

Mask = npt.NDArray[np.bool_]

# What becomes available or expires by the clock makes no change.
_REFRESH_SECONDS = 60.0
# Small enough to be no stall of the event loop.
_PAGE = 5_000


class Stock:
    """A mask over the rows of a :class:`Learned`; ``available`` pages through the ids that may be recommended."""

    def __init__(self, available: Callable[[str, int], Coroutine[Any, Any, Sequence[str]]]) -> None:
        self._available = available
        # Of the version that serves, and before it of the one that did, newest first.
        self._masks: list[tuple[Learned, Mask]] = []
        # Changes while the store is being read: they are newer.
        self._changes: dict[str, bool] = {}
        self._reading = asyncio.Lock()

    def mask(self, learned: Learned) -> Mask | None:
        """True for each product in stock, without the row of the unknown; None: nobody knows. Not to be changed."""
        return next((mask for other, mask in self._masks if other is learned), None)

    def changed(self, product_id: str, available_quantity: int) -> None:
        """A product's stock, just committed."""
        in_stock = available_quantity > 0
        if self._reading.locked():
            self._changes[product_id] = in_stock
        for learned, mask in self._masks:
            _set(learned, mask, product_id, in_stock)

    async def align(self, learned: Learned) -> None:
        """Makes a mask for a version, or makes it anew. Raises UNAVAILABLE; what is there stays then."""
        async with self._reading:
            self._changes.clear()
            mask = np.zeros(len(learned), dtype=np.bool_)
            after = ""
            while ids := await self._available(after, _PAGE):
                places = learned.find(ids)
                mask[places[places >= 0]] = True
                after = ids[-1]
            for product_id, in_stock in self._changes.items():
                _set(learned, mask, product_id, in_stock)
            others = [(other, kept) for other, kept in self._masks if other is not learned]
            self._masks = [(learned, mask), *others[:1]]

    async def follow(self) -> None:
        """Reads the store again now and then, for ever."""
        while True:
            await asyncio.sleep(_REFRESH_SECONDS)
            try:
                if self._masks:
                    await self.align(self._masks[0][0])
            except ServiceError:
                log.debug("stock_not_read")


def _set(learned: Learned, mask: Mask, product_id: str, in_stock: bool) -> None:
    place = learned.places.get(product_id)
    if place is not None:
        mask[place] = in_stock
