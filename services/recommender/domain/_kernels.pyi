"""Types of _kernels.pyx. Arrays are contiguous, as C has them."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Indices = npt.NDArray[np.intp]
Bits = npt.NDArray[np.unsignedinteger]

def leaves(
    columns: Singles, features: Indices, thresholds: Singles, masks: Bits, starts: Indices, values: Floats
) -> Floats:
    """The value of the leaf that each row reaches, rows x trees; ``columns`` are features x rows, the others as
    :class:`leafmasks.LeafMasks` has them."""
