"""Neighbours of products: what the same people take (by regression and by cosine), and what shares a basket."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from services.recommender.domain.learned import Floats, Neighbours, Singles
from services.recommender.training.learning.log import DAY, PURCHASE, WEIGHTS, Log

# Of each product. Measured on real data, 50 lose nothing against all.
NEAREST = 50

# The regression inverts a matrix of this many rows at most, of users or of products, whichever are fewer: seconds and
# a few hundred megabytes. Products are the most bought ones.
_REGRESSED_USERS = 4_000
_REGRESSED_PRODUCTS = 4_000
# With users for rows the inverse is theirs, and products cost only time.
_REGRESSED_PRODUCTS_OF_FEW = 10_000
# Chosen on the November of the Complete Journey data; see docs/ranking.md.
_RIDGE = 100.0

# Tastes outlive habits: chosen on the November of the Complete Journey data, like the rest here.
TASTE_DAYS = 60.0

# Cosines of pairs that few people share are accidents: this much is added to the product of the lengths.
_COSINE_DAMPING = 10.0
_BASKET_DAMPING = 5.0
_BASKET_DAYS = 182.0
# The newest; more of them change nothing.
_BASKETS = 300_000
# Products of one user or basket; a pair table grows with its square, and such lists are not one taste.
_LONGEST = 300

_BLOCK = 500

# A scipy.sparse.csr_matrix; scipy brings no types.
Matrix = Any


def interests(past: Log, instant: float) -> Matrix:
    """Users x products: log(1 + sum of weights halved every TASTE_DAYS)."""
    values = WEIGHTS[past.types] * np.exp2(-(instant - past.times) / DAY / TASTE_DAYS)
    shape = (past.user_count, len(past.product_ids))
    matrix = sparse.coo_matrix((values, (past.users, past.products)), shape=shape).tocsr()
    matrix.data = np.log1p(matrix.data).astype(np.float32)
    return matrix.astype(np.float32)


def taste(matrix: Matrix) -> Neighbours:
    """Weights of a regression of each product on all others (EASE, Steck 2019), the strongest of each product."""
    size = matrix.shape[1]
    users = int((np.diff(matrix.indptr) > 0).sum())
    few = users <= _REGRESSED_USERS
    buyers = np.bincount(matrix.indices, minlength=size)
    limit = _REGRESSED_PRODUCTS_OF_FEW if few else _REGRESSED_PRODUCTS
    chosen = np.sort(np.lexsort((np.arange(size), -buyers))[: min(limit, int((buyers > 1).sum()))])
    if not len(chosen):
        return _nobody(size)
    part = matrix[np.diff(matrix.indptr) > 0][:, chosen].astype(np.float64)
    rows = _by_users(part) if few else _by_products(part)
    places = np.full((size, NEAREST), -1, dtype=np.int32)
    weights = np.zeros((size, NEAREST), dtype=np.float32)
    places[chosen, : rows[0].shape[1]] = chosen[rows[0]]
    weights[chosen, : rows[0].shape[1]] = rows[1]
    return Neighbours(places, weights)


def _by_users(part: Matrix) -> tuple[np.ndarray, np.ndarray]:
    """Through the inverse of users x users: P = (I - X'(XX' + r)^-1 X) / r, by the Woodbury identity."""
    products = part.shape[1]
    inverse = np.linalg.inv((part @ part.T).toarray() + _RIDGE * np.eye(part.shape[0]))
    half = np.ascontiguousarray((part.T @ inverse).astype(np.float32))
    columns = part.tocsc().astype(np.float32)
    diagonal = (1.0 - np.asarray(columns.multiply(half.T).sum(axis=0)).ravel()) / _RIDGE
    found = []
    for start in range(0, products, _BLOCK):
        block = half[start : start + _BLOCK]
        # Weight of i in the score of j: -P_ij / P_jj.
        weights = np.asarray((columns.T @ block.T).T) / _RIDGE / diagonal[None, :]
        found.append(_strongest(weights, start))
    return np.concatenate([places for places, _ in found]), np.concatenate([weights for _, weights in found])


def _by_products(part: Matrix) -> tuple[np.ndarray, np.ndarray]:
    gram = (part.T @ part).toarray()
    gram[np.diag_indices_from(gram)] += _RIDGE
    inverse = np.linalg.inv(gram)
    return _strongest(-inverse / np.diag(inverse)[None, :], 0)


def _strongest(weights: np.ndarray, start: int) -> tuple[np.ndarray, np.ndarray]:
    rows = np.arange(len(weights))
    weights[rows, rows + start] = 0.0
    count = min(NEAREST, weights.shape[1])
    places = np.argpartition(-np.abs(weights), count - 1, axis=1)[:, :count]
    return places, np.take_along_axis(weights, places, axis=1)


def alike(matrix: Matrix) -> Neighbours:
    """Cosines of the products' columns."""
    return _cosines(_shortened(matrix), _COSINE_DAMPING)


def basket(past: Log, instant: float) -> Neighbours:
    """Cosines of products by the baskets of the last months."""
    sales = past.since(instant - _BASKET_DAYS * DAY).of(PURCHASE)
    events, rows = np.unique(sales.events, return_inverse=True)
    # Numbers of events say nothing of time: by the last line of each.
    newest = np.zeros(len(events))
    newest[rows] = sales.times
    kept = np.zeros(len(events), dtype=np.bool_)
    kept[np.lexsort((events, -newest))[:_BASKETS]] = True
    lines = kept[rows]
    shape = (max(1, len(events)), len(past.product_ids))
    ones = np.ones(int(lines.sum()), dtype=np.float32)
    baskets = sparse.coo_matrix((ones, (rows[lines], sales.products[lines])), shape=shape).tocsr()
    baskets.data[:] = 1.0
    return _cosines(_shortened(baskets), _BASKET_DAMPING)


def _shortened(matrix: Matrix) -> Matrix:
    """Only the _LONGEST strongest of each row."""
    lengths = np.diff(matrix.indptr)
    if not (lengths > _LONGEST).any():
        return matrix
    row = np.repeat(np.arange(matrix.shape[0]), lengths)
    order = np.lexsort((matrix.indices, -matrix.data, row))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - np.repeat(matrix.indptr[:-1], lengths)
    kept = place < _LONGEST
    coordinates = (row[kept], matrix.indices[kept])
    return sparse.coo_matrix((matrix.data[kept], coordinates), shape=matrix.shape).tocsr()


def _cosines(matrix: Matrix, damping: float) -> Neighbours:
    size = matrix.shape[1]
    lengths: Floats = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=0), dtype=np.float64)).ravel()
    transposed = matrix.T.tocsr()
    places = np.full((size, NEAREST), -1, dtype=np.int32)
    weights = np.zeros((size, NEAREST), dtype=np.float32)
    for start in range(0, size, _BLOCK):
        block = (transposed[start : start + _BLOCK] @ matrix).tocsr()
        for row in range(block.shape[0]):
            place = start + row
            found = slice(block.indptr[row], block.indptr[row + 1])
            others: Singles = block.data[found] / (lengths[place] * lengths[block.indices[found]] + damping)
            near = block.indices[found]
            others[near == place] = 0.0
            if len(near) > NEAREST:
                best = np.argpartition(-others, NEAREST)[:NEAREST]
                near, others = near[best], others[best]
            places[place, : len(near)] = near
            weights[place, : len(near)] = others
    return Neighbours(places, weights)


def _nobody(size: int) -> Neighbours:
    return Neighbours(np.full((size, NEAREST), -1, dtype=np.int32), np.zeros((size, NEAREST), dtype=np.float32))
