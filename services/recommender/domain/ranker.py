"""Trained rankers behind one port: from a matrix of features to log-odds, and to what each feature added to them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from services.recommender.domain.leafmasks import LeafMasks, leaf_masks
from services.recommender.domain.learned import Floats, Singles, sums

# Standardised values beyond are accidents of rare products; unlimited, one of them decides a page.
_CLIP = 8.0

Indices = npt.NDArray[np.intp]

# Rows x trees that are walked at once: fits the cache.
_BLOCK = 60_000


class Ranker(Protocol):
    """Scores rows of :func:`ranker_features.assemble`; a higher score is more wanted."""

    @property
    def features(self) -> Sequence[str]:
        """Names of the matrix's columns, in their order, that it was trained with."""
        ...

    def score(self, matrix: Singles) -> Floats:
        """Log-odds, one per row."""
        ...

    def contributions(self, matrix: Singles) -> Floats:
        """Rows x (features + 1), which sum to the score; the last column is the same for all rows."""
        ...


@dataclass(frozen=True, slots=True)
class Logistic:
    """weight x (value - mean) / scale, summed over the columns."""

    features: tuple[str, ...]
    mean: Floats
    scale: Floats
    weights: Floats
    intercept: float

    def score(self, matrix: Singles) -> Floats:
        # Summed row by row: a BLAS product may round differently with the number of rows and threads.
        parts = np.ascontiguousarray(self._standardised(matrix) * self.weights)
        result: Floats = parts.sum(axis=1) + self.intercept
        return result

    def contributions(self, matrix: Singles) -> Floats:
        return np.column_stack([self._standardised(matrix) * self.weights, np.full(len(matrix), self.intercept)])

    def _standardised(self, matrix: Singles) -> Floats:
        clipped: Floats = np.clip((matrix - self.mean) / self.scale, -_CLIP, _CLIP)
        return clipped


