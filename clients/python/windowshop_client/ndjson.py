"""Reads files of one JSON object a line into messages of the contract, keeping count of lines that are none."""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)

SAMPLES = 100
"""Bad lines that are remembered, as many as the import calls remember."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is not a message, or that the server refused."""

    line: int
    """From 1."""
    reason: str
    message: str


class NdjsonFile(Generic[M]):
    """A file of messages, read in chunks. Empty lines are passed over."""

    def __init__(self, path: Path, message: type[M]) -> None:
        self._path = path
        self._message = message
        self._lines = array("l")
        self.bad = 0
        """Lines that could not be read, so far."""
        self.samples: list[BadLine] = []
        """The first of them."""

    def count(self) -> int:
        """Lines that are not empty."""
        with self._path.open("rb") as file:
            return sum(1 for line in file if line.strip())

    def chunks(self, size: int) -> Iterator[list[M]]:
        """The messages in the order of the file, `size` at a time. Starts from the beginning each time."""
        self._lines, self.bad, self.samples = array("l"), 0, []
        chunk: list[M] = []
        with self._path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    chunk.append(json_format.Parse(line, self._message()))
                except (json_format.ParseError, UnicodeDecodeError) as error:
                    self._remember(number, error)
                    continue
                self._lines.append(number)
                if len(chunk) == size:
                    yield chunk
                    chunk = []
        if chunk:
            yield chunk

    def line_of(self, index: int) -> int:
        """The line that message number `index` (from 0) of the stream stood in."""
        return self._lines[index]

    def _remember(self, number: int, error: Exception) -> None:
        self.bad += 1
        if len(self.samples) < SAMPLES:
            self.samples.append(BadLine(number, "INVALID_JSON", " ".join(str(error).split())))
