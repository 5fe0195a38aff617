"""The eight bytes that begin a record: four counters of what has touched its entity, each for some types of events.

A value is out of date when a counter has moved that its feature depends on. So a view does not make the history of
purchases dirty. A record that is new, or was evicted, begins with counters of random numbers.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Final

LENGTH: Final = 8
# Counters of two bytes. Whoever is read or refreshed is computed long before one has gone round.
BITS: Final = 16
COUNTERS: Final = 8 * LENGTH // BITS
# As bits, one for each counter: all of them, for what may be of any type.
ALL: Final = 2**COUNTERS - 1
# What shops have most of has a counter of its own; the last one is of all other types. Records outlive a process: types
# keep their places.
_OWN: Final = {"detail-page-view": 0, "add-to-cart": 1, "purchase-complete": 2}
_OTHERS: Final = COUNTERS - 1


@cache
def counters(event_types: Collection[str]) -> int:
    """Those that events of these types move, as bits; of no type named, all."""
    return sum({1 << _OWN.get(kind, _OTHERS) for kind in event_types}) or ALL


def moved(before: bytes, after: bytes, some: int) -> bool:
    """Whether one of ``some`` counters differs between two tokens."""
    return before != after and bool((int.from_bytes(before, "big") ^ int.from_bytes(after, "big")) & _MASKS[some])


def _mask(some: int) -> int:
    shifts = [8 * LENGTH - BITS * (place + 1) for place in range(COUNTERS) if some >> place & 1]
    return sum((2**BITS - 1) << shift for shift in shifts)


_MASKS: Final = tuple(_mask(some) for some in range(ALL + 1))
