"""Scores of a few products among many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from services.recommender.domain import kernels

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Slots = npt.NDArray[np.int32]


class Neighbours(Protocol):
    """Of each product the places and weights of some others."""

    @property
    def places(self) -> npt.NDArray[np.int32]: ...

    @property
    def weights(self) -> npt.NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class Scores:
    """Distinct places with a score each; all others have 0.

    ``slots`` is a table in which a place is found at once: neither adding up nor looking up takes a step or a byte for
    products without a score.
    """

    places: Places
    values: Floats
    slots: Slots

    @classmethod
    def add_up(cls, places: Places, values: Floats) -> Scores:
        """The values of each place added up, in their order."""
        return cls(*kernels.add_up(places, values))

    @classmethod
    def spread(cls, neighbours: Neighbours, places: Places, weights: Floats) -> Scores:
        """The weighted sum over the neighbours of ``places``. Unused ones are -1 with weight 0: they add nothing to the
        unknown."""
        return cls(*kernels.spread(neighbours.places, neighbours.weights, places, weights))

    def of(self, places: Places) -> Floats:
        """The score of each of ``places``."""
        return kernels.look_up(self.places, self.values, self.slots, places)

    @property
    def strongest(self) -> float:
        """The largest score of all products, 0 at least."""
        return float(self.values.max(initial=0.0))
