"""What a learning process is told beside the log."""

from __future__ import annotations

from pathlib import Path

import msgspec

_FILE = "task.json"


class Task(msgspec.Struct, frozen=True):
    """In seconds since 1970: the instant to learn as of, and when the labels end that the active rankers were trained
    on."""

    now: float
    seen_until: float
    # Whether no version serves yet.
    awaited: bool

    def write(self, folder: Path) -> None:
        """For :meth:`read`."""
        (folder / _FILE).write_bytes(msgspec.json.encode(self))

    @classmethod
    def read(cls, folder: Path) -> Task:
        """Raises OSError and msgspec's errors."""
        return msgspec.json.decode((folder / _FILE).read_bytes(), type=cls)
