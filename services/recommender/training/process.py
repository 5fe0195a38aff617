"""Learning in a process of its own, so that serving neither stalls nor shares its memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from asyncio import StreamReader, StreamReaderProtocol
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

import msgspec

from services.recommender.training.learning import log as logs
from services.recommender.training.learning.log import Catalogue, Log
from services.recommender.training.learning.task import Task

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
    awaited: bool = False,
) -> Learnt:
    """A version as of ``now``, in seconds since 1970; ``active`` are the rankers that serve, encoded, by objective,
    trained on labels until ``seen_until``. While no version serves, this one is ``awaited``; else others go first.

    ``progress`` is told from 0 to 1. Cancelling ends the process. Raises TrainingError.
    """
    with tempfile.TemporaryDirectory(prefix="windowshop-learning-") as name:
        folder = Path(name)
        await asyncio.to_thread(_write, folder, log, catalogue, active)
        Task(now, seen_until, awaited).write(folder)
        await _run(folder, progress)
        return await asyncio.to_thread(_read, folder)


async def _run(folder: Path, progress: Progress) -> None:
    # Not by the event loop, which would copy the page tables of this process: that holds it for 20 ms for each
    # gigabyte, and once more for each page that is written to from then on.
    process = subprocess.Popen(  # noqa: ASYNC220, S603 - a third of a millisecond; our own module
        [sys.executable, "-m", _MODULE, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **_ONE_THREAD},
    )
    try:
        async with asyncio.timeout(_LONGEST_SECONDS), _lines(process.stdout) as told, _lines(process.stderr) as said:
            async with asyncio.TaskGroup() as group:
                complaint = group.create_task(_last(said))
                group.create_task(_follow(told, progress))
            code = await asyncio.to_thread(process.wait)
    except TimeoutError as error:
        message = f"the learning process did not end within {_LONGEST_SECONDS:g} s"
        raise TrainingError(message) from error
    finally:
        process.kill()  # nothing happens when it has ended
        await asyncio.to_thread(process.wait)
        cast(IO[bytes], process.stdin).close()
    if code != 0:
        message = f"the learning process ended with {code}: {complaint.result()[:300]}"
        raise TrainingError(message)


@contextlib.asynccontextmanager
async def _lines(pipe: IO[bytes] | None) -> AsyncIterator[StreamReader]:
    """To be read line by line until the other end is closed; closes this one."""
    reader = StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: StreamReaderProtocol(reader), pipe)
    try:
        yield reader
    finally:
        transport.close()


async def _follow(told: StreamReader, progress: Progress) -> None:
    async for line in told:
        await progress(float(line))


async def _last(said: StreamReader) -> str:
    last: deque[bytes] = deque(maxlen=1)
    async for line in said:
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
