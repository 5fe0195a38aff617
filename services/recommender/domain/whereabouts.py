"""Where the products of a model version stand in the assortment, looked up once for all pages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from services.recommender.domain.assortment import Assortment, Places
from services.recommender.domain.learned import Learned


class Whereabouts:
    """Of one version in one assortment. Not thread-safe: the event loop's alone."""

    def __init__(self, learned: Learned, assortment: Assortment) -> None:
        self.learned = learned
        self.assortment = assortment
        # By place in the version, and as of which generation of the assortment: a place that was taken later is another
        # product's. -1: not looked up yet, or not there; always of the row of the unknown.
        self._places = np.full(len(learned) + 1, -1, dtype=np.int32)
        self._as_of: npt.NDArray[np.int64] = np.zeros(len(learned) + 1, dtype=np.int64)

    def find(self, ids: Sequence[str], known: Places) -> Places:
        """As :meth:`Assortment.find`, but for products that left it; ``known`` are their places in the version."""
        places = self._places[known].astype(np.int64)
        taken_since = self.assortment.taken[places] > self._as_of[known]
        missing = (taken_since | (places < 0)).nonzero()[0]
        if len(missing):
            places[missing] = self.assortment.find([ids[row] for row in missing.tolist()])
            self._places[known[missing]] = places[missing]
            self._as_of[known[missing]] = self.assortment.generation
            self._places[-1] = -1
        return places
