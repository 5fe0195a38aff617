"""What a feature is, what a stored value is worth at an instant, and what an answer says about it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from services.features.domain import tokens
from services.features.domain.relative import Maximum, Relative


@dataclass(frozen=True, slots=True)
class Table:
    """Numbers by key: ``values`` has a row of ``columns`` for each of ``keys``, row after row, all of them finite."""

    keys: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[float, ...]


# Instants are in milliseconds since 1970 UTC, the resolution of computed_at.
Value = int | float | str | bool | Table | Sequence[float | str]

NO_TOKEN: Final = bytes(tokens.LENGTH)
# Entry number of "this entity exists"; CRC-32 numbers of features are checked not to be 0.
KNOWN: Final = 0
# Entry number of "this entity was erased": what was read of the record before does not go back into it. No CRC-32.
ERASED: Final = -1


class FeatureType(StrEnum):
    """The type of a feature's values. A timestamp is kept as milliseconds since 1970 UTC."""

    INT = "int"
    DOUBLE = "double"
    STRING = "string"
    BOOL = "bool"
    TIMESTAMP = "timestamp"
    VECTOR = "vector"
    STRING_LIST = "string_list"
    TABLE = "table"


class OnEvent(StrEnum):
    """What a new event of an entity does to a stored value."""

    READ_THROUGH = "read-through"  # dirty: the next read computes
    QUEUE = "queue"  # served on, while the worker computes
    NONE = "none"  # nothing: only age counts
    ALWAYS = "always"  # no matter: each read computes, what is stored is for when that is impossible


class Status(StrEnum):
    """Why a value is what it is; see FeatureStatus in features.proto."""

    PRESENT = "PRESENT"
    STALE = "STALE"
    DEFAULT = "DEFAULT"
    NULL = "NULL"
    NOT_FOUND = "NOT_FOUND"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class Feature:
    """One declaration of the definitions file; ``number`` is its place in records, times are in milliseconds."""

    name: str
    entity: str
    type: FeatureType
    description: str
    refresh_ms: int
    ttl_ms: int
    default: Value | None
    materialize: bool
    on_event: OnEvent
    on_request: bool
    events: frozenset[str]
    sql: str
    number: int
    # Stored are then the magnitude and the greatest one; a reading is the share.
    relative: Relative | None = None
    # Whether its statement is planned anew each time.
    plan_anew: bool = False

    def touched(self, entry: Entry, record: Record) -> bool:
        """Whether an event that changes it came after a value of it was computed."""
        return tokens.moved(entry.token, record.token, tokens.counters(self.events))


@dataclass(frozen=True, slots=True)
class Entity:
    """One entity type: its features, how many of it are refreshed at once, and the statements that list its members.

    ``known`` tells which of given ids exist; ``active`` lists, in pages, those to keep fresh; ``of_products``, where
    there is one, lists those whose values depend on given products' catalogue data; ``idle``, where there is one, tells
    which of given ids are not kept fresh any more: an event or a read computes them.
    """

    name: str
    batch: int
    features: Mapping[str, Feature]
    known: str
    active: str
    of_products: str | None
    idle: str | None = None

    @property
    def materialized(self) -> list[Feature]:
        """Those that the worker keeps fresh."""
        return [f for f in self.features.values() if f.materialize]

    @property
    def events(self) -> frozenset[str]:
        """Types of the events that change at least one feature."""
        return frozenset().union(*(f.events for f in self.features.values()))


class Outcome(NamedTuple):
    """What a statement says of an entity: its value; None: there was no evidence.

    ``until_ms`` is the first instant at which the value can change although nothing happens; None: it does not.
    """

    value: Value | None
    until_ms: int | None = None


NO_EVIDENCE: Final = Outcome(None)


def magnitude_of(outcome: Outcome) -> float | None:
    """What the statement of a feature that is relative to the greatest says; None: nothing that has a level."""
    value = outcome.value
    if value is None or isinstance(value, float):
        return value or None
    raise TypeError("a magnitude must be a double")


def related(relative: Relative, outcome: Outcome, maximum: float | None, now_ms: int) -> Outcome:
    """An outcome with the greatest magnitude, of which ``maximum`` is the level, beside its own."""
    magnitude = magnitude_of(outcome)
    return outcome._replace(value=None if magnitude is None else relative.pair(magnitude, maximum, now_ms))


class Entry(NamedTuple):
    """A computed value, as in Outcome. ``token`` is the record's when the computation began."""

    computed_ms: int
    token: bytes
    value: Value | None
    until_ms: int | None = None

    def slid(self, now_ms: int) -> bool:
        """Whether the window of the value has since moved past something that counted."""
        return self.until_ms is not None and now_ms >= self.until_ms


class Record(NamedTuple):
    """All computed values of an entity, by feature number, and the token that its last event left."""

    token: bytes
    entries: Mapping[int, Entry]


EMPTY: Final = Record(NO_TOKEN, {})


class Reading(NamedTuple):
    """A value as it is answered; ``computed_ms`` is 0 where nothing was computed."""

    value: Value | None
    status: Status
    computed_ms: int


NOT_FOUND: Final = Reading(None, Status.NOT_FOUND, 0)
UNAVAILABLE: Final = Reading(None, Status.UNAVAILABLE, 0)


