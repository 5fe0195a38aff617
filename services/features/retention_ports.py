"""What keeping the log in bounds needs of the world."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Removed:
    """What a round took out of the log."""

    partitions: int
    events: int


class LogKeeper(Protocol):
    """The log by its partitions. Every method raises StoreDownError; what was begun is finished by the next call."""

    def sole(self) -> AbstractAsyncContextManager[bool]:
        """Whether the caller is the only one to keep the log; it stays so for the block."""

    async def make(self, first_us: int, last_us: int) -> None:
        """The partitions of the days from one instant to another are there on return."""

    async def drop(self, before_us: int) -> Removed:
        """Drops days and months that lie before an instant, with the ids of their events; others write and read on."""

    def forget(self, before_us: int) -> AsyncIterator[Sequence[str]]:
        """Removes the subjects whose last event lay on a day before an instant; gives their ids in pages."""

    async def trim(self, before_us: int) -> None:
        """Forgets transactions that ended before an instant."""
