"""A small model version from arrays, for tests that need no training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from services.recommender.domain import learned
from services.recommender.domain.everyone import GROUPS
from services.recommender.domain.folding import FoldIn
from services.recommender.domain.learned import COLUMNS, NEIGHBOURS, Learned, Neighbours
from services.recommender.domain.ranker import Logistic
from services.recommender.domain.ranker_features import FEATURES

Near = Mapping[str, Mapping[str, float]]


def small(
    ids: Sequence[str],
    vectors: npt.NDArray[np.float32] | None = None,
    neighbours: Mapping[str, Near] | None = None,
    wanted: Sequence[float] = (),
) -> Learned:
    """``neighbours``: by kind and product, its neighbours' weights; ``wanted``: how much each was wanted in 28 days."""
    count = len(ids)
    if vectors is None:
        vectors = np.eye(count, 4, dtype=np.float32)
    places = {id_: place for place, id_ in enumerate(ids)}
    tables = {}
    for kind in NEIGHBOURS:
        near = (neighbours or {}).get(kind, {})
        width = max([1, *(len(row) for row in near.values())])
        at, weights = np.full((count, width), -1, dtype=np.int32), np.zeros((count, width), dtype=np.float32)
        for id_, row in near.items():
            for column, (other, weight) in enumerate(row.items()):
                at[places[id_], column], weights[places[id_], column] = places[other], weight
        tables[kind] = Neighbours(at, weights)
    columns = {name: np.zeros(count) for name in COLUMNS}
    if wanted:
        columns["wanted_28d"] = np.array(wanted)
    exact = vectors.astype(np.float64)
    fold = FoldIn(exact.T @ exact, 0.5, 0.5)
    return learned.build(
        ids, vectors, fold, tables, columns, {name: np.zeros(count, dtype=np.int32) for name in GROUPS}
    )


def ranker(features: Sequence[str] = FEATURES, /, **weights: float) -> Logistic:
    """Linear in the named features."""
    size = len(features)
    chosen = np.array([weights.get(name, 0.0) for name in features])
    return Logistic(tuple(features), np.zeros(size), np.ones(size), chosen, -1.5)
