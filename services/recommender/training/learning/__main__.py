"""``python -m services.recommender.training.learning FOLDER``: reads a log, writes a version's artifacts.

The folder has ``log.npz``, ``task.json`` and the active version's rankers, and gets ``outcome.json`` and an
``NAME.artifact`` each. Progress goes to standard output, a number from 0 to 1 a line. The process ends with its parent,
which holds its standard input open.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import traceback
from pathlib import Path

import msgspec

from services.recommender.domain import ranker as rankers
from services.recommender.domain.ranker import Forest, Logistic
from services.recommender.domain.retrieving import OBJECTIVES
from services.recommender.training.learning import log as logs
from services.recommender.training.learning.job import finite, run
from services.recommender.training.learning.priority import stand_back
from services.recommender.training.learning.task import Task


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def _report(progress: float) -> None:
    print(f"{progress:.3f}", flush=True)  # noqa: T201 - the parent reads it


def serving(folder: Path) -> dict[str, Logistic | Forest]:
    """The active version's rankers, by objective."""
    files = {objective: folder / f"active_{objective}" for objective in OBJECTIVES}
    found: dict[str, Logistic | Forest] = {}
    for objective, file in files.items():
        # One that cannot be read is nothing to be worse than: the next version must come to replace it.
        with contextlib.suppress(Exception):
            found[objective] = rankers.decode(file.read_bytes())
    return found


def main(folder: Path) -> None:
    """One run."""
    task = Task.read(folder)
    if not task.awaited:
        stand_back()  # pages go first on a busy machine
    log, catalogue = logs.read(folder)
    outcome = run(log, catalogue, task.now, serving(folder), _report, task.seen_until)
    for name, content in outcome.artifacts.items():
        (folder / f"{name}.artifact").write_bytes(content)
    said = {"metrics": finite(outcome.metrics), "lineage": outcome.lineage, "rejected": outcome.rejected}
    (folder / "outcome.json").write_bytes(msgspec.json.encode(said))


if __name__ == "__main__":
    threading.Thread(target=_end_with_parent, daemon=True).start()
    code = 0
    try:
        main(Path(sys.argv[1]))
    except Exception:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # Not by returning: the thread above still reads, and an interpreter that ends meanwhile aborts.
    os._exit(code)
