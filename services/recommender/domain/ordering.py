"""Products in the order of scores: the best of some, and orders that a version works out once for every shopper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.recommender.domain import kernels

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

# Which products may be candidates: an element per product.
Allowed = npt.NDArray[np.bool_]


def best(places: Places, scores: Floats, limit: int, allowed: Allowed | None = None) -> tuple[Places, Floats]:
    """Of distinct places and their scores the ``limit`` largest that are above 0 and ``allowed`` (None: all), the
    largest first, ties by place."""
    return kernels.best(places, scores, limit, allowed)


@dataclass(frozen=True, slots=True)
class Order:
    """Products with a score above 0, the largest first, ties by place."""

    places: Places
    scores: Floats

    @classmethod
    def of(cls, scores: Floats) -> Order:
        """``scores`` by place."""
        places = np.flatnonzero(scores > 0)
        places = places[np.lexsort((places, -scores[places]))]
        return cls(places, scores[places])

    def best(self, limit: int, allowed: Allowed | None = None) -> tuple[Places, Floats]:
        """The first ``limit`` that are ``allowed``."""
        if allowed is None:
            return self.places[:limit], self.scores[:limit]
        end = 2 * limit
        while True:
            kept = allowed[self.places[:end]].nonzero()[0][:limit]
            if len(kept) == limit or end >= len(self.places):
                return self.places[kept], self.scores[kept]
            end *= 4


@dataclass(frozen=True, slots=True)
class Shelves:
    """Products with a score above 0 by their code in a grouping, the largest of each code first; those of code c are
    from ``starts[c]`` to ``starts[c + 1]``."""

    places: Places
    scores: Floats
    starts: Places

    @classmethod
    def of(cls, codes: npt.NDArray[np.int32], scores: Floats, size: int) -> Shelves:
        """``codes`` (below ``size``) and ``scores`` by place."""
        places = np.flatnonzero(scores > 0)
        places = places[np.lexsort((places, -scores[places], codes[places]))]
        return cls(places, scores[places], np.searchsorted(codes[places], np.arange(size + 1)).astype(np.int64))

    @property
    def size(self) -> int:
        """How many codes there are."""
        return len(self.starts) - 1

    def best(self, shares: Floats, limit: int, allowed: Allowed | None = None) -> tuple[Places, Floats]:
        """The largest of score x the share of its code, as :func:`best`; ``shares`` has an element per code, of which
        few are above 0."""
        return kernels.best_of_shelves(self.places, self.scores, self.starts, shares, limit, allowed)
