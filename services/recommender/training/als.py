"""Alternating least squares in a process of its own, so that serving neither stalls nor shares its memory.

``python -m services.recommender.training.als FOLDER`` reads ``matrix.npz`` and writes ``factors.npz``. It ends
with its parent: the parent holds its standard input open.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.recommender.ranking_ports import Factors
from services.recommender.training.interactions import Matrix

FACTORS = 64
# Chosen by full-ranking nDCG on the November of the Complete Journey data; see docs/ranking.md. The usual advice for
# alpha (10 to 40) is meant for raw counts of one kind: here it halves the quality.
REGULARIZATION = 0.5
ALPHA = 0.5
ITERATIONS = 15
# The same log gives the same model.
SEED = 20170101

# Serving goes first on a busy machine.
_NICENESS = 10
# BLAS threads inside the solver's own threads only fight each other.
_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class TrainingError(Exception):
    """The worker process failed; says how."""


async def factorise(matrix: Matrix) -> Factors:
    """Embeddings of all users and products of ``matrix``. Cancelling ends the process."""
    with tempfile.TemporaryDirectory(prefix="windowshop-als-") as name:
        folder = Path(name)
        await asyncio.to_thread(_write_matrix, folder, matrix)
        await _run_worker(folder)
        users, products = await asyncio.to_thread(_read_factors, folder)
    return Factors(matrix.user_ids, users, matrix.product_ids, products)


async def _run_worker(folder: Path) -> None:
    worker = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        str(folder),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **_ONE_THREAD},
    )
    try:
        assert worker.stderr is not None  # noqa: S101 - asked for above
        complaints = await worker.stderr.read()
        code = await worker.wait()
    finally:
        if worker.returncode is None:
            worker.kill()
            await worker.wait()
    if code != 0:
        last_line = complaints.decode(errors="replace").strip().rpartition("\n")[2]
        raise TrainingError(f"the worker ended with {code}: {last_line[:300]}")


def fit(
    users: npt.NDArray[np.int32], products: npt.NDArray[np.int32], values: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """User and product factors of the implicit-feedback model of Hu, Koren and Volinsky (2008).

    log(1 + value) dampens the few pairs that repeat weekly; the inner product of two rows estimates the preference
    between 0 and about 1.
    """
    # Imported here: the serving process must not pay for them.
    from implicit.als import AlternatingLeastSquares  # noqa: PLC0415
    from scipy.sparse import coo_matrix  # noqa: PLC0415

    shape = (int(users.max()) + 1, int(products.max()) + 1)
    matrix = coo_matrix((values, (users, products)), shape=shape).tocsr()
    matrix.data = np.log1p(matrix.data).astype(np.float32)
    model = AlternatingLeastSquares(
        factors=FACTORS,
        regularization=REGULARIZATION,
        alpha=ALPHA,
        iterations=ITERATIONS,
        random_state=SEED,
        num_threads=max(1, (os.cpu_count() or 2) // 2),
        use_gpu=False,
    )
    model.fit(matrix, show_progress=False)
    return np.asarray(model.user_factors), np.asarray(model.item_factors)


def _write_matrix(folder: Path, matrix: Matrix) -> None:
    np.savez(folder / "matrix.npz", users=matrix.users, products=matrix.products, values=matrix.values)


def _read_factors(folder: Path) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    with np.load(folder / "factors.npz") as arrays:
        return arrays["users"], arrays["products"]


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def _main(folder: Path) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(_NICENESS)
    with np.load(folder / "matrix.npz") as arrays:
        users, products = fit(arrays["users"], arrays["products"], arrays["values"])
    np.savez(folder / "factors.npz", users=users, products=products)
    # Not by returning: the thread above still reads.
    os._exit(0)


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
