"""What the service needs of the world; each port has its implementations in ``stores`` or ``clients``."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple, Protocol

from services.features.domain.events import Event
from services.features.domain.features import Entity, Entry, Feature, Outcome, Record

ONLINE_STORE = "online-store"
EVENT_LOG = "event-log"
Meanwhile = Callable[[Sequence[bytes | None]], object]  # takes records as they most likely are


class StoreDownError(Exception):
    """A store did not answer in time, or not at all. ``store`` is the name under which answers report it."""

    def __init__(self, store: str, cause: str) -> None:
        super().__init__(f"{store}: {cause}")
        self.store = store


class SlowStatementError(StoreDownError):
    """The store answers, but gave this statement up after its time."""


@dataclass(frozen=True, slots=True)
class Appended:
    """What became of a batch: for each event whether it was new; the products that the catalogue does not know."""

    new: Sequence[bool]
    unknown_products: frozenset[str]
    # Of the new ones; None when there are none. Confirming it spares the log tail repeating the marks.
    transaction: int | None
    # Ids of events that were not taken because their subject was erased after them.
    erased: frozenset[str] = frozenset()
    # By event id, the users whose the events of guests are who signed in after them.
    merged: Mapping[str, str] = field(default_factory=dict)


class EventLog(Protocol):
    """Where events are durable. Every method raises StoreDownError."""

    async def prepare(self, events: Sequence[Event]) -> None:
        """Makes room for the times of events; long when they lie on hundreds of days that the log has not seen."""

    async def append(self, events: Sequence[Event]) -> Appended:
        """Stores those whose id is new, in one transaction; durable on return."""


class LoggedEvent(NamedTuple):
    """What marking needs of an event in the log."""

    event_type: str
    subject_id: str
    event_time_ms: int
    product_ids: Sequence[str]


class LogReader(Protocol):
    """The log in the order of transactions, for whoever repeats marks. Raises StoreDownError."""

    async def horizon(self) -> int:
        """The oldest transaction that may still be running: all below it have ended."""

    async def transactions(self, first: int, horizon: int, limit: int) -> list[int]:
        """Transactions that wrote events, ascending, from ``first`` on and below ``horizon``."""

    async def events_of(self, transaction: int) -> list[LoggedEvent]:
        """The events that a transaction wrote."""

    async def future_events(self, now_ms: int) -> list[LoggedEvent]:
        """The events whose time is still to come."""


class Standing(NamedTuple):
    """Of some ids those that an event or the catalogue names, and those that are not kept fresh any more.

    None is idle when the entity declares no way to tell.
    """

    known: set[str]
    idle: set[str]


class FeatureComputer(Protocol):
    """Features from the log, by their declared statements. Raises StoreDownError."""

    async def compute(self, feature: Feature, ids: Sequence[str], now_ms: int) -> dict[str, Outcome]:
        """What the statement says of each id with evidence at ``now_ms``."""

    async def maximum(self, feature: Feature, instants: Sequence[int]) -> dict[int, float]:
        """Of a feature relative to the greatest of all: the greatest at each instant (ms), where there is one."""

    async def known(self, entity: Entity, ids: Sequence[str]) -> set[str]:
        """Those of ``ids`` that an event or the catalogue names."""

    async def active(self, entity: Entity, after: str, now_ms: int, limit: int) -> list[str]:
        """The next ids to keep fresh, ascending."""

    async def standing(self, entity: Entity, ids: Sequence[str], now_ms: int) -> Standing:
        """How ``ids`` stand; cheap beside what is computed of the same ids as of the same instant."""

    async def of_products(self, entity: Entity, product_ids: Sequence[str], now_ms: int) -> list[str]:
        """The ids whose values depend on the catalogue data of products; none when the entity declares no way."""


# Whom events touched: by entity type and id, the instants (ms) still to come from which one of the events counts.
Touched = Mapping[str, Mapping[str, Sequence[int]]]


# By entity type and id, the counters (see ``domain.tokens``) that events have moved; of who is not in there, all.
Counters = Mapping[str, Mapping[str, int]]
NO_COUNTERS: Counters = MappingProxyType({})


class Arrival(NamedTuple):
    """An entity that was marked for an instant which is now present; ``key`` is how the store knows it."""

    entity: str
    id: str
    key: str


class Erased(NamedTuple):
    """What an erasure found online: whether there was a record with values, and places in queues."""

    record: bool
    queued: int


class RecordsMissedError(StoreDownError):
    """Some of the store's servers did not answer; ``records`` has None in the place of what they hold."""

    def __init__(self, records: Sequence[Record | None]) -> None:
        super().__init__(ONLINE_STORE, "some servers are down")
        self.records = records


