"""The names of what is in Redis, and of what is in one slot of a cluster."""

from __future__ import annotations

import functools
import zlib

PREFIX = "ws:1:"
# Hash tags: a batch is one MGET on a single server, and at most this many on Redis Cluster.
BUCKETS = 32

# What marks fill and the worker empties, in one slot of a cluster: the confirmation that marks are done, and the
# cursor that says how far they were checked, are lost only together with the queues that they speak of.
MARKS = PREFIX + "marks:{marks}:"
CONFIRMED = MARKS + "confirmed"
LATER = MARKS + "later"


def due_key(entity: str) -> str:
    """The sorted set of an entity type's members by due time."""
    return f"{MARKS}due:{entity}"


def claimed_key(entity: str) -> str:
    """The sorted set of those that a worker computes, by the time since when they were due."""
    return f"{MARKS}claimed:{entity}"


def later_member(entity: str, entity_id: str, at_ms: int) -> str:
    """The wake-up of an entity for an event that is yet to come."""
    return f"{entity} {entity_id} {at_ms}"


def record_key(entity: str, entity_id: str) -> str:
    """Of an entity's record."""
    return f"{bucket(entity, entity_id)}:{entity_id}"


def bucket(entity: str, entity_id: str) -> str:
    """The beginning of its record's key: one slot of a cluster."""
    return buckets(entity)[zlib.crc32(entity_id.encode()) % BUCKETS]


@functools.cache
def buckets(entity: str) -> list[str]:
    """All of an entity type, by `crc32(id) % BUCKETS`."""
    return [f"{PREFIX}{{{entity}{number}}}" for number in range(BUCKETS)]
