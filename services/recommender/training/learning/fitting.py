"""Fits rankers by log-loss: a logistic regression, and trees boosted by LightGBM."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import lightgbm
import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from services.recommender.domain.learned import Floats
from services.recommender.domain.ranker import Forest, Logistic
from services.recommender.training.learning.rows import Rows

# Chosen on the November of the Complete Journey data; see docs/ranking.md.
_RIDGE = 10.0
_ITERATIONS = 80
_TREES = 200
_TREE_SETTINGS = {
    "objective": "binary",
    "num_leaves": 15,
    # Bounds the walk that serving takes, one step a level.
    "max_depth": 6,
    "learning_rate": 0.05,
    "feature_fraction": 0.4,
    "lambda_l2": 50.0,
    "max_bin": 63,
    "deterministic": True,
    "force_row_wise": True,
    "seed": 1,
    "verbose": -1,
}
# Of a leaf: many, because the rows of one shopper are not independent; fewer where there are few rows.
_LEAF_ROWS = 800
_LEAF_SHARE = 0.01
_CLIP = 8.0


def fit_logistic(rows: Rows, features: Sequence[str]) -> Logistic:
    """Of standardised columns, by L-BFGS."""
    mean = rows.matrix.mean(axis=0, dtype=np.float64)
    scale = rows.matrix.std(axis=0, dtype=np.float64)
    scale[scale < 1e-6] = 1.0  # a column without variation stays 0
    values = np.clip((rows.matrix - mean) / scale, -_CLIP, _CLIP).astype(np.float32)
    signs = np.where(rows.labels, 1.0, -1.0).astype(np.float32)

    def loss(parameters: Floats) -> tuple[float, Floats]:
        weights, intercept = parameters[:-1], parameters[-1]
        margins = (values @ weights.astype(np.float32) + np.float32(intercept)) * signs
        slopes = -signs / (1.0 + np.exp(np.clip(margins, -50, 50)))
        total = np.logaddexp(0, -margins).sum(dtype=np.float64) + 0.5 * _RIDGE * float(weights @ weights)
        gradient = np.append((slopes @ values).astype(np.float64) + _RIDGE * weights, slopes.sum(dtype=np.float64))
        return float(total), gradient

    share = float(np.clip(rows.labels.mean(), 1e-6, 1 - 1e-6))
    begin = np.append(np.zeros(values.shape[1]), math.log(share / (1 - share)))
    # More threads wait for each other at every step, on a busy machine for most of the time.
    with threadpool_limits(1, "blas"):
        found = minimize(loss, begin, jac=True, method="L-BFGS-B", options={"maxiter": _ITERATIONS, "maxcor": 20})
    intercept = float(found.x[-1]) + math.log(rows.kept)
    return Logistic(tuple(features), mean, scale, np.asarray(found.x[:-1], dtype=np.float64), intercept)


def fit_forest(rows: Rows, features: Sequence[str]) -> Forest:
    """Boosted trees, in arrays that need no LightGBM to be evaluated."""
    leaf_rows = int(max(5, min(_LEAF_ROWS, _LEAF_SHARE * len(rows.labels))))
    settings = {**_TREE_SETTINGS, "min_data_in_leaf": leaf_rows, "num_threads": max(1, (os.cpu_count() or 2) // 2)}
    booster = lightgbm.train(settings, lightgbm.Dataset(rows.matrix, rows.labels), num_boost_round=_TREES)
    return to_forest(booster.dump_model()["tree_info"], features, math.log(rows.kept))


def to_forest(trees: Sequence[dict[str, Any]], features: Sequence[str], offset: float) -> Forest:
    """From LightGBM's dump; ``offset`` is added to every score."""
    nodes: list[list[float]] = []
    depth = 0

    def put(node: dict[str, Any], place: int, level: int, extra: float) -> tuple[float, float]:
        """Writes a node to its place and what is below it behind; returns its mean and weight."""
        nonlocal depth
        depth = max(depth, level)
        if "leaf_value" in node:
            value = float(node["leaf_value"]) + extra
            nodes[place] = [0, math.inf, place, value]
            return value, float(node.get("leaf_count", 1))
        if node["decision_type"] != "<=":
            message = f"no split by {node['decision_type']}"
            raise ValueError(message)
        left = len(nodes)
        nodes.extend(([], []))
        left_mean, left_weight = put(node["left_child"], left, level + 1, extra)
        right_mean, right_weight = put(node["right_child"], left + 1, level + 1, extra)
        weight = left_weight + right_weight
        mean = (left_mean * left_weight + right_mean * right_weight) / max(weight, 1.0)
        nodes[place] = [int(node["split_feature"]), float(node["threshold"]), left, mean]
        return mean, weight

    roots = []
    for number, tree in enumerate(trees):
        roots.append(len(nodes))
        nodes.append([])
        put(tree["tree_structure"], roots[-1], 0, offset if number == 0 else 0.0)
    feature, threshold, left, value = (np.array(column) for column in zip(*nodes, strict=True))
    return Forest(
        features=tuple(features),
        roots=np.array(roots, dtype=np.intp),
        feature=feature.astype(np.intp),
        threshold=threshold.astype(np.float64),
        left=left.astype(np.intp),
        value=value.astype(np.float64),
        depth=depth,
    )
