"""Cards of products by id, kept in memory: histories repeat, and a card changes rarely."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from services.recommender.domain.signals import Card
from services.recommender.pipeline.deadline import within
from services.recommender.ranking_ports import Retrieval

# Titles and categories in reasons and tastes may lag this much; stock is never read from here.
_SECONDS = 60.0
# A product that was unknown is often one that is being imported.
_UNKNOWN_SECONDS = 2.0
# About 400 bytes each.
_SIZE = 100_000


class Cards:
    """A cache in front of :meth:`Retrieval.cards` that also answers, from what it has, when the store is down."""

    def __init__(
        self,
        retrieval: Retrieval,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._retrieval = retrieval
        self._timeout = timeout
        self._clock = clock
        # By id: until when it is believed, and the card (None: the catalogue has no such product).
        self._kept: OrderedDict[str, tuple[float, Card | None]] = OrderedDict()
        self._changes = 0

    async def of(self, ids: Sequence[str]) -> dict[str, Card]:
        """The cards by id; unknown products are left out. Raises when the store cannot be asked for missing ones."""
        now = self._clock()
        missing = [id_ for id_ in ids if self._kept.get(id_, (-math.inf, None))[0] <= now]
        if missing:
            changes = self._changes
            found = await within(self._timeout, self._retrieval.cards(missing))
            by_id = {card.id: card for card in found}
            # What was read while the catalogue changed may be older than the change: good for this answer only.
            believed = changes == self._changes
            for id_ in missing:
                card = by_id.get(id_)
                until = now + (_SECONDS if card else _UNKNOWN_SECONDS) if believed else now
                self._kept[id_] = (until, card)
                self._kept.move_to_end(id_)
            while len(self._kept) > _SIZE:
                self._kept.popitem(last=False)
        return self.known(ids)

    def changed(self, product_id: str) -> None:
        """A product, just committed: asked for again; until the store answers, the old card is better than none."""
        self._changes += 1
        _, card = self._kept.get(product_id, (0.0, None))
        if card is None:
            self._kept.pop(product_id, None)
        else:
            self._kept[product_id] = (-math.inf, card)

    def deleted(self, product_id: str) -> None:
        """A product that just left the catalogue."""
        self._changes += 1
        self._kept.pop(product_id, None)

    def known(self, ids: Sequence[str]) -> dict[str, Card]:
        """The cards that are in memory, however old."""
        kept = ((id_, self._kept.get(id_)) for id_ in ids)
        return {id_: entry[1] for id_, entry in kept if entry is not None and entry[1] is not None}
