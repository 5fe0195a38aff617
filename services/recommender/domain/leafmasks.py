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

from services.recommender.domain import kernels

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]
Bits = npt.NDArray[np.unsignedinteger]

# By the most leaves of a tree, which need a bit each.
_SIZES = ((16, np.uint16), (32, np.uint32), (64, np.uint64))


@dataclass(frozen=True, slots=True)
class LeafMasks:
    """The splits of tree t are from ``starts[t]`` to ``starts[t + 1]``: each compares the column ``features`` with
    ``thresholds``, and rules out the leaves ``masks``. ``values`` of the leaves are trees x leaves."""

    features: Indices
    thresholds: Singles
    masks: Bits
    starts: Indices
    values: Floats

    def score(self, matrix: Singles) -> Floats:
        """The sum of the leaves' values, one per row."""
        columns = np.ascontiguousarray(matrix.T)
        return kernels.add_leaves(columns, self.features, self.thresholds, self.masks, self.starts, self.values)


def leaf_masks(
    roots: Indices, feature: Indices, threshold: Floats, left: Indices, value: Floats, depth: int
) -> LeafMasks | None:
    """From trees as :class:`ranker.Forest` has them; None where one has more leaves than a number has bits."""
    lefts = left.tolist()

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

    splits: list[tuple[int, int]] = []
    starts = [0]
    own_leaves: list[list[int]] = []
    for root in roots.tolist():
        own = list[int]()
        for node, on_the_left in walk(root, 0):
            if on_the_left:
                splits.append((node, ((1 << on_the_left) - 1) << (len(own) - on_the_left)))
            else:
                own.append(node)
        own_leaves.append(own)
        starts.append(len(splits))
    most = max(map(len, own_leaves), default=1)
    size = next((size for bits, size in _SIZES if most <= bits), None)
    if size is None or not splits:
        return None
    values = np.zeros((len(own_leaves), most))
    for tree, own in enumerate(own_leaves):
        values[tree, : len(own)] = value[own]
    nodes = [node for node, _ in splits]
    return LeafMasks(
        features=feature[nodes],
        thresholds=_rounded_down(threshold[nodes]),
        masks=np.array([mask for _, mask in splits], dtype=size),
        starts=np.array(starts, dtype=np.intp),
        values=values,
    )


def _rounded_down(threshold: Floats) -> Singles:
    """The largest 32-bit numbers that are not above: no value of a matrix lies between."""
    with np.errstate(over="ignore"):
        near = threshold.astype(np.float32)
    return np.where(near > threshold, np.nextafter(near, np.float32(-np.inf)), near)
