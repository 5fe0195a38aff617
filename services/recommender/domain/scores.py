"""Scores of a few products among many."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Scores:
    """Distinct places with a score each; all others have 0.

    A sparse set (Briggs and Torczon 1993): ``rows`` has an element for every product, of which only those at ``places``
    were ever written: it says where a product stands in ``places``, and what stands there says whether that is true.
    So neither adding up nor looking up takes a step for products without a score, not even to set them to zero.
    """

    places: Places
    values: Floats
    rows: Places

    @classmethod
    def add_up(cls, places: Places, values: Floats, size: int) -> Scores:
        """The values of each place added up, in their order; places are from -1 to ``size`` - 2."""
        numbers = np.arange(len(places))
        rows = np.empty(size, dtype=np.int64)
        rows[places] = numbers  # of a place that comes twice the last one counts
        owners = rows[places]
        first = (owners == numbers).nonzero()[0]
        distinct = places[first]
        rows[distinct] = numbers[: len(distinct)]
        sums = np.bincount(owners, values, len(places))
        return cls(distinct, sums[first].astype(np.float64, copy=False), rows)

    def of(self, places: Places) -> Floats:
        """The score of each of ``places``."""
        if not len(self.places):
            return np.zeros(len(places))
        rows = self.rows[places]
        # What was never written may be any number; whatever it leads to is another product.
        found: Floats = self.values.take(rows, mode="clip") * (self.places.take(rows, mode="clip") == places)
        return found

    @property
    def strongest(self) -> float:
        """The largest score of all products, 0 at least."""
        return float(self.values.max(initial=0.0))