@dataclass(frozen=True, slots=True)
class Forest:
    """Boosted trees in flat arrays, a node per element.

    A row goes to the node ``left`` where its value of ``feature`` is at most ``threshold``, else to the one after it; a
    leaf leads to itself, its threshold is infinite. ``value`` is a leaf's part of the score, and for an inner node the
    mean of what is below it, weighted by training rows.
    """

    features: tuple[str, ...]
    roots: Indices
    feature: Indices
    threshold: Floats
    left: Indices
    value: Floats
    depth: int
    # None: scores are found step by step.
    masks: LeafMasks | None = None

    def quickened(self) -> Forest:
        """The same, which takes milliseconds, and scores in a third of the time."""
        parts = (self.roots, self.feature, self.threshold, self.left, self.value)
        return replace(self, masks=leaf_masks(*parts, self.depth))

    def score(self, matrix: Singles) -> Floats:
        if self.masks is not None:
            return self.masks.score(matrix)
        scores = np.empty(len(matrix))
        rows = max(1, _BLOCK // max(1, len(self.roots)))
        for start in range(0, len(matrix), rows):
            part = matrix[start : start + rows]
            node = self._start(part)
            for _ in range(self.depth):
                node = self._step(part, node)
            scores[start : start + rows] = self.value.take(node).sum(axis=1)
        return scores

    def contributions(self, matrix: Singles) -> Floats:
        """By the path: each split adds to its feature the change of the mean (Saabas 2014)."""
        size = len(self.features) + 1
        result = np.zeros((len(matrix), size))
        if not len(matrix):
            return result
        node = self._start(matrix)
        result[:, -1] = self.value[self.roots].sum()
        row = np.arange(len(matrix))[:, None]
        for _ in range(self.depth):
            following = self._step(matrix, node)
            change = self.value[following] - self.value[node]
            result += sums((row * size + self.feature[node]).ravel(), change.ravel(), result.size).reshape(result.shape)
            node = following
        return result

    def _start(self, matrix: Singles) -> Indices:
        return np.broadcast_to(self.roots, (len(matrix), len(self.roots)))

    def _step(self, matrix: Singles, node: Indices) -> Indices:
        place = self.feature.take(node)
        place += np.arange(len(matrix), dtype=np.intp)[:, None] * matrix.shape[1]
        right = matrix.ravel().take(place) > self.threshold.take(node)
        return self.left.take(node) + right


def reading(ranker: Logistic | Forest, columns: Sequence[str]) -> Logistic | Forest | None:
    """The same ranker of a matrix with these ``columns``, of which it passes over those that it was not trained with;
    None where one that it was trained with is missing."""
    if tuple(ranker.features) == tuple(columns):
        return ranker
    if not set(ranker.features).issubset(columns):
        return None
    places = np.array([columns.index(name) for name in ranker.features], dtype=np.intp)
    if isinstance(ranker, Forest):
        return replace(ranker, features=tuple(columns), feature=places[ranker.feature], masks=None).quickened()
    mean, scale, weights = np.zeros(len(columns)), np.ones(len(columns)), np.zeros(len(columns))
    mean[places], scale[places], weights[places] = ranker.mean, ranker.scale, ranker.weights
    return Logistic(tuple(columns), mean, scale, weights, ranker.intercept)


def encode(ranker: Logistic | Forest) -> bytes:
    """For the store; :func:`decode` reads it."""
    arrays: dict[str, npt.NDArray[np.generic]] = {"features": np.array(ranker.features)}
    if isinstance(ranker, Logistic):
        arrays |= {"mean": ranker.mean, "scale": ranker.scale, "weights": ranker.weights}
        arrays["intercept"] = np.array(ranker.intercept)
    else:
        arrays |= {name: getattr(ranker, name) for name in ("roots", "feature", "threshold", "left", "value")}
        arrays["depth"] = np.array(ranker.depth)
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # the stub knows allow_pickle as its only name
    return file.getvalue()


def decode(content: bytes) -> Logistic | Forest:
    """What :func:`encode` wrote. Raises ValueError or KeyError for anything else."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        features = tuple(str(name) for name in arrays["features"].tolist())
        if "weights" in arrays:
            linear = Logistic(features, arrays["mean"], arrays["scale"], arrays["weights"], float(arrays["intercept"]))
            return _sound_logistic(linear)
        forest = Forest(
            features=features,
            roots=arrays["roots"].astype(np.intp),
            feature=arrays["feature"].astype(np.intp),
            threshold=arrays["threshold"],
            left=arrays["left"].astype(np.intp),
            value=arrays["value"],
            depth=int(arrays["depth"]),
        )
        return _sound_forest(forest).quickened()


def _sound_logistic(ranker: Logistic) -> Logistic:
    """It, if it can score: what breaks in the middle of a page costs the page."""
    columns = (ranker.mean, ranker.scale, ranker.weights)
    if any(values.shape != (len(ranker.features),) or not np.isfinite(values).all() for values in columns):
        raise ValueError("not one finite number for each feature")
    if not ranker.scale.all() or not np.isfinite(ranker.intercept):
        raise ValueError("no finite score")
    return ranker


def _sound_forest(ranker: Forest) -> Forest:
    nodes = len(ranker.value)
    if any(values.shape != (nodes,) for values in (ranker.feature, ranker.threshold, ranker.left, ranker.value)):
        raise ValueError("arrays of nodes differ in length")
    leaf = np.isinf(ranker.threshold)
    # Right of a node's left one is its right one; a leaf has none.
    ends = (ranker.roots, ranker.left + ~leaf)
    if any(len(places) and (places.min() < 0 or places.max() >= nodes) for places in (*ends, ranker.left)):
        raise ValueError("a way leads out of the trees")
    if nodes and (ranker.feature.min() < 0 or ranker.feature.max() >= len(ranker.features)):
        raise ValueError("a node reads no feature")
    if not np.isfinite(ranker.value).all():
        raise ValueError("no finite score")
    return ranker
