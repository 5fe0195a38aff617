"""After a commit, before the acknowledgement: whom events touched becomes dirty and due."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from services.features.domain.features import Entity
from services.features.metrics import MARK_FAILURES
from services.features.ports import LoggedEvent, OnlineStore, StoreDownError, Touched

USER, PRODUCT = "User", "Product"

# Entities whose marks are owed; beyond it the oldest are left to the log tail, which repeats every lost mark.
_MAX_OWED = 100_000


def touched(events: Iterable[LoggedEvent], entities: Sequence[Entity]) -> dict[str, dict[str, int]]:
    """The entities with a feature that one of the events changes, and from when on."""
    changing = {entity.name: entity.events for entity in entities}
    users, products = changing.get(USER, frozenset()), changing.get(PRODUCT, frozenset())
    result: dict[str, dict[str, int]] = {USER: {}, PRODUCT: {}}
    for event in events:
        if event.event_type in users:
            _latest(result[USER], event.subject_id, event.event_time_ms)
        if event.event_type in products:
            for product_id in event.product_ids:
                _latest(result[PRODUCT], product_id, event.event_time_ms)
    return result


def _latest(times: dict[str, int], entity_id: str, at_ms: int) -> None:
    if at_ms > times.get(entity_id, 0):
        times[entity_id] = at_ms


class Marker:
    """Marks in the online store, and remembers what it could not mark.

    So a reader of this process sees its own writes even when the marks did not get through.
    """

    def __init__(self, online: OnlineStore, clock_ms: Callable[[], int]) -> None:
        self._online = online
        self._clock_ms = clock_ms
        self._owed: dict[tuple[str, str], int] = {}
        # Changes whenever something was marked: what was computed before it may miss an event.
        self.generation = 0

    async def mark(self, who: Touched, transactions: Sequence[int]) -> None:
        """Never fails: what is committed is acknowledged, and the log tail repeats the mark."""
        self.generation += 1
        try:
            await self._online.mark(who, self._clock_ms(), transactions)
        except StoreDownError:
            MARK_FAILURES.inc()
            for entity, ids in who.items():
                for entity_id, at_ms in ids.items():
                    if len(self._owed) < _MAX_OWED:
                        self._owed[entity, entity_id] = at_ms
            return
        if self._owed:
            await self._settle()

    def owes(self, entity: str, entity_id: str) -> bool:
        """Whether a mark of this entity is missing: its record must not be believed."""
        return bool(self._owed) and (entity, entity_id) in self._owed

    @property
    def in_debt(self) -> bool:
        """Whether any mark is missing."""
        return bool(self._owed)

    async def _settle(self) -> None:
        owed, self._owed = self._owed, {}
        who: dict[str, dict[str, int]] = {}
        for (entity, entity_id), at_ms in owed.items():
            who.setdefault(entity, {})[entity_id] = at_ms
        try:
            await self._online.mark(who, self._clock_ms(), ())
        except StoreDownError:
            self._owed = owed | self._owed

    async def settle(self) -> None:
        """Tries to mark what is owed; called every so often."""
        if self._owed:
            await self._settle()
