"""What a recommender has to beat: simple models of the same past, each scoring every product for a shopper."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from scipy import sparse
from threadpoolctl import threadpool_limits

from services.recommender.domain.learned import Floats, Places
from services.recommender.training.evaluating.metrics import PAGE
from services.recommender.training.learning.log import DAY, PURCHASE, Log
from services.recommender.training.learning.neighbours import Matrix, interests

# Scores of every product for one shopper; what is not above 0 is not recommended.
Scorer = Callable[[int], Floats]

OWN = "own most frequent"

_POPULAR_DAYS = 28.0
_NEIGHBOURS = 200
_FACTORS = 64
_EASE_PRODUCTS = 8_000
_EASE_RIDGE = 200.0
_SEED = 20170101


def baselines(past: Log, instant: float) -> Mapping[str, Scorer]:
    """By name; ``past`` ends before ``instant``."""
    counts = _counts(past.of(PURCHASE) if (past.types == PURCHASE).any() else past)
    binary = counts.copy()
    binary.data = np.ones_like(binary.data)
    weighted = interests(past, instant)
    return {
        "popular": _popular(past, instant),
        OWN: _own(counts, past, instant),
        "item kNN": _item_knn(binary),
        "ALS": _als(weighted),
        "BPR": _bpr(binary),
        "EASE": _ease(binary),
    }


def top(scores: Floats, excluded: Places | None = None) -> Places:
    """The best PAGE products with a score above 0, ties by place."""
    if excluded is not None and len(excluded):
        scores = scores.copy()
        scores[excluded] = 0.0
    count = min(PAGE, len(scores))
    least = np.partition(scores, len(scores) - count)[len(scores) - count]
    places = np.flatnonzero(scores >= max(least, np.nextafter(0.0, 1.0)))
    best: Places = places[np.lexsort((places, -scores[places]))][:count]
    return best


def _counts(past: Log) -> Matrix:
    ones = np.ones(len(past), dtype=np.float32)
    shape = (past.user_count, len(past.product_ids))
    return sparse.coo_matrix((ones, (past.users, past.products)), shape=shape).tocsr()


def _recent(past: Log, instant: float) -> Floats:
    rows = past.since(instant - _POPULAR_DAYS * DAY)
    rows = rows.of(PURCHASE) if (past.types == PURCHASE).any() else rows
    return np.bincount(rows.products, minlength=len(past.product_ids)).astype(np.float64)


def _popular(past: Log, instant: float) -> Scorer:
    counts = _recent(past, instant)
    return lambda user: counts


def _own(counts: Matrix, past: Log, instant: float) -> Scorer:
    recent = _recent(past, instant)
    # Equally frequent ones by popularity.
    tie = recent / (recent.max(initial=0.0) + 1)

    def scores(user: int) -> Floats:
        own = np.asarray(counts[user].toarray(), dtype=np.float64).ravel()
        return np.where(own > 0, own + tie, 0.0)

    return scores


def _item_knn(binary: Matrix) -> Scorer:
    lengths = np.sqrt(np.asarray(binary.sum(axis=0), dtype=np.float64)).ravel() + 1e-9
    normed = (binary @ sparse.diags(1 / lengths)).tocsr()
    transposed = normed.T.tocsr()
    rows = []
    for start in range(0, binary.shape[1], 500):
        block = (transposed[start : start + 500] @ normed).tocsr()
        for row in range(block.shape[0]):
            found = slice(block.indptr[row], block.indptr[row + 1])
            places, values = block.indices[found], block.data[found].copy()
            values[places == start + row] = 0.0
            if len(places) > _NEIGHBOURS:
                best = np.argpartition(-values, _NEIGHBOURS)[:_NEIGHBOURS]
                places, values = places[best], values[best]
            rows.append((places, values))
    pointers = np.cumsum([0, *(len(places) for places, _ in rows)])
    shape = (binary.shape[1], binary.shape[1])
    near = sparse.csr_matrix(
        (np.concatenate([values for _, values in rows]), np.concatenate([places for places, _ in rows]), pointers),
        shape=shape,
    )

    def scores(user: int) -> Floats:
        return np.asarray((binary[user] @ near).toarray(), dtype=np.float64).ravel()

    return scores


def _factors(users: Floats, products: Floats) -> Scorer:
    # Inner products may all be negative: only their order counts.
    return lambda user: np.exp(np.clip(products @ users[user], -50, 50)).astype(np.float64)


def _als(matrix: Matrix) -> Scorer:
    # BLAS threads inside the solver's own threads only fight each other.
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=_FACTORS,
            regularization=0.5,
            alpha=0.5,
            iterations=15,
            random_state=_SEED,
            num_threads=1,
            use_gpu=False,
        )
        model.fit(matrix, show_progress=False)
    return _factors(np.asarray(model.user_factors), np.asarray(model.item_factors))


def _bpr(matrix: Matrix) -> Scorer:
    # At the library's own rate of 0.01 a small shop has too few purchases for it to learn anything.
    model = BayesianPersonalizedRanking(
        factors=_FACTORS - 1, learning_rate=0.05, iterations=100, random_state=_SEED, num_threads=1, use_gpu=False
    )
    model.fit(matrix, show_progress=False)
    return _factors(np.asarray(model.user_factors), np.asarray(model.item_factors))


def _ease(binary: Matrix) -> Scorer:
    """Steck 2019 on the most bought products, through the smaller of the two Gram matrices."""
    size = binary.shape[1]
    buyers = np.bincount(binary.indices, minlength=size)
    chosen = np.sort(np.lexsort((np.arange(size), -buyers))[:_EASE_PRODUCTS])
    part = binary[:, chosen].astype(np.float64)
    active = np.flatnonzero(np.diff(part.indptr))
    rows = part[active]
    if rows.shape[0] <= rows.shape[1]:
        inverse = np.linalg.inv((rows @ rows.T).toarray() + _EASE_RIDGE * np.eye(rows.shape[0]))
        half = np.asarray(rows.T @ inverse)
        precision = -np.asarray((rows.T @ half.T).T) / _EASE_RIDGE
        precision[np.diag_indices_from(precision)] += 1 / _EASE_RIDGE
    else:
        gram = (rows.T @ rows).toarray()
        gram[np.diag_indices_from(gram)] += _EASE_RIDGE
        precision = np.linalg.inv(gram)
    weights = (-precision / np.diag(precision)[None, :]).astype(np.float32)
    np.fill_diagonal(weights, 0.0)

    def scores(user: int) -> Floats:
        result = np.zeros(size)
        result[chosen] = np.asarray(part[user] @ weights).ravel()
        return np.maximum(result, 0.0)

    return scores
