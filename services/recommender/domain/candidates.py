"""Candidates: what sources found, merged by weighted reciprocal ranks."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

# The constant of reciprocal rank fusion (Cormack et al. 2009 use 60 for lists of 1,000; our lists have
# tens of products, where 60 would make the 1st and the 50th nearly equal).
RANK_CONSTANT = 10

# Facts are read for this many, or three pages of them: measured, 100 of the learned sources lose nothing against
# 500, and others add theirs; reading them is the dearest part of a request.
CANDIDATES = 150


class Hit(NamedTuple):
    """A product that a source found; ``score`` orders the hits of that source only. A tuple: a page makes hundreds."""

    id: str
    score: float
    # The product it is a neighbour of, where the source looks around products.
    anchor: str | None = None


class Trace(NamedTuple):
    """How one source found a candidate: rank from 1, and its part of the fused score."""

    source: str
    rank: int
    share: float
    anchor: str | None
    # The source's own, see Hit.
    score: float = 0.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """A product with everything that speaks for it, strongest source first."""

    id: str
    fusion: float
    traces: tuple[Trace, ...]

    def came_from(self, anchor: str) -> bool:
        """Whether a source found it as a neighbour of that product."""
        return any(trace.anchor == anchor for trace in self.traces)


def merge(
    found: Mapping[str, Sequence[Hit]],
    weights: Mapping[str, float],
    excluded: Container[str] = (),
    limit: int = CANDIDATES,
) -> list[Candidate]:
    """One candidate per product, best fused score first, ties by id; at most ``limit``.

    The fused score is sum over sources of weight / (RANK_CONSTANT + rank), scaled so that being first everywhere
    gives 1. Excluded products leave before ranks are counted. A source's repeated hits count once.
    """
    ceiling = sum(weights.get(source, 1.0) for source in found) / (RANK_CONSTANT + 1) or 1.0
    fused: dict[str, float] = {}
    ranked: list[tuple[str, float, list[Hit]]] = []
    for source, hits in found.items():
        worth = weights.get(source, 1.0) / ceiling
        distinct = _distinct(hits, excluded)
        ranked.append((source, worth, distinct))
        for rank, hit in enumerate(distinct, start=1):
            fused[hit.id] = fused.get(hit.id, 0.0) + worth / (RANK_CONSTANT + rank)
    chosen = sorted(fused.items(), key=lambda item: (-item[1], item[0]))[:limit]
    # How each was found: of those that go on only.
    traces: dict[str, list[Trace]] = {product_id: [] for product_id, _ in chosen}
    for source, worth, distinct in ranked:
        for rank, hit in enumerate(distinct, start=1):
            own = traces.get(hit.id)
            if own is not None:
                own.append(Trace(source, rank, worth / (RANK_CONSTANT + rank), hit.anchor, hit.score))
    return [
        Candidate(product_id, fusion, tuple(sorted(traces[product_id], key=lambda trace: (-trace.share, trace.source))))
        for product_id, fusion in chosen
    ]


def _distinct(hits: Sequence[Hit], excluded: Container[str]) -> list[Hit]:
    seen: set[str] = set()
    distinct: list[Hit] = []
    for hit in sorted(hits, key=_by_score):
        if hit.id not in seen and hit.id not in excluded:
            seen.add(hit.id)
            distinct.append(hit)
    return distinct


def _by_score(hit: Hit) -> tuple[float, str]:
    return (-hit.score, hit.id)
