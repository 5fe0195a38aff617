"""A connection over which a server tells that something which was read on it has changed: nobody has to look for it.

Whoever changes a key needs to know nothing of that, and may be of any version. What is told once is told again only
when the key was read again, so however often it changes, a reader hears of it no more often than it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from services.features.stores.redis_link import Link, RefusedError


class TellingLink(Link):
    """A connection over which the server tells of changes, if it can."""

    greeting = (("HELLO", "3"), ("CLIENT", "TRACKING", "ON"))

    def greeted(self, answers: Sequence[Any]) -> None:
        """See Link. Without RESP3 a server takes the order to tell, too, and then nothing is ever told."""
        hello, tracking = answers
        self.tells = isinstance(hello, dict) and hello.get(b"proto") == 3 and not isinstance(tracking, RefusedError)


class WatchingLink(TellingLink):
    """One whose end, too, is a change: what it would have told, nobody knows."""

    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__()
        self._changed = changed

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        super().connection_lost(exc)
        self._changed()

    def _pushed(self, said: Sequence[Any]) -> None:
        if said[0] == b"invalidate":
            self._changed()
