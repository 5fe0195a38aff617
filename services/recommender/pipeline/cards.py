"""Cards of products by id, kept in memory: histories repeat, and a card changes rarely."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol

from services.recommender.domain.signals import Card
from services.recommender.pipeline.deadline import within
from services.recommender.ranking_ports import Retrieval

# Titles and categories in reasons and tastes may lag this much; stock is never read from here.
_SECONDS = 60.0
# A product that was unknown is often one that is being imported.
_UNKNOWN_SECONDS = 2.0
# About 400 bytes each.
_SIZE = 100_000


class Memory(Protocol):
    """What is in memory of the whole catalogue, see :class:`~.mirror.Mirror`."""

    def ask(self, product_id: str) -> bool:
        """Whether only the store can tell."""
        ...

    def unsure(self, ids: Sequence[str]) -> list[str]:
        """Those to ask about."""
        ...

    def card(self, product_id: str) -> Card | None: ...


class Cards:
    """In front of :meth:`Retrieval.cards`: most cards are in memory, what was asked for is kept a while. Also answers,
    from what it has, when the store is down."""

    def __init__(
        self,
        retrieval: Retrieval,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
        memory: Memory | None = None,
    ) -> None:
        self._retrieval = retrieval
        self._memory = memory
        self._timeout = timeout
        self._clock = clock
        # By id: until when it is believed, and the card (None: the catalogue has no such product).
        self._kept: OrderedDict[str, tuple[float, Card | None]] = OrderedDict()
        self._changes = 0

    def at_once(self, ids: Sequence[str]) -> dict[str, Card] | None:
        """As :meth:`of`, from memory; None where the store has to be asked."""
        memory = self._memory
        if memory is not None and not memory.unsure(ids):
            return {id_: card for id_ in ids if (card := memory.card(id_)) is not None}
        return None if self._missing(ids, self._clock()) else self.known(ids)

    async def of(self, ids: Sequence[str]) -> dict[str, Card]:
        """The cards by id; unknown products are left out. Raises when the store cannot be asked for missing ones."""
        now = self._clock()
        missing = self._missing(ids, now)
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
        cards = ((id_, self._known(id_)) for id_ in ids)
        return {id_: card for id_, card in cards if card is not None}

    def _known(self, product_id: str) -> Card | None:
        memory = self._memory
        if memory is not None and not memory.ask(product_id):
            return memory.card(product_id)
        _, card = self._kept.get(product_id, (0.0, None))
        # An old one from memory is better than none.
        return card if card is not None or memory is None else memory.card(product_id)

    def _missing(self, ids: Sequence[str], now: float) -> list[str]:
        memory = self._memory
        asked = ids if memory is None else memory.unsure(ids)
        return [id_ for id_ in asked if self._kept.get(id_, (-math.inf, None))[0] <= now]
