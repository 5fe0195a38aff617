"""Where the levels of features that are relative to the greatest of all are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from services.features.domain.features import Feature


class Greatest(NamedTuple):
    """The greatest level, None: nothing has evidence, and the instant (ms) that it was computed for.

    ``complete``: whether all have theirs. ``since_ms``: when the first of the events happened that were asked about, as
    far as they were not late.
    """

    complete: bool
    level: float | None
    computed_ms: int
    since_ms: int | None


class Levels(Protocol):
    """The levels of features that are relative to the greatest of all, beside the log. Raises StoreDownError."""

    async def put(self, feature: Feature, levels: Mapping[str, float | None], computed_ms: int) -> float | None:
        """Keeps levels, None: no evidence, unless a later computation's are there; returns the greatest of all then."""

    async def greatest(self, feature: Feature, cursor: int | None) -> Greatest:
        """The greatest level, and the first of the events from transaction ``cursor`` on; None: of none."""

    async def complete(self, feature: Feature) -> None:
        """From now on every entity with evidence has its level, apart from what is due."""

    async def listed(self, feature: Feature, after: str, before_ms: int, limit: int) -> list[str]:
        """The next ids, ascending, whose level was computed before an instant."""

    async def clean(self, features: Sequence[Feature], before_ms: int) -> None:
        """Removes the levels of other features, and what has had no evidence since before an instant."""
