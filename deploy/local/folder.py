"""The data folder: one stack at a time, logs of this run and the last one, what need not be done again."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class FolderError(Exception):
    """The data folder cannot be used; the text says why."""


@contextmanager
def locked(folder: Path) -> Iterator[bool]:
    """Hold the folder until the block ends; gives whether the last holder left without tidying up.

    The lock goes with the process, however that ends. Raises FolderError when another one has it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise FolderError(
            f"cannot use the data folder {folder} ({error.strerror}); "
            "choose another one by WINDOWSHOP_DATA_DIR=<folder>"
        ) from error
    with os.fdopen(descriptor, "r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = file.read().strip() or "unknown"
            raise FolderError(
                f"the data folder {folder} is in use by another windowshop (process {holder}); "
                "stop that one, or choose another folder by WINDOWSHOP_DATA_DIR=<folder> and other ports"
            ) from None
        untidy = bool(file.read().strip())
        _write(file.fileno(), f"{os.getpid()}\n")
        try:
            yield untidy
        finally:  # a failed start is no death: nothing of ours holds a port
            _write(file.fileno(), "")


def fresh_log(folder: Path, name: str) -> Path:
    """`logs/NAME.log` below the data folder, empty; the one of the run before is kept as `NAME.log.1`."""
    logs = folder / "logs"
    logs.mkdir(exist_ok=True)
    log = logs / f"{name}.log"
    if log.exists():
        log.replace(logs / f"{name}.log.1")
    return log


def remembers(folder: Path, what: str) -> bool:
    """Whether `remember` was told so, by this run or one before."""
    return (folder / f"{what}.done").exists()


def remember(folder: Path, what: str) -> None:
    """Note for later runs that something is done for good."""
    (folder / f"{what}.done").touch()


def _write(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)