class Worth(StrEnum):
    """What a stored value is good for."""

    GOOD = "good"
    # Past its refresh interval (flagged then), or its window slid: served, the worker's turn; computed when none will.
    AGED = "aged"
    # An event came after it, or its window slid: computed anew; served, flagged, when that is impossible.
    DIRTY = "dirty"
    MISSING = "missing"  # not there, or past its time to live: computed, never served


def worth(feature: Feature, record: Record, now_ms: int) -> Worth:
    """What the record holds for a feature at an instant."""
    entry = record.entries.get(feature.number)
    if entry is None:
        return Worth.MISSING
    age = now_ms - entry.computed_ms
    if age >= feature.ttl_ms:
        return Worth.MISSING
    slid = entry.slid(now_ms)
    if feature.on_event is OnEvent.ALWAYS:
        return Worth.DIRTY
    if feature.on_event is OnEvent.READ_THROUGH and (slid or feature.touched(entry, record)):
        return Worth.DIRTY
    if slid or age >= feature.refresh_ms:
        return Worth.AGED
    return Worth.GOOD


def reading(
    feature: Feature, entry: Entry, now_ms: int, outdated: bool = False, maximum: Maximum | None = None
) -> Reading:
    """The answer from a computed value; ``outdated`` when it is known to be another by now.

    ``maximum``: the greatest of all, of a feature that is relative to it.
    """
    if entry.value is None:
        if feature.default is None:
            return Reading(None, Status.NULL, entry.computed_ms)
        return Reading(feature.default, Status.DEFAULT, entry.computed_ms)
    stale = outdated or now_ms - entry.computed_ms >= feature.refresh_ms
    status = Status.STALE if stale else Status.PRESENT
    if feature.relative is None:
        return Reading(entry.value, status, entry.computed_ms)
    if not isinstance(entry.value, Sequence):
        raise TypeError("a relative value is a pair")
    if stale or (maximum is not None and entry.slid(maximum.at_ms)):
        maximum = None
    magnitude, greatest = map(float, entry.value)
    value, at_ms = feature.relative.of_greatest(magnitude, greatest, entry.computed_ms, maximum)
    return Reading(value, status, at_ms)


def merged(old: Mapping[int, Entry], new: Mapping[int, Entry]) -> dict[int, Entry]:
    """Both; of two computations of one feature the later one."""
    entries = dict(old)
    for number, entry in new.items():
        known = entries.get(number)
        if known is None or entry.computed_ms >= known.computed_ms:
            entries[number] = entry
    return entries


def restamped(features: Iterable[Feature], record: Record) -> dict[int, Entry]:
    """Values that later events did not change, under the newest token: it says the same of them.

    A record's entries have one token again then, which is stored once.
    """
    return {
        feature.number: entry._replace(token=record.token)
        for feature in features
        for entry in (record.entries.get(feature.number),)
        if entry is not None and entry.token != record.token and not feature.touched(entry, record)
    }


# Refreshed at nine tenths of the interval, so that a queue of a moment does not make values stale; with one
# part in ten of jitter, so that what was computed together is not due together.
_EARLY: Final = 0.9
_JITTER: Final = 0.1
# What ages within so long is due at one moment and computed together: a batch costs little more than one. Of short
# intervals a hundredth.
_TOGETHER_MS: Final = 500
# Between two tries of a statement that fails or is too slow.
_PAUSE_MS: Final = 30_000


def due_features(features: Sequence[Feature], record: Record, now_ms: int) -> list[Feature]:
    """What the worker computes for an entity whose turn it is.

    Features with ``on_event = "queue"`` always: an entity is in the queue because of an event at least as often as
    because of its age, and the record does not tell.
    """
    due = []
    for feature in features:
        entry = record.entries.get(feature.number)
        if (
            entry is None
            or feature.on_event is OnEvent.QUEUE
            or (feature.on_event is OnEvent.READ_THROUGH and feature.touched(entry, record))
            or now_ms - entry.computed_ms >= feature.refresh_ms * (_EARLY - _JITTER)
            or entry.slid(now_ms)
        ):
            due.append(feature)
    return due


def in_company(feature: Feature, due_ms: int) -> int:
    """When what is due at an instant is computed together with others."""
    step_ms = max(1, min(_TOGETHER_MS, feature.refresh_ms // 100))
    return -(-due_ms // step_ms) * step_ms


def next_due_ms(
    features: Sequence[Feature], entries: Mapping[int, Entry], jitter: float, after_ms: int = 0
) -> int | None:
    """When an entity is to be refreshed next: before a value ages, and at the instant at which its window slides.

    None: no feature has evidence, only an event brings it back. ``jitter`` is uniform in 0..1. What was due by
    ``after_ms`` and has not been computed since has failed: it is tried again after a pause.
    """
    times = []
    for feature in features:
        entry = entries.get(feature.number)
        if entry is None:
            continue
        if entry.value is not None:
            times.append(in_company(feature, entry.computed_ms + int(feature.refresh_ms * (_EARLY - _JITTER * jitter))))
        if entry.until_ms is not None:
            times.append(entry.until_ms)
    return min((due if due > after_ms else after_ms + _PAUSE_MS for due in times), default=None)
