"""The user's vector at the moment of a request: folded into a trained model from what they did until just now.

One half-step of alternating least squares (Hu, Koren and Volinsky 2008, equation 4): with the products' vectors Y held
fixed, the vector that explains a shopper's history best is (Y'Y + Y'(C - I)Y + lambda I)^-1 Y' C p. Y'Y is the model's,
the same for everyone; the rest takes the vectors of the history alone. So a guest has a vector too, and a click changes
it at once, without any training.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.recommender.domain import kernels

Vectors = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FoldIn:
    """What a model version keeps for folding: ``gram`` is Y'Y (factors x factors) of all its products; the other two
    are those that it was trained with."""

    gram: Floats
    regularization: float
    alpha: float


def fold_in(model: FoldIn, vectors: Vectors, values: Floats) -> Vectors | None:
    """The user's vector from those of a history (products x factors) and what each interest is worth, as training adds
    interactions up; None without a history."""
    if len(vectors) == 0:
        return None
    products = vectors.astype(np.float64)
    # As in training: log dampens what repeats weekly.
    confidence = model.alpha * np.log1p(values)
    normal = model.gram + (products * (confidence - 1.0)[:, None]).T @ products
    normal.ravel()[:: len(normal) + 1] += model.regularization  # the diagonal
    wanted = confidence @ products
    folded = kernels.solve(normal, wanted)
    # No positive definite matrix: a gram of other products than those of the history.
    vector: Vectors = (np.linalg.solve(normal, wanted) if folded is None else folded).astype(np.float32)
    return vector