class MarksLostError(StoreDownError):
    """Some of the store's servers did not answer; ``lost`` is what must not be believed, all else is marked."""

    def __init__(self, lost: Touched) -> None:
        super().__init__(ONLINE_STORE, "some servers are down")
        self.lost = lost


class OnlineStore(Protocol):
    """Records, as they are read online, and marks. Raises StoreDownError."""

    async def read(self, entity: str, ids: Sequence[str]) -> list[Record]:
        """The record of each id; an empty one where there is none. RecordsMissedError when only some can be had."""

    async def packed(self, entity: str, ids: Sequence[str], meanwhile: Meanwhile | None = None) -> list[bytes | None]:
        """The same as they are stored, empty where there is none; None: the server that has it does not answer. While
        the store is asked, ``meanwhile`` gets what is at hand, if all is; that very list is returned if it is right."""

    def unpack(self, packed: bytes | None, only: Collection[int] | None = None) -> Record:
        """A record from what is stored; with ``only``, of its entries at least those of these numbers."""

    async def begin(self, entity: str, ids: Sequence[str]) -> list[Record]:
        """Makes a record with a token where there is none, before anything is computed for it; returns all.

        So a record that was marked and evicted since is told from one that was never there. RecordsMissedError as in
        ``read``.
        """

    async def write(
        self, entity: str, ttl_ms: int, entries: Mapping[str, tuple[Record, Mapping[int, Entry]]]
    ) -> set[str]:
        """Puts new entries into records that were read or begun before; entries computed later by others stay.

        What is no longer there was evicted, perhaps with a mark: nothing is written then. Returns the ids that were
        erased since they were read: nothing was put into their records either.
        """

    async def forget(self, entity: str, ids: Sequence[str]) -> None:
        """Removes the records of entities that are no more."""

    async def erase(self, entity: str, entity_id: str, now_ms: int, later: Sequence[int]) -> Erased:
        """Removes an entity's record, its place in the queue, and its wake-ups at the instants ``later`` (ms).

        A computation that began before does not bring the record back.
        """

    async def mark(
        self, touched: Touched, now_ms: int, transactions: Sequence[int], some: Counters = NO_COUNTERS
    ) -> None:
        """Makes the touched entities dirty and due, and confirms that the marks of these transactions are done.

        With ``some``, of its entities only what depends on these counters becomes dirty.
        MarksLostError, and no confirmation, when only some could be marked.
        """


class Claim(NamedTuple):
    """An entity lent to one worker: until ``lease`` (ms), nobody else gets it."""

    id: str
    lease: int
    due_ms: int


# The worker takes up marks at each multiple of this, of the entities of which a read computes anyway: events of one
# visitor's burst, and those of others at the same time, cost one refresh.
SETTLE_MS = 500


class Pending(NamedTuple):
    """What a queue has not done yet.

    ``since_ms``: since when something waits that is due, or is being computed; None: nothing does. ``cursor``: how far
    the log was checked for lost marks; None: the queue is new, and nobody knows what it lost.
    """

    since_ms: int | None
    cursor: int | None


class DueQueue(Protocol):
    """Entities by the time of their next refresh. Raises StoreDownError."""

    async def enqueue(self, entity: str, due: Mapping[str, int]) -> None:
        """Makes entities due at the given times, or earlier when they were."""

    async def claim(self, entity: str, now_ms: int, limit: int) -> list[Claim]:
        """Takes entities that are due, those waiting longest first."""

    async def complete(self, entity: str, done: Sequence[tuple[Claim, int | None]]) -> None:
        """Gives claims back with their next due time, None: out of the queue. One touched meanwhile stays due."""

    async def sign(self) -> str:
        """Leaves a receipt behind all that was queued and marked before, to be lost with it; returns its name."""

    async def signed(self, receipt: str) -> bool:
        """Whether a receipt is still there."""

    async def pending(self, entity: str, now_ms: int) -> Pending:
        """What is due by now and not done."""


class TailState(Protocol):
    """What the log tail remembers, in the same store as the marks: lost together with them. Raises StoreDownError."""

    async def cursor(self) -> int | None:
        """The first transaction not seen yet; None in a store that is new, was emptied or has lost a queue."""

    async def renew(self) -> None:
        """Forgets the place; the queues, whatever they hold by now, count as whole once there is one again."""

    async def advance(self, cursor: int) -> None:
        """Remembers a place, and drops the confirmations before it."""

    async def confirmed(self, transactions: Sequence[int]) -> set[int]:
        """Those whose marks were confirmed."""

    async def arrived(self, now_ms: int, limit: int) -> list[Arrival]:
        """Marks that are waiting for an instant which is now present."""

    async def woken(self, arrivals: Sequence[Arrival]) -> None:
        """Forgets marks that are done."""
