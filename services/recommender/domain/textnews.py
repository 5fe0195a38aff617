"""What searches by text can find that they could not before: the last such products, with their directions."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from services.recommender.domain.assortment import DIMENSIONS

Vectors = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]


class TextNews:
    """A version counts the news: who knows of ``version`` lacks what came since. The last ``room`` are here.

    The first ``room`` versions are for what happened before anybody told, see :meth:`before`.
    """

    def __init__(self, room: int) -> None:
        self.version = room
        self.room = room
        self._ids = [""] * room
        self._directions = np.zeros((room, DIMENSIONS), dtype=np.float32)
        # By product: the version of its last news of those that are here.
        self._last: dict[str, int] = {}
        # Changes of the catalogue, ascending, and the version that includes all until then.
        self._changes: list[int] = []
        self._versions: list[int] = []

    def add(self, product_id: str, vector: Halves) -> None:
        """A product that can be found from now on."""
        self._write(self.version, product_id, directions(vector[None])[0])
        self.version += 1

    def before(self, found: Sequence[tuple[str, int, Halves]], whole: bool) -> None:
        """What could be found newly before the first news, with the change that made it so, ascending; ``whole``:
        there was nothing else, ever. News that came meanwhile may be among them, and keep their places."""
        found, whole = found[-self.room :], whole and len(found) <= self.room
        first = self.room - len(found)
        # All at once: one by one, so many would hold the event loop.
        pointing = directions(np.array([vector for _, _, vector in found])) if found else ()
        for version, ((id_, _, _), direction) in enumerate(zip(found, pointing, strict=True), first):
            if version >= self.version - self.room:
                self._write(version, id_, direction)
        self._changes = [change for _, change, _ in found]
        self._versions = list(range(first + 1, self.room + 1))
        if whole:
            self._changes.insert(0, 0)
            self._versions.insert(0, first)

    def mark(self, change: int) -> None:
        """By now, all news until this change have been told."""
        if not self._changes or change > self._changes[-1]:
            self._changes.append(change)
            self._versions.append(self.version)
        del self._changes[: -self.room], self._versions[: -self.room]

    def at(self, change: int) -> int | None:
        """A version that whoever knows all until this change knows of; None where that is too long ago to say."""
        place = bisect_right(self._changes, change)
        version = self._versions[place - 1] if place else -1
        return version if version >= self.version - self.room else None

    def last(self, product_id: str) -> int:
        """The version that its last news made old; -1 where none are here."""
        return self._last.get(product_id, -1)

    def since(self, version: int) -> tuple[list[str], Vectors]:
        """The products of which there were news, each with what it became last; ``version`` is at most ``room`` ago."""
        slots = [
            number % self.room
            for number in range(version, self.version)
            if self._last.get(self._ids[number % self.room]) == number
        ]
        return [self._ids[slot] for slot in slots], self._directions[slots]

    def _write(self, version: int, product_id: str, direction: Vectors) -> None:
        slot = version % self.room
        if self._last.get(self._ids[slot]) == version - self.room:
            del self._last[self._ids[slot]]
        self._ids[slot] = product_id
        self._last[product_id] = max(version, self.last(product_id))
        self._directions[slot] = direction


def directions(vectors: npt.NDArray[np.generic]) -> Vectors:
    """Rows of length 1; zeros stay."""
    singles = vectors.astype(np.float32)
    lengths = np.linalg.norm(singles, axis=1, keepdims=True)
    result: Vectors = np.divide(singles, lengths, out=np.zeros_like(singles), where=lengths > 0)
    return result
