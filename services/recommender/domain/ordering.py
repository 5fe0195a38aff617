"""Products in the order of scores: the best of some, and orders that a version works out once for every shopper."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

# Which products may be candidates: an element per product.
Allowed = npt.NDArray[np.bool_]


def best(places: Places, scores: Floats, limit: int, allowed: Allowed | None = None) -> tuple[Places, Floats]:
    """Of distinct places and their scores the ``limit`` largest that are above 0 and ``allowed`` (None: all), the
    largest first, ties by place."""
    wanted = scores > 0
    if allowed is not None:
        wanted &= allowed[places]
    kept = wanted.nonzero()[0]
    places, scores = places[kept], scores[kept]
    if len(scores) > limit:
        # Those that tie with the last one as well: which of them partition would keep is an accident.
        kept = (scores >= np.partition(scores, len(scores) - limit)[len(scores) - limit]).nonzero()[0]
        places, scores = places[kept], scores[kept]
    order = np.lexsort((places, -scores))[:limit]
    return places[order], scores[order]


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
        codes = np.flatnonzero(shares > 0)
        begin, end, shares = self.starts[codes], self.starts[codes + 1], shares[codes]
        depth = limit
        while True:
            until = np.minimum(end, begin + depth)
            counts = until - begin
            at = np.repeat(until - np.cumsum(counts), counts) + np.arange(int(counts.sum()))
            places, scores = best(self.places[at], np.repeat(shares, counts) * self.scores[at], limit, allowed)
            more = np.flatnonzero(until < end)
            # What stands below on a shelf is no larger than what stands last.
            least = float(scores[-1]) if len(scores) == limit else 0.0
            if not (shares[more] * self.scores[until[more]] >= max(least, _TINIEST)).any():
                return places, scores
            depth *= 4


_TINIEST = float(np.nextafter(0.0, 1.0))
