"""The leaf that a row reaches in each of many small trees, found by all splits at once instead of step by step.

Leaves of a tree are numbered from left to right. A split that sends a row to the right rules out the leaves on its
left; of those that no split rules out the row is in the first one (QuickScorer, Lucchese et al. 2015). So each split is
one comparison of a column with a number, whatever is above it, and a tree is a few bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]
Bits = npt.NDArray[np.unsignedinteger]

# By the most leaves of a tree, which need a bit each.
_SIZES = ((16, np.uint16), (32, np.uint32), (64, np.uint64))

# Rows that are scored at once: what is compared of them fits the cache.
_ROWS = 256


@dataclass(frozen=True, slots=True)
class LeafMasks:
    """``features`` and ``thresholds`` are of the distinct comparisons. The k-th split of each tree is the comparison
    ``splits[k]``, which rules out the leaves ``masks[k]`` (slots x trees; no bits where a tree has fewer splits).
    ``values`` of the leaves are trees x leaves, flat, a tree's begin at its ``starts``."""

    features: Indices
    thresholds: Singles
    splits: Indices
    masks: Bits
    values: Floats
    starts: Indices

    def score(self, matrix: Singles) -> Floats:
        """The sum of the leaves' values, one per row."""
        scores = np.empty(len(matrix))
        for start in range(0, len(matrix), _ROWS):
            part = np.ascontiguousarray(matrix[start : start + _ROWS].T)
            right = part.take(self.features, axis=0) > self.thresholds[:, None]
            ruled_out = np.zeros((len(self.starts), part.shape[1]), dtype=self.masks.dtype)
            for split, mask in zip(self.splits, self.masks, strict=True):
                ruled_out |= right[split] * mask[:, None]
            # As many leaves before the first one that is left as there are ones at the end of the number.
            leaf = np.bitwise_count(ruled_out & ~(ruled_out + 1))
            found = self.values.take(leaf + self.starts[:, None])
            # Row by row, so that nothing depends on how many are scored at once.
            scores[start : start + _ROWS] = np.ascontiguousarray(found.T).sum(axis=1)
        return scores


def leaf_masks(
    roots: Indices, feature: Indices, threshold: Floats, left: Indices, value: Floats, depth: int
) -> LeafMasks | None:
    """From trees as :class:`ranker.Forest` has them; None where one has more leaves than a number has bits."""
    limits = _rounded_down(threshold).tolist()
    features, lefts = feature.tolist(), left.tolist()

    def walk(node: int, level: int) -> Iterator[tuple[int, int]]:
        """The leaves from left to right as (node, 0); a split, after what is left of it, as (node, leaves there)."""
        if level == depth or np.isinf(threshold[node]):
            yield node, 0
            return
        on_the_left = 0
        for found in walk(lefts[node], level + 1):
            on_the_left += not found[1]
            yield found
        yield node, on_the_left
        yield from walk(lefts[node] + 1, level + 1)

    comparisons: dict[tuple[int, float], int] = {}
    trees: list[list[tuple[int, int]]] = []
    leaves: list[list[int]] = []
    for root in roots.tolist():
        splits, own = list[tuple[int, int]](), list[int]()
        for node, on_the_left in walk(root, 0):
            if not on_the_left:
                own.append(node)
                continue
            comparison = comparisons.setdefault((features[node], limits[node]), len(comparisons))
            splits.append((comparison, ((1 << on_the_left) - 1) << (len(own) - on_the_left)))
        trees.append(splits)
        leaves.append(own)
    most = max(map(len, leaves), default=1)
    size = next((size for bits, size in _SIZES if most <= bits), None)
    if size is None or not comparisons:
        return None
    slots = max(map(len, trees))
    table = np.array([splits + [(0, 0)] * (slots - len(splits)) for splits in trees], dtype=object)
    values = np.zeros((len(leaves), most))
    for tree, own in enumerate(leaves):
        values[tree, : len(own)] = value[own]
    return LeafMasks(
        features=np.array([column for column, _ in comparisons], dtype=np.intp),
        thresholds=np.array([limit for _, limit in comparisons], dtype=np.float32),
        splits=np.ascontiguousarray(table[:, :, 0].T.astype(np.intp)),
        masks=np.ascontiguousarray(table[:, :, 1].T.astype(size)),
        values=values.ravel(),
        starts=np.arange(len(leaves)) * most,
    )


def _rounded_down(threshold: Floats) -> Singles:
    """The largest 32-bit numbers that are not above: no value of a matrix lies between."""
    with np.errstate(over="ignore"):
        near = threshold.astype(np.float32)
    return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)
