"""Which of several servers is asked what one of them may remember."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

# Requests under way: a server that has so many more of them than the one with the fewest is not waited for. What it
# remembers is worth less than that: half as many let fewer pages be found, and more are tens of milliseconds.
AHEAD = 8


def server_for(affinity: str, under_way: Mapping[str, int]) -> str | None:
    """The one of the servers, which are given with what they have under way, that is the first for ``affinity``; None:
    there is none.

    By rendezvous hashing (Thaler and Ravishankar 1998): every client chooses the same, and a server that comes or goes
    takes its own share along and no other.
    """
    if len(under_way) < 2:
        return next(iter(under_way), None)
    chosen = max(under_way, key=lambda server: _weight(server, affinity))
    idlest = min(under_way, key=under_way.__getitem__)
    return idlest if under_way[chosen] > under_way[idlest] + AHEAD else chosen


def _weight(server: str, affinity: str) -> bytes:
    return hashlib.blake2b(affinity.encode(), key=server.encode()[:64], digest_size=8).digest()
