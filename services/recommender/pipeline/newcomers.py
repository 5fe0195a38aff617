"""The products that a model version does not know, which are few as a rule: looked through exactly, in memory.

No behaviour speaks for them, so around what a shopper is used to, searches by text are for them alone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from services.recommender.domain.assortment import DIMENSIONS
from services.recommender.domain.candidates import Hit
from services.recommender.domain.learned import Learned
from services.recommender.domain.signals import Anchor
from services.recommender.pipeline.mirror import Mirror

# A tenth of a millisecond for each thousand. Where there are more, the store's index is asked.
_MOST = 4_096
# Of the catalogue at once: a millisecond of the event loop.
_CHUNK = 5_000
# Texts that have nothing to do with each other come to 0.1, one pair of a hundred to 0.4; the ten nearest of a whole
# catalogue lie above 0.5.
_LEAST = 0.4

Places = npt.NDArray[np.int64]


class Newcomers:
    """Of the version that was aligned last. What the mirror tells of later is among them at once."""

    def __init__(self, mirror: Mirror, clock: Callable[[], float] = time.time) -> None:
        self._mirror = mirror
        self._clock = clock
        # What is here is of these two, and whether it is all.
        self._learned: Learned | None = None
        self._assortment = mirror.assortment
        self._whole = False
        # Their ids, by which row of ``_directions`` each has, and as of which generation where in the assortment.
        self._rows: dict[str, int] = {}
        self._directions = np.zeros((_MOST, DIMENSIONS), dtype=np.float32)
        self._places: Places = np.zeros(0, dtype=np.int64)
        self._placed = -1
        mirror.tell(self._heard)

    def near(self, learned: Learned, anchors: Sequence[Anchor], limit: int) -> list[Hit] | None:
        """Those in stock whose texts resemble each anchor's: score = the anchor's weight x cosine, at most ``limit`` of
        each. None where that cannot be said from memory."""
        assortment = self._mirror.assortment
        if learned is not self._learned or assortment is not self._assortment:
            return None
        if not self._whole or not self._mirror.settled or not self._mirror.complete:
            return None
        own = assortment.find([anchor.id for anchor in anchors])
        if assortment.lacks_vector[own[own >= 0]].any():
            return None
        if self._placed != assortment.generation:
            self._places, self._placed = assortment.find(list(self._rows)), assortment.generation
        shown = np.flatnonzero(assortment.available(self._places, self._clock()))
        ids, directions = list(self._rows), self._directions[shown]
        others = {anchor.id for anchor in anchors}
        hits: list[Hit] = []
        for anchor, place in zip(anchors, own.tolist(), strict=True):
            if place < 0:
                continue
            cosines = directions @ _direction(assortment.vectors[place])
            near = [
                (-float(cosines[at]), ids[shown[at]])
                for at in np.flatnonzero(cosines >= _LEAST).tolist()
                if ids[shown[at]] not in others
            ]
            hits += [Hit(id_, -anchor.weight * cosine, anchor.id) for cosine, id_ in sorted(near)[:limit]]
        return hits

    async def align(self, learned: Learned) -> None:
        """Looks for those that a version does not know, unless they are here already."""
        assortment = self._mirror.assortment
        if not self._mirror.read or (learned is self._learned and assortment is self._assortment and self._whole):
            return
        self._learned, self._assortment, self._whole = learned, assortment, False
        self._rows, self._placed = {}, -1
        for start in range(0, assortment.reach, _CHUNK):
            for id_ in assortment.between(start, start + _CHUNK):
                place = assortment.places[id_]
                if id_ in learned.places:
                    continue
                if assortment.lacks_vector[place]:
                    return
                if assortment.lengths[place] > 0 and not self._note(id_, assortment.vectors[place]):
                    return
            await asyncio.sleep(0)
        self._whole = self._learned is learned and self._assortment is assortment

    def _heard(self, product_id: str, vector: npt.NDArray[np.float16]) -> None:
        if self._learned is not None and product_id not in self._learned.places:
            self._whole = self._note(product_id, vector) and self._whole

    def _note(self, product_id: str, vector: npt.NDArray[np.float16]) -> bool:
        """Whether there was room."""
        row = self._rows.setdefault(product_id, len(self._rows))
        if row == _MOST:
            del self._rows[product_id]
            return False
        self._directions[row] = _direction(vector)
        self._placed = -1
        return True


def _direction(vector: npt.NDArray[np.float16]) -> npt.NDArray[np.float32]:
    """Of length 1; zeros stay."""
    single = vector.astype(np.float32)
    length = float(np.linalg.norm(single))
    return single / np.float32(length) if length > 0 else single
