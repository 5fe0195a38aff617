"""What a recommender has to beat: simple models of the same past, each scoring every product for some shoppers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from implicit.als import AlternatingLeastSquares
from implicit.bpr import BayesianPersonalizedRanking
from scipy import sparse
from threadpoolctl import threadpool_limits

from services.recommender.domain.learned import Floats, Places
from services.recommender.training.evaluating.metrics import PAGE
from services.recommender.training.learning.log import DAY, PURCHASE, Log
from services.recommender.training.learning.neighbours import Matrix, interests

# Scores of every product for each of some shoppers, shoppers x products; what is not above 0 is not recommended.
Scorer = Callable[[Sequence[int]], Floats]
Fit = Callable[[], Scorer]

OWN = "own most frequent"

_POPULAR_DAYS = 28.0
_NEIGHBOURS = 200
_FACTORS = 64
_EASE_PRODUCTS = 8_000
_EASE_RIDGE = 200.0
_BPR_STEPS = 3_500
_SEED = 20170101

# Scores of so many fit into memory however many products there are.
_SHOPPERS_AT_ONCE = 100


def baselines(past: Log, instant: float) -> Mapping[str, Fit]:
    """By name; each learns when it is called. ``past`` ends before ``instant``."""
    counts = _counts(past.of(PURCHASE) if (past.types == PURCHASE).any() else past)
    binary = counts.copy()
    binary.data = np.ones_like(binary.data)
    return {
        "popular": lambda: _popular(past, instant),
        OWN: lambda: _own(counts, past, instant),
        "item kNN": lambda: _item_knn(binary),
        "ALS": lambda: _als(interests(past, instant)),
        "BPR": lambda: _bpr(binary),
        "EASE": lambda: _ease(binary),
    }


def lists(scorer: Scorer, shoppers: Sequence[int], excluded: Mapping[int, Places]) -> dict[int, Places]:
    """The best products for each shopper but those excluded for them."""
    found: dict[int, Places] = {}
    for start in range(0, len(shoppers), _SHOPPERS_AT_ONCE):
        some = shoppers[start : start + _SHOPPERS_AT_ONCE]
        found |= {user: top(row, excluded.get(user)) for user, row in zip(some, scorer(some), strict=True)}
    return found


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
    return lambda users: np.broadcast_to(counts, (len(users), len(counts)))


def _own(counts: Matrix, past: Log, instant: float) -> Scorer:
    recent = _recent(past, instant)
    # Equally frequent ones by popularity.
    tie = recent / (recent.max(initial=0.0) + 1)

    def scores(users: Sequence[int]) -> Floats:
        own = counts[users].toarray().astype(np.float64)
        return np.where(own > 0, own + tie, 0.0)

    return scores


def _item_knn(binary: Matrix) -> Scorer:
    lengths = np.sqrt(np.asarray(binary.sum(axis=0), dtype=np.float64)).ravel() + 1e-9
    normed = (binary @ sparse.diags(1 / lengths)).tocsr()
    transposed = normed.T.tocsr()
    size = binary.shape[1]
    blocks = [_nearest(transposed[start : start + 500] @ normed) for start in range(0, size, 500)]
    near = sparse.vstack(blocks).tocsr()
    return lambda users: (binary[users] @ near).toarray().astype(np.float64)


def _nearest(cosines: Matrix) -> Matrix:
    """Of each row the largest _NEIGHBOURS values: the product itself is among them, so that what was bought counts."""
    cosines = cosines.tocsr()
    rows = []
    for row in range(cosines.shape[0]):
        found = slice(cosines.indptr[row], cosines.indptr[row + 1])
        places, values = cosines.indices[found], cosines.data[found]
        if len(places) > _NEIGHBOURS:
            best = np.argpartition(-values, _NEIGHBOURS)[:_NEIGHBOURS]
            places, values = places[best], values[best]
        rows.append((places, values))
    pointers = np.cumsum([0, *(len(places) for places, _ in rows)])
    values, places = (np.concatenate([row[part] for row in rows]) for part in (1, 0))
    return sparse.csr_matrix((values, places, pointers), shape=cosines.shape)


def _factors(users: Floats, products: Floats) -> Scorer:
    # Inner products may all be negative: only their order counts.
    return lambda chosen: np.exp(np.clip(users[chosen] @ products.T, -50, 50)).astype(np.float64)


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
    # So many rounds that each shopper has some thousand steps: in the library's 100 rounds it learns a log of many
    # purchases by heart (November of the Complete Journey: .060 for .167), and one of few not at all. One thread:
    # more give another model each time.
    pairs_each = matrix.nnz / max(1, np.count_nonzero(np.diff(matrix.indptr)))
    model = BayesianPersonalizedRanking(
        factors=_FACTORS - 1,
        learning_rate=0.02,
        iterations=int(np.clip(_BPR_STEPS / max(pairs_each, 1.0), 5, 500)),
        random_state=_SEED,
        num_threads=1,
        use_gpu=False,
    )
    model.fit(matrix, show_progress=False)
    return _factors(np.asarray(model.user_factors), np.asarray(model.item_factors))


def _ease(binary: Matrix) -> Scorer:
    """Steck 2019 on the most bought products, through the smaller of the two Gram matrices.

    With P the inverse of the products' Gram matrix X'X + r, the scores are X - XP / diag(P). By users it is the same:
    XP = AX with A the inverse of XX' + r, and diag(P) = (1 - diag(X'AX)) / r.
    """
    size = binary.shape[1]
    buyers = np.bincount(binary.indices, minlength=size)
    chosen = np.sort(np.lexsort((np.arange(size), -buyers))[:_EASE_PRODUCTS])
    part = binary[:, chosen].astype(np.float32)
    active = np.flatnonzero(np.diff(part.indptr))
    rows = part[active]
    by_users = rows.shape[0] <= rows.shape[1]
    gram = (rows @ rows.T if by_users else rows.T @ rows).toarray().astype(np.float64)
    gram[np.diag_indices_from(gram)] += _EASE_RIDGE
    inverse = np.linalg.inv(gram).astype(np.float32)
    if by_users:
        projected = np.zeros((binary.shape[0], len(chosen)), dtype=np.float32)
        projected[active] = (rows.T @ inverse).T
        own = rows.multiply(projected[active]).sum(axis=0)
        diagonal = (1.0 - np.asarray(own).ravel()) / _EASE_RIDGE
    else:
        diagonal = np.diag(inverse)

    def scores(users: Sequence[int]) -> Floats:
        through = projected[users] if by_users else part[users] @ inverse
        result = np.zeros((len(users), size))
        result[:, chosen] = np.maximum(part[users].toarray() - through / diagonal, 0.0)
        return result

    return scores
