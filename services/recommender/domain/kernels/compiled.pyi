"""Types of compiled.pyx. Arrays are contiguous, as C has them; a negative place is counted from the end of an array."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]
Bits = npt.NDArray[np.unsignedinteger]
Places = npt.NDArray[np.int64]
Codes = npt.NDArray[np.int32]
Allowed = npt.NDArray[np.bool_]
Flags = npt.NDArray[np.uint8]

def add_leaves(
    columns: Singles, features: Indices, thresholds: Singles, masks: Bits, starts: Indices, values: Floats
) -> Floats:
    """Of each row the values of the leaves that it reaches, one in each tree, added up as numpy adds up a row.
    ``columns`` are features x rows, the others as :class:`leafmasks.LeafMasks` has them."""

def add_up(places: Places, values: Floats) -> tuple[Places, Floats, Codes]:
    """The distinct places, the values of each added up in their order, and a table for :func:`look_up`."""

def spread(table: Codes, weights: Singles, places: Places, strengths: Floats) -> tuple[Places, Floats, Codes]:
    """The same of all in the rows ``places`` of a table, each with its weight there times the row's strength."""

def look_up(places: Places, values: Floats, slots: Codes, wanted: Places) -> Floats:
    """The value of each of ``wanted`` in what was added up, 0 of what is not there."""

def givers(table: Codes, weights: Singles, places: Places, strengths: Floats, chosen: Places) -> Places:
    """Of each of ``chosen``, which are distinct, which of the rows gave it most in :func:`spread`, the first of equals;
    0 where none gave anything."""

def distinct(codes: Places) -> tuple[Places, Places]:
    """The distinct codes as they come, and of each code which one it is."""

def best(
    places: Places, scores: Floats, limit: int, allowed: Allowed | None = None, above: float = 0.0
) -> tuple[Places, Floats]:
    """Of distinct places the ``limit`` of the largest scores ``above`` a number, of those ``allowed`` (None: all), the
    largest first, ties by place."""

def better(
    places: Places, scores: Floats, more: Places, their_scores: Singles, limit: int, allowed: Allowed | None = None
) -> tuple[Places, Floats]:
    """The ``limit`` best of those that were found, and of more, of which only those above 0 that are ``allowed``."""

def best_of_shelves(
    places: Places, scores: Floats, starts: Places, shares: Floats, limit: int, allowed: Allowed | None = None
) -> tuple[Places, Floats]:
    """The same of the scores times the share of their shelf; shelf s is from ``starts[s]`` to ``starts[s + 1]``, in
    falling order."""

def longer(lengths: Floats, length: float) -> int:
    """How many of the falling ``lengths`` are not below ``length``, and above 0."""

def falling(scores: Floats, ids: Sequence[str]) -> list[int]:
    """The rows from the largest score to the smallest, ties by id; NaN counts as minus infinity."""

def fuse(
    owners: Places, counts: Places, worth: Floats, hidden: Flags, constant: int
) -> tuple[Places, Places, Floats, Floats]:
    """Reciprocal ranks of hits, ``counts`` of each source, the best first: of each hit the source, its rank there among
    those that are not ``hidden`` (by owner), and its share, the source's worth / (constant + rank); of each owner the
    shares added up."""

def leading(values: Floats, hidden: Flags, limit: int) -> Places:
    """The rows of the ``limit`` largest values that are not ``hidden``, and of all that tie with the last of them."""

def named(ids: tuple[str, ...], others: tuple[str, ...], numbers: Places) -> list[str]:
    """The id of each number, of which those of the others follow."""

def traces(
    wanted: Places,
    owners: Places,
    source: Places,
    ranks: Places,
    shares: Floats,
    scores: Floats,
    names: Sequence[str],
    anchors: Sequence[str | None],
) -> list[list[tuple[str, int, float, str | None, float]]]:
    """Of each of ``wanted``, which are distinct owners, its hits: name of the source, rank, share, anchor, score."""

def inner(vectors: Singles, places: Places, vector: Singles) -> Floats:
    """The inner product of a vector with each of those in the rows ``places``, rounded as numpy rounds
    ``(vectors[places] * vector).sum(axis=1)``."""

def solve(matrix: Floats, right: Floats) -> Floats | None:
    """The solution of matrix x = right by the Cholesky decomposition; None where the matrix, which is symmetric, is not
    positive definite."""
