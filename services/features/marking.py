"""After a commit, before the acknowledgement: whom events touched becomes dirty and due."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from services.features.domain.features import Entity
from services.features.domain.tokens import counters
from services.features.metrics import MARK_FAILURES
from services.features.ports import (
    NO_COUNTERS,
    Counters,
    LoggedEvent,
    MarksLostError,
    OnlineStore,
    StoreDownError,
    Touched,
)

USER, PRODUCT = "User", "Product"

# Entities whose marks are owed; beyond it the oldest are left to the log tail, which repeats every lost mark.
_MAX_OWED = 100_000
# Owed marks that are settled at once: some ten milliseconds of the store.
_SETTLE_PAGE = 2_000


def touched(events: Iterable[LoggedEvent], entities: Sequence[Entity], now_ms: int) -> dict[str, dict[str, list[int]]]:
    """The entities with a feature that one of the events changes; those of the future change it in their time too."""
    changing = {entity.name: entity.events for entity in entities}
    users, products = changing.get(USER, frozenset()), changing.get(PRODUCT, frozenset())
    result: dict[str, dict[str, list[int]]] = {USER: {}, PRODUCT: {}}
    for event in events:
        coming = [event.event_time_ms] if event.event_time_ms > now_ms else []
        if event.event_type in users:
            result[USER].setdefault(event.subject_id, []).extend(coming)
        if event.event_type in products:
            for product_id in event.product_ids:
                result[PRODUCT].setdefault(product_id, []).extend(coming)
    return result


def moved(events: Iterable[LoggedEvent]) -> dict[str, dict[str, int]]:
    """The counters that events move, of the entities of which a mark makes values dirty."""
    result: dict[str, int] = {}
    for event in events:
        result[event.subject_id] = result.get(event.subject_id, 0) | counters((event.event_type,))
    return {USER: result}


class Marker:
    """Marks in the online store, and remembers what it could not mark.

    So a reader of this process sees its own writes even when the marks did not get through.
    """

    def __init__(self, online: OnlineStore, clock_ms: Callable[[], int]) -> None:
        self._online = online
        self._clock_ms = clock_ms
        # Each debt is a list of its own: a newer one of the same entity is another list.
        self._owed: dict[tuple[str, str], list[int]] = {}
        # Changes whenever something was marked: what was computed before it may miss an event.
        self.generation = 0

    async def mark(self, events: Iterable[LoggedEvent], entities: Sequence[Entity], transaction: int | None) -> None:
        """Marks whom events touched, and confirms that the marks of their transaction, if it is theirs, are done.

        Never fails: what is committed is acknowledged, and the log tail repeats the mark.
        """
        events = list(events)
        who = touched(events, entities, self._clock_ms())
        await self.mark_all(who, [] if transaction is None else [transaction], moved(events))

    async def mark_all(self, who: Touched, transactions: Sequence[int] = (), some: Counters = NO_COUNTERS) -> None:
        """Marks entities, see OnlineStore. Never fails: what cannot be marked now is owed, with all counters."""
        self.generation += 1
        try:
            await self._online.mark(who, self._clock_ms(), transactions, some)
        except StoreDownError as error:
            MARK_FAILURES.inc()
            self._owe(error.lost if isinstance(error, MarksLostError) else who)

    def owes(self, entity: str, entity_id: str) -> bool:
        """Whether a mark of this entity is missing: its record must not be believed."""
        return bool(self._owed) and (entity, entity_id) in self._owed

    @property
    def in_debt(self) -> bool:
        """Whether any mark is missing."""
        return bool(self._owed)

    def _owe(self, who: Touched) -> None:
        for entity, ids in who.items():
            for entity_id, coming in ids.items():
                before = self._owed.pop((entity, entity_id), [])
                self._owed[entity, entity_id] = [*before, *coming]
        for key in list(islice(self._owed, max(0, len(self._owed) - _MAX_OWED))):
            del self._owed[key]

    async def settle(self) -> None:
        """Tries to mark what is owed; called every so often.

        It stays owed until it is marked: a reader must not believe its record before.
        """
        while self._owed:
            page = dict(islice(self._owed.items(), _SETTLE_PAGE))
            who: dict[str, dict[str, list[int]]] = {}
            for (entity, entity_id), coming in page.items():
                who.setdefault(entity, {})[entity_id] = coming
            lost: Touched = {}
            try:
                await self._online.mark(who, self._clock_ms(), ())
            except MarksLostError as error:
                lost = error.lost
            except StoreDownError:
                return
            for key, coming in page.items():
                if self._owed.get(key) is coming:
                    del self._owed[key]
                    if key[1] in lost.get(key[0], ()):
                        self._owed[key] = coming  # behind those that may fare better
            if lost:
                return
