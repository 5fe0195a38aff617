"""NDJSON: bytes into lines of bounded length, lines into items, and the numbers of the lines they came from."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from services.runtime.errors import invalid_argument

# The largest item is a product with every text at its limit: 99,200 characters, of 12 bytes when a writer
# escapes an emoji as \ud83d\ude00, and 2 KB of names and quotes. A test holds this against the catalogue's bounds.
LINE_LIMIT = 1280 * 1024
# Empty lines are remembered, to number the others; nobody separates by more than a few.
_EMPTY_LINE_LIMIT = 65_536


class LineSplitter:
    """Cuts a stream of bytes at its line feeds; holds at most one line of it."""

    def __init__(self, limit: int = LINE_LIMIT) -> None:
        self._limit = limit
        self._tail = bytearray()
        self._too_long = False

    def feed(self, chunk: bytes) -> Iterator[bytes | None]:
        """The lines that ``chunk`` completes, without their ends; None stands for one over the limit."""
        *ends, rest = chunk.split(b"\n")
        for part in ends:
            yield self._end(part)
        self._keep(rest)

    def finish(self) -> Iterator[bytes | None]:
        """The last line, if the stream did not end with a line feed."""
        if self._tail or self._too_long:
            yield self._end(b"")

    def _end(self, part: bytes) -> bytes | None:
        self._keep(part)
        line = None if self._too_long else bytes(self._tail).strip()
        self._tail.clear()
        self._too_long = False
        return line

    def _keep(self, part: bytes) -> None:
        if self._too_long or len(self._tail) + len(part) > self._limit:
            self._too_long = True
            self._tail.clear()
        else:
            self._tail += part


class LineNumbers:
    """From an item's place in the stream to its line in the body, both from 0; they differ by empty lines."""

    def __init__(self) -> None:
        self._items = 0
        self._waiting = 0
        self._gaps: list[int] = []

    def add_empty(self) -> None:
        """Notes an empty line; raises INVALID_ARGUMENT after too many, also at the end: each takes time."""
        if len(self._gaps) + self._waiting >= _EMPTY_LINE_LIMIT:
            raise invalid_argument(f"more than {_EMPTY_LINE_LIMIT} empty lines", reason="TOO_MANY_EMPTY_LINES")
        self._waiting += 1

    def add_item(self) -> int:
        """Notes an item and returns its place in the stream."""
        if self._waiting:
            self._gaps.extend([self._items] * self._waiting)
            self._waiting = 0
        place = self._items
        self._items += 1
        return place

    def line_of(self, place: int) -> int:
        """The line of the item at ``place``."""
        return place + bisect_right(self._gaps, place)
