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
# Of the catalogue at once: less than a millisecond of the event loop, some where all of them are unknown.
_CHUNK = 1_000
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
            cosines = directions @ _directions(assortment.vectors[place][None])[0]
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
            unknown = [id_ for id_ in assortment.between(start, start + _CHUNK) if id_ not in learned.places]
            places = assortment.find(unknown)
            if assortment.lacks_vector[places].any():
                return
            told = np.flatnonzero(assortment.lengths[places] > 0)
            if not self._note([unknown[at] for at in told.tolist()], assortment.vectors[places[told]]):
                return
            await asyncio.sleep(0)
            if self._learned is not learned or self._assortment is not assortment:
                return  # what is here is of another one meanwhile
        self._whole = True

    def _heard(self, product_id: str, vector: npt.NDArray[np.float16]) -> None:
        if self._learned is not None and product_id not in self._learned.places:
            self._whole = self._note([product_id], vector[None]) and self._whole

    def _note(self, ids: Sequence[str], vectors: npt.NDArray[np.float16]) -> bool:
        """Whether there was room for all of them; a row of ``vectors`` each."""
        rows = [self._rows.setdefault(id_, len(self._rows)) for id_ in ids]
        self._placed = -1
        if len(self._rows) > _MOST:
            for id_ in [id_ for id_, row in zip(ids, rows, strict=True) if row >= _MOST]:
                del self._rows[id_]
            return False
        self._directions[rows] = _directions(vectors)
        return True


def _directions(vectors: npt.NDArray[np.float16]) -> npt.NDArray[np.float32]:
    """Of length 1 each; zeros stay."""
    singles = vectors.astype(np.float32)
    lengths = np.linalg.norm(singles, axis=1, keepdims=True)
    directions: npt.NDArray[np.float32] = np.divide(singles, lengths, out=np.zeros_like(singles), where=lengths > 0)
    return directions
