"""What remembering neighbours by text needs of the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from services.recommender.domain.neighbourhoods import Nearest


class StoredNearest(NamedTuple):
    """Neighbours by text of one product, as they were when all changes until ``change_seq`` were known."""

    id: str
    change_seq: int
    nearest: Nearest
    # Of its text.
    vector: npt.NDArray[np.float16]


class Findable(NamedTuple):
    """A product that searches by text could not find before the change ``found_seq``, with the vector of its text, None
    where that is not embedded yet."""

    id: str
    found_seq: int
    vector: npt.NDArray[np.float16] | None


class AvailableNearest(NamedTuple):
    """Available neighbours of one product, with their cosines, the nearest first."""

    id: str
    # Whether there are no others.
    whole: bool
    ids: Sequence[str]
    cosines: Sequence[float]


class NearestStore(Protocol):
    """Neighbours by text that were found once. Every method raises UNAVAILABLE when the store is away."""

    async def nearest(self, ids: Sequence[str]) -> list[StoredNearest]:
        """Those stored of these products, in no order."""
        ...

    async def available(self, ids: Sequence[str], limit: int) -> list[AvailableNearest]:
        """Up to ``limit`` of each of these products that is stored, outside of them, together with what can be found
        since; products of which that is too much are left out."""
        ...

    async def keep(self, found: Sequence[tuple[str, Nearest]], change_seq: int) -> None:
        """Stores those of each product, which know all changes until ``change_seq``; newer ones stay."""
        ...

    async def found_lately(self, limit: int) -> list[Findable]:
        """The last ``limit`` products, ascending by ``found_seq``."""
        ...

    async def forget_deleted(self) -> None:
        """Drops those of products that left the catalogue."""
        ...
