"""What editing serving configs needs of the outside world."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoredConfig:
    """An edit as it was stored; this version of the service may not understand its declaration."""

    id: str
    declaration: str
    update_time: datetime


class ServingConfigStore(Protocol):
    """The edits of serving configs. Every method raises UNAVAILABLE when the store is away."""

    async def all(self) -> Sequence[StoredConfig]:
        """Every edit, in no order."""
        ...

    async def change(
        self, config_id: str, decide: Callable[[StoredConfig | None, int], str | None]
    ) -> StoredConfig | None:
        """Stores the declaration that ``decide`` makes of the stored edit, None removes it, with no other change in
        between; returns what is stored then.

        ``decide`` is told how many edits there are as well; what it raises is passed on.
        """
        ...
