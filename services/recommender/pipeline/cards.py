"""Cards of products by id: from the catalogue in memory, the others asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from services.recommender.domain.signals import Card
from services.recommender.pipeline.deadline import within
from services.recommender.ranking_ports import Retrieval


class Memory(Protocol):
    """What is in memory of the whole catalogue, see :class:`~.mirror.Mirror`."""

    def unsure(self, ids: Sequence[str]) -> list[str]:
        """Those of which only the store can tell what they are now."""
        ...

    def card(self, product_id: str) -> Card | None:
        """As old as it may be."""
        ...


class Cards:
    """In front of :meth:`Retrieval.cards`. Also answers, from what is in memory, when the store is down."""

    def __init__(self, retrieval: Retrieval, memory: Memory, timeout: float) -> None:
        self._retrieval = retrieval
        self._memory = memory
        self._timeout = timeout

    def at_once(self, ids: Sequence[str]) -> dict[str, Card] | None:
        """As :meth:`of`, from memory; None where the store has to be asked."""
        return None if self._memory.unsure(ids) else self.known(ids)

    async def of(self, ids: Sequence[str]) -> dict[str, Card]:
        """The cards by id; unknown products are left out. Raises when the store cannot be asked for missing ones."""
        missing = self._memory.unsure(ids)
        asked: dict[str, Card] = {}
        if missing:
            found = await within(self._timeout, self._retrieval.cards(missing))
            asked = {card.id: card for card in found}
        among = set(missing)
        return self.known([id_ for id_ in ids if id_ not in among]) | asked

    def known(self, ids: Sequence[str]) -> dict[str, Card]:
        """The cards that are in memory, however old."""
        return {id_: card for id_ in ids if (card := self._memory.card(id_)) is not None}
