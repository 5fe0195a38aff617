"""Candidates for tests of what comes after the sources."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from services.recommender.domain.candidates import Found, Hit, Located, Pool, merge
from services.recommender.domain.learned import Learned

# Product, fused score, and the product that it was found around.
Row = tuple[str, float, str | None]


def pool(*rows: Row) -> Pool:
    """Candidates in the order of ``rows``: around something by semantic, else by popular."""
    found = {
        "semantic": [Hit(id_, fusion, anchor) for id_, fusion, anchor in rows if anchor],
        "popular": [Hit(id_, fusion) for id_, fusion, anchor in rows if not anchor],
    }
    merged = merge({source: hits for source, hits in found.items() if hits}, {}, limit=max(1, len(rows)))
    order = np.array([list(merged.ids).index(id_) for id_, _, _ in rows], dtype=np.int64)
    return dataclasses.replace(merged.take(order), fusion=np.array([fusion for _, fusion, _ in rows]))


def hits(found: Found, learned: Learned | None = None) -> list[Hit]:
    """What a source found, as hits."""
    if not isinstance(found, Located):
        return list(found)
    assert learned is not None
    anchors: Sequence[str | None] = found.anchors or [None] * len(found)
    rows = zip(found.places.tolist(), found.scores.tolist(), anchors, strict=True)
    return [Hit(learned.ids[place], score, anchor) for place, score, anchor in rows]
