"""What erasing a person and merging a guest into a user need of the event log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from services.features.ports import LoggedEvent


class RemovedPage(NamedTuple):
    """What one step of an erasure took out of the log."""

    events: int
    lines: int
    # Of the lines: their features counted the person.
    product_ids: Sequence[str]
    # When the events happened (ms): the online store may hold a wake-up for one that is yet to come.
    event_times_ms: Sequence[int]


class ErasureLog(Protocol):
    """Erasure from the event log. Every method raises StoreDownError."""

    async def bury(self, subject_id: str, now_us: int) -> Sequence[str]:
        """From now on the log takes no event of a subject of up to ``now_us`` or its newest; the id is not kept.

        Nor does it of the guests whose events are the subject's; returns these guests, to be removed as well.
        """

    async def remove(self, subject_id: str) -> RemovedPage | None:
        """Removes some of what is older than the subject's tombstone; None: nothing is left."""

    async def forget_merges(self, subject_id: str) -> None:
        """Removes what says that a guest was a user, as far as the subject's tombstone covers it."""


class MovedPage(NamedTuple):
    """What one step of a merge moved: how many events and lines, and what is to be marked, of which transaction.

    ``last``: the merge is done, and the guest known only if it has newer events.
    """

    events: int
    lines: int
    touched: Sequence[LoggedEvent]
    transaction: int
    last: bool


class MergeLog(Protocol):
    """Merges of guests into users in the event log. Every method raises StoreDownError."""

    async def begin(self, visitor_id: str, user_id: str, now_us: int) -> bool:
        """From now on the guest's events of up to ``now_us`` or its newest are the user's, also those that come late.

        Returns whether there is a tombstone that covers some of them: they are to be removed.
        """

    async def move(self, visitor_id: str) -> MovedPage | None:
        """Moves some of what is not yet the user's; None: all merges of the guest are done."""
