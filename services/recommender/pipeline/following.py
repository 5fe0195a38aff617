"""One door through which everything that is kept of the catalogue in memory hears what becomes of products.

A change made through this process is told before it is acknowledged; the change log tells the same again some
milliseconds later, and what was done through other processes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from services.recommender.domain.change import Cursor, ProductChange, Stored
from services.recommender.domain.product import Product
from services.recommender.ports import ChangeLog
from services.runtime.errors import ServiceError

_RETRY_SECONDS = 0.5
# Nothing depends on it: a wait that ends without a change begins anew.
_WAIT_SECONDS = 15.0
# Small enough to be no stall of the event loop.
_CHUNK = 100


class Follower:
    """Keeps something of the catalogue in memory. Nothing here waits or raises; what does not matter to a follower is
    not overridden."""

    def changed(self, product: Product, stored: Stored | None = None) -> None:
        """Committed through this process; its stock is what was sent for it, perhaps more than a newer count left.
        ``stored`` is what the store made of it; None: who knows."""

    def counted(self, product_id: str, quantity: int) -> None:
        """A product's stock, committed through this process."""

    def deleted(self, product_id: str) -> None:
        """The product left the catalogue, through whichever process."""

    def followed(self, change: ProductChange) -> None:
        """The newest state of a product that is still there, from the change log."""
        self.counted(change.product_id, change.available_quantity)

    def reached(self, change_seq: int) -> None:
        """All changes until this one were told, or came before ``restarted``."""

    def restarted(self) -> None:
        """From now on every change is told. Called again, the catalogue is another one, or was set back: nothing that
        is kept of the one before is true."""


class Followers(Follower):
    """Tells each of them, in their order."""

    def __init__(self, followers: Sequence[Follower]) -> None:
        self._followers = followers

    def changed(self, product: Product, stored: Stored | None = None) -> None:
        for follower in self._followers:
            follower.changed(product, stored)

    def counted(self, product_id: str, quantity: int) -> None:
        for follower in self._followers:
            follower.counted(product_id, quantity)

    def deleted(self, product_id: str) -> None:
        for follower in self._followers:
            follower.deleted(product_id)

    def followed(self, change: ProductChange) -> None:
        for follower in self._followers:
            follower.followed(change)

    def reached(self, change_seq: int) -> None:
        for follower in self._followers:
            follower.reached(change_seq)

    def restarted(self) -> None:
        for follower in self._followers:
            follower.restarted()


async def follow_catalogue(changes: ChangeLog, follower: Follower) -> None:
    """Tells each change of the log, for ever; none is missed from the first ``restarted`` on."""
    cursor: Cursor | None = None
    while True:
        try:
            # When nothing was told for a while, or the store was away.
            epoch, head = await changes.position()
            if cursor is None or not cursor.continues(epoch, head):
                cursor = Cursor(epoch, head)
                follower.restarted()
                follower.reached(head)
            while await changes.wait_past(cursor.change_seq, _WAIT_SECONDS):
                for change in await changes.changes(cursor.change_seq, _CHUNK):
                    if change.deleted:
                        follower.deleted(change.product_id)
                    else:
                        follower.followed(change)
                    cursor = Cursor(epoch, change.change_seq)
                follower.reached(cursor.change_seq)
        except ServiceError:
            await asyncio.sleep(_RETRY_SECONDS)
