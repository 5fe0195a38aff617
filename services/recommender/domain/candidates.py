"""Candidates: what sources found, merged by weighted reciprocal ranks."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from services.recommender.domain import kernels
from services.recommender.domain.kernels import falling
from services.recommender.domain.showing import Hidden

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]

# The constant of reciprocal rank fusion (Cormack et al. 2009 use 60 for lists of 1,000; our lists have
# tens of products, where 60 would make the 1st and the 50th nearly equal).
RANK_CONSTANT = 10

# Facts are read for this many, or three pages of them: measured, 100 of the learned sources lose nothing against
# 500, and others add theirs; reading them is the dearest part of a request.
CANDIDATES = 150


_NOWHERE: Places = np.zeros(0, dtype=np.int64)
_NOTHING: Floats = np.zeros(0)

# The source that finds what nobody has taken yet.
BY_TEXT = "semantic"


class Hit(NamedTuple):
    """A product that a source found; ``score`` orders the hits of that source only. A tuple: a page makes hundreds."""

    id: str
    score: float
    # The product it is a neighbour of, where the source looks around products.
    anchor: str | None = None


@dataclass(frozen=True, slots=True)
class Located:
    """What a source found in a model version: places there, each once, the best first, ties by place; their scores; and
    for each the product it is a neighbour of, or nothing at all."""

    places: Places
    scores: Floats
    anchors: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.places)


Found = Sequence[Hit] | Located


class Known(Protocol):
    """The products of a model version: by place, and their places."""

    @property
    def ids(self) -> Sequence[str]: ...

    @property
    def places(self) -> Mapping[str, int]: ...


class Trace(NamedTuple):
    """How one source found a candidate: rank from 1, and its part of the fused score."""

    source: str
    rank: int
    share: float
    anchor: str | None
    # The source's own, see Hit.
    score: float = 0.0


class Candidate(NamedTuple):
    """A product with everything that speaks for it, strongest source first. A tuple, as Trace is."""

    id: str
    fusion: float
    traces: tuple[Trace, ...]


@dataclass(frozen=True, slots=True)
class _Trail:
    """How candidates were found, an element per hit: whose it is (a number of the pool's, below ``size``), the source's
    number in ``sources``, its rank there, its part of the fused score and its own score."""

    sources: Sequence[str]
    size: int
    owners: Places
    source: Places
    ranks: Places
    shares: Floats
    scores: Floats
    anchors: Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Pool:
    """The merged candidates in columns, the best first; an object of each is made for those that are shown.

    ``places`` are those in the model version, -1 for what it does not know.
    """

    ids: Sequence[str]
    places: Places
    fusion: Floats
    _numbers: Places
    _trail: _Trail

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Places) -> Pool:
        """Those in ``rows``, in their order."""
        if len(rows) == len(self) and (rows[1:] > rows[:-1]).all():
            return self
        ids = [self.ids[row] for row in rows.tolist()]
        return Pool(ids, self.places[rows], self.fusion[rows], self._numbers[rows], self._trail)

    def candidates(self, rows: Sequence[int]) -> list[Candidate]:
        """Some of them with their traces."""
        trail, candidates = self._trail, list[Candidate]()
        parts = (trail.owners, trail.source, trail.ranks, trail.shares, trail.scores, trail.sources, trail.anchors)
        for row, found in zip(rows, kernels.traces(self._numbers[rows], *parts), strict=True):
            traces = tuple(sorted(map(Trace._make, found), key=_by_share))
            candidates.append(Candidate(self.ids[row], float(self.fusion[row]), traces))
        return candidates

    def scores_of(self, source: str) -> Floats:
        """Of each its score in that source, 0 where it was not found there."""
        trail = self._trail
        scores = np.zeros(len(self))
        if source in trail.sources:
            hits = (trail.source == trail.sources.index(source)).nonzero()[0]
            by_owner = np.zeros(trail.size)
            by_owner[trail.owners[hits]] = trail.scores[hits]
            scores = by_owner[self._numbers]
        return scores

    def around(self, anchor: str) -> npt.NDArray[np.bool_]:
        """Of each whether a source found it as a neighbour of that product."""
        trail = self._trail
        found = np.zeros(trail.size, dtype=np.bool_)
        found[trail.owners[[hit for hit, name in enumerate(trail.anchors) if name == anchor]]] = True
        flags: npt.NDArray[np.bool_] = found[self._numbers]
        return flags


def merge(
    found: Mapping[str, Found],
    weights: Mapping[str, float],
    excluded: Hidden | None = None,
    limit: int = CANDIDATES,
    known: Known | None = None,
) -> Pool:
    """One candidate per product, best fused score first, ties by id; at most ``limit``.

    The fused score is sum over sources of weight / (RANK_CONSTANT + rank), scaled so that being first everywhere
    gives 1. Excluded products leave before ranks are counted. A source's repeated hits count once. ``known`` is the
    version that places are of.
    """
    names = _Names(known)
    columns = [names.columns(hits) for hits in found.values()]
    codes = np.concatenate([_NOWHERE, *(places for places, _, _ in columns)])
    scores = np.concatenate([_NOTHING, *(scores for _, scores, _ in columns)])
    distinct, owners = kernels.distinct(codes)
    hidden = np.zeros(len(distinct), dtype=np.uint8)
    if excluded:
        hidden[:] = excluded.among(names.of(distinct))
    ceiling = sum(weights.get(name, 1.0) for name in found) / (RANK_CONSTANT + 1) or 1.0
    worth = np.array([weights.get(name, 1.0) / ceiling for name in found], dtype=np.float64)
    counts = np.array([len(places) for places, _, _ in columns], dtype=np.int64)
    source, ranks, shares, fused = kernels.fuse(owners, counts, worth, hidden, RANK_CONSTANT)
    # Those that tie with the last one as well: the ids are to decide.
    rows = kernels.leading(fused, hidden, limit)
    ids = names.of(distinct[rows])
    order = falling(fused[rows], ids)[:limit]
    rows = rows[order]
    places = distinct[rows]
    places[places >= names.size] = -1
    trail = _Trail(
        sources=tuple(found),
        size=len(distinct),
        owners=owners,
        source=source,
        ranks=ranks,
        shares=shares,
        scores=scores,
        anchors=list(chain.from_iterable(anchors for _, _, anchors in columns)),
    )
    return Pool([ids[at] for at in order], places, fused[rows], rows, trail)


class _Names:
    """Numbers for ids: the place in the version, for others what comes after its last one."""

    def __init__(self, known: Known | None) -> None:
        self._ids: tuple[str, ...] = () if known is None else tuple(known.ids)
        self._places: Mapping[str, int] = {} if known is None else known.places
        self.size = len(self._ids)
        self._others: dict[str, int] = {}

    def columns(self, hits: Found) -> tuple[Places, Floats, Sequence[str | None]]:
        """Numbers, scores and anchors of a source's distinct hits, the best first."""
        if isinstance(hits, Located):
            return hits.places, hits.scores, hits.anchors or [None] * len(hits)
        if not hits:
            return _NOWHERE, _NOTHING, ()
        ids, scores, anchors = zip(*hits, strict=True)
        falls = all(map(operator.gt, scores, scores[1:]))
        if not falls or len(set(ids)) < len(ids):
            distinct: dict[str, Hit] = {}
            for hit in sorted(hits, key=_by_score):
                distinct.setdefault(hit.id, hit)
            ids, scores, anchors = zip(*distinct.values(), strict=True)
        numbers = [self._places.get(id_, -1) for id_ in ids]
        if -1 in numbers:
            numbers = [self._number(id_) if at < 0 else at for id_, at in zip(ids, numbers, strict=True)]
        return np.array(numbers, dtype=np.int64), np.array(scores, dtype=np.float64), anchors

    def of(self, numbers: Places) -> list[str]:
        """Their ids."""
        return kernels.named(self._ids, tuple(self._others), numbers)

    def _number(self, id_: str) -> int:
        return self._others.setdefault(id_, self.size + len(self._others))


def _by_score(hit: Hit) -> tuple[float, str]:
    return (-hit.score, hit.id)


def _by_share(trace: Trace) -> tuple[float, str]:
    return (-trace.share, trace.source)
