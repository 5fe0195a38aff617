"""A version's knowledge as of an instant, from the past alone."""

from __future__ import annotations

import os

import numpy as np
from implicit.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

from services.recommender.domain.folding import FoldIn
from services.recommender.domain.learned import NEIGHBOURS, Learned, Singles, build
from services.recommender.training.learning import neighbours
from services.recommender.training.learning.columns import product_columns
from services.recommender.training.learning.habits import habits
from services.recommender.training.learning.log import Catalogue, Log

FACTORS = 64
# Chosen by full-ranking nDCG on the November of the Complete Journey data; see docs/ranking.md. The usual advice for
# alpha (10 to 40) is meant for raw counts of one kind: here it halves the quality.
REGULARIZATION = 0.5
ALPHA = 0.5
ITERATIONS = 15
# The same log gives the same model.
SEED = 20170101


def learn(log: Log, instant: float, catalogue: Catalogue) -> Learned:
    """Vectors, neighbours and numbers of the log's products, from what happened before ``instant``."""
    past = log.before(instant)
    matrix = neighbours.interests(past, instant)
    vectors = factorise(matrix)
    tables = {
        "taste": neighbours.taste(matrix),
        "alike": neighbours.alike(matrix),
        "basket": neighbours.basket(past, instant),
    }
    gram = vectors.astype(np.float64).T @ vectors.astype(np.float64)
    return build(
        ids=log.product_ids,
        vectors=vectors,
        fold=FoldIn(gram, REGULARIZATION, ALPHA),
        neighbours={name: tables[name] for name in NEIGHBOURS},
        columns=product_columns(past, instant, catalogue),
        groups=catalogue.groups,
        habits=habits(past, catalogue.groups["kind"]),
    )


def factorise(matrix: neighbours.Matrix) -> Singles:
    """Product vectors of the implicit-feedback model of Hu, Koren and Volinsky (2008), by alternating least squares.

    The inner product with a user's vector estimates the preference between 0 and about 1. Products and users without
    an interaction are left out of it: a row of zeros each, so that more of them change nothing for the others.
    """
    result = np.zeros((matrix.shape[1], FACTORS), dtype=np.float32)
    users = np.flatnonzero(np.diff(matrix.indptr))
    products = np.flatnonzero(np.bincount(matrix.indices, minlength=matrix.shape[1]))
    if not len(users):
        return result
    # BLAS threads inside the solver's own threads only fight each other.
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=FACTORS,
            regularization=REGULARIZATION,
            alpha=ALPHA,
            iterations=ITERATIONS,
            random_state=SEED,
            num_threads=max(1, (os.cpu_count() or 2) // 2),
            use_gpu=False,
        )
        model.fit(matrix[users][:, products].tocsr(), show_progress=False)
    result[products] = np.asarray(model.item_factors)
    return result
