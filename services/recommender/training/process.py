"""Learning in a process of its own, so that serving neither stalls nor shares its memory."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from asyncio.subprocess import Process
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from services.recommender.training.learning import log as logs
from services.recommender.training.learning.log import Catalogue, Log

_MODULE = "services.recommender.training.learning"

# BLAS threads inside the solver's own threads only fight each other.
_ONE_THREAD = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

# Many times what the largest log takes: a process that hangs must not keep all later runs away.
_LONGEST_SECONDS = 6 * 3600.0

Progress = Callable[[float], Awaitable[None]]


class TrainingError(Exception):
    """The learning process failed; says how."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """A version's blobs by name, what it scored and was made of, and why it is worse than what serves, if it is."""

    artifacts: Mapping[str, bytes]
    metrics: Mapping[str, float] = field(default_factory=dict)
    lineage: Mapping[str, str] = field(default_factory=dict)
    rejected: str = ""


class _Outcome(msgspec.Struct):
    metrics: dict[str, float]
    lineage: dict[str, str]
    rejected: str


async def learn(
    log: Log,
    catalogue: Catalogue,
    now: float,
    active: Mapping[str, bytes],
    progress: Progress,
    seen_until: float = 0.0,
) -> Learnt:
    """A version as of ``now``, in seconds since 1970; ``active`` are the rankers that serve, encoded, by objective,
    trained on labels until ``seen_until``.

    ``progress`` is told from 0 to 1. Cancelling ends the process. Raises TrainingError.
    """
    with tempfile.TemporaryDirectory(prefix="windowshop-learning-") as name:
        folder = Path(name)
        await asyncio.to_thread(_write, folder, log, catalogue, active)
        (folder / "task.json").write_bytes(msgspec.json.encode({"now": now, "seen_until": seen_until}))
        await _run(folder, progress)
        return await asyncio.to_thread(_read, folder)


async def _run(folder: Path, progress: Progress) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        _MODULE,
        str(folder),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **_ONE_THREAD},
    )
    try:
        async with asyncio.timeout(_LONGEST_SECONDS):
            async with asyncio.TaskGroup() as group:
                complaints = group.create_task(_last_line(process))
                group.create_task(_follow(process, progress))
            code = await process.wait()
    except TimeoutError as error:
        message = f"the learning process did not end within {_LONGEST_SECONDS:g} s"
        raise TrainingError(message) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if code != 0:
        message = f"the learning process ended with {code}: {complaints.result()[:300]}"
        raise TrainingError(message)


async def _follow(process: Process, progress: Progress) -> None:
    assert process.stdout is not None  # noqa: S101 - asked for above
    async for line in process.stdout:
        await progress(float(line))


async def _last_line(process: Process) -> str:
    assert process.stderr is not None  # noqa: S101 - asked for above
    last: deque[bytes] = deque(maxlen=1)
    async for line in process.stderr:
        if line.strip():
            last.append(line)
    return last[0].decode(errors="replace").strip() if last else ""


def _write(folder: Path, log: Log, catalogue: Catalogue, active: Mapping[str, bytes]) -> None:
    logs.write(folder, log, catalogue)
    for objective, content in active.items():
        (folder / f"active_{objective}").write_bytes(content)


def _read(folder: Path) -> Learnt:
    said = msgspec.json.decode((folder / "outcome.json").read_bytes(), type=_Outcome)
    artifacts = {file.stem: file.read_bytes() for file in sorted(folder.glob("*.artifact"))}
    return Learnt(artifacts, said.metrics, said.lineage, said.rejected)
