"""The products with the largest inner products with a vector, found exactly without looking at all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.recommender.domain import kernels
from services.recommender.domain.ordering import Allowed

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Places = npt.NDArray[np.int64]

# Looked at first: one product with a matrix of this many rows costs little more than one with a few. What training
# makes of a product that few took is short, so that this is often all: measured, the 60 best of 100,000 products need
# 500 to 10,000 of them.
_FIRST = 1_024

# An inner product of 32-bit numbers may come out this much larger than the lengths allow.
_ROUNDING = 1e-5


@dataclass(frozen=True, slots=True)
class Nearest:
    """Vectors by falling length: no inner product is larger than both lengths multiplied (Cauchy and Schwarz), so the
    search ends where what follows is too short for the best that are found already."""

    places: Places
    vectors: Singles
    lengths: Floats

    @classmethod
    def of(cls, vectors: Singles) -> Nearest:
        """``vectors``: products x factors, by place."""
        lengths = np.linalg.norm(vectors.astype(np.float64), axis=1)
        order = np.argsort(-lengths, kind="stable")
        return cls(order, vectors[order], lengths[order])

    def longest(self, vector: Singles) -> Singles:
        """Inner products with the longest ones, with which both of the others begin."""
        inner: Singles = self.vectors[: min(_FIRST, self._reach(0.0))] @ vector
        return inner

    def search(
        self, vector: Singles, limit: int, allowed: Allowed | None = None, longest: Singles | None = None
    ) -> tuple[Places, Floats]:
        """Places and inner products of the ``limit`` largest that are above 0 and ``allowed``, the largest first, ties
        by place. ``longest``: what is known of the vector."""
        length = math.sqrt(float(vector @ vector)) * (1 + _ROUNDING)
        places, scores = np.zeros(0, dtype=np.int64), np.zeros(0)
        start, size, least = 0, max(_FIRST, 4 * limit), 0.0
        while start < (end := min(start + size, self._reach(least / length) if length else 0)):
            if start or longest is None or len(longest) != end:
                longest = self.vectors[start:end] @ vector
            places, scores = kernels.better(places, scores, self.places[start:end], longest, limit, allowed)
            if len(scores) == limit:
                least = float(scores[-1])
            start, size = end, 2 * size
        return places, scores

    def largest(self, vector: Singles, longest: Singles | None = None) -> float:
        """The largest inner product, 0 at least."""
        length = math.sqrt(float(vector @ vector)) * (1 + _ROUNDING)
        start, size, largest = 0, _FIRST, 0.0
        while start < (end := min(start + size, self._reach(largest / length) if length else 0)):
            found = self.vectors[start:end] @ vector if start or longest is None else longest
            largest = max(largest, float(found.max()))
            start, size = end, 2 * size
        return largest

    def _reach(self, length: float) -> int:
        """How many vectors are that long, and longer than 0."""
        return kernels.longer(self.lengths, length)
