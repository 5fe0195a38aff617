"""Neighbours by text, remembered product by product: shoppers look at the same products, and their texts hardly change.

A remembered answer stays right: what the mirror tells of (a new text, a product that came into stock) is compared with
it before it is used again, and what is sold out is passed over. What was found once is stored too, see :mod:`.ahead`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from services.recommender.domain.candidates import Hit
from services.recommender.domain.neighbourhoods import DEPTH, Nearest, Neighbourhoods
from services.recommender.domain.signals import Anchor
from services.recommender.pipeline.mirror import Mirror
from services.recommender.ranking_ports import Neighbourhood, Retrieval
from services.recommender.text_ports import NearestStore

# Some 500 bytes each.
REMEMBERED = 200_000
# Of so many news an answer may lag behind. Longer ago, after an import for example, it is asked for anew.
NEWS = 2_048

Halves = npt.NDArray[np.float16]


class TextNeighbours:
    """In front of :meth:`Retrieval.semantic`."""

    def __init__(
        self, retrieval: Retrieval, store: NearestStore, mirror: Mirror, clock: Callable[[], float] = time.time
    ) -> None:
        self._retrieval = retrieval
        self._store = store
        self._mirror = mirror
        self._clock = clock
        self._kept = Neighbourhoods(mirror.assortment, REMEMBERED, NEWS)
        # When a page did last, on the monotonic clock.
        self.asked_at = 0.0
        mirror.tell(self._heard)

    @property
    def kept(self) -> Neighbourhoods | None:
        """What is remembered; None where it is not brought up to date at the moment. Another one is of another
        catalogue."""
        if self._kept.assortment is not self._mirror.assortment:
            self._kept = Neighbourhoods(self._mirror.assortment, REMEMBERED, NEWS)
        # A product that is not in memory has no place here, and nobody tells of it.
        return self._kept if self._mirror.settled and self._mirror.complete else None

    def at_once(self, anchors: Sequence[Anchor], limit: int) -> list[Hit] | None:
        """As :meth:`fetch`, from memory; None where the store has to be asked."""
        self.asked_at = time.monotonic()
        kept = self.kept
        if kept is None or limit > DEPTH:
            return None
        found = kept.hits(anchors, limit, self._clock())
        hits = [hit for near in found if near is not None for hit in near]
        return None if None in found else hits

    async def fetch(self, anchors: Sequence[Anchor], limit: int) -> list[Hit]:
        """Available neighbours; score = the anchor's weight x cosine, at most ``limit`` per anchor."""
        kept = self.kept
        if kept is None or limit > DEPTH:
            return await self._unremembered(anchors, limit)
        found = kept.hits(anchors, limit, self._clock())
        short = [anchor.id for anchor, near in zip(anchors, found, strict=True) if near is None]
        unknown = [id_ for id_ in short if id_ not in kept]
        read = await self.read(kept, unknown) if unknown else set()
        await self.search(kept, [id_ for id_ in short if id_ not in read])
        if kept is not self.kept:
            return await self._unremembered(anchors, limit)
        # What is missing or too short now is a page without them.
        return [hit for near in kept.hits(anchors, limit, self._clock()) for hit in near or ()]

    async def read(self, kept: Neighbourhoods, ids: Sequence[str]) -> set[str]:
        """Remembers what was stored of those products, where it can be brought up to date; returns these."""
        for id_, change_seq, nearest, vector in await self._store.nearest(ids):
            version = kept.news.at(change_seq)
            if version is not None and id_ not in kept:
                kept.put(id_, nearest, vector, version, stored=True)
        return {id_ for id_ in ids if id_ in kept}

    async def search(self, kept: Neighbourhoods, ids: Sequence[str]) -> None:
        """Remembers the neighbours of those products that the store finds."""
        if not ids:
            return
        # What is told from here on, the answer may not know.
        version, now = kept.news.version, self._clock()
        found = {one.id: one for one in await self._retrieval.neighbours(ids, DEPTH)}
        for id_ in ids:
            one = found.get(id_)
            kept.put(id_, _nearest(one, now), None if one is None else one.vector, version)

    async def _unremembered(self, anchors: Sequence[Anchor], limit: int) -> list[Hit]:
        """From the store: what is stored spares most searches while the catalogue is not in memory yet."""
        ids = {anchor.id: anchor for anchor in anchors}
        stored = await self._store.available(list(ids), limit) if limit <= DEPTH else []
        enough = [one for one in stored if one.whole or len(one.ids) >= limit]
        hits = [
            Hit(id_, ids[one.id].weight * cosine, one.id)
            for one in enough
            for id_, cosine in zip(one.ids, one.cosines, strict=True)
        ]
        known = {one.id for one in enough}
        others = [anchor for anchor in anchors if anchor.id not in known]
        if others:
            hits += [hit for hit in await self._retrieval.semantic(others, limit) if hit.id not in ids]
        return hits

    def _heard(self, product_id: str, vector: Halves) -> None:
        self._kept.heard(product_id, vector)


def _nearest(found: Neighbourhood | None, now: float) -> Nearest:
    """``found`` is None where the product is unknown, or not embedded."""
    if found is None:
        return Nearest((), (), whole=True, found_at=now)
    # A text that says nothing has no direction, and so no neighbours; those stand last, so before them all are here.
    near = [pair for pair in zip(found.ids, found.cosines, strict=True) if pair[1] == pair[1]]
    near.sort(key=lambda pair: (-pair[1], pair[0]))
    return Nearest([id_ for id_, _ in near], [cosine for _, cosine in near], len(near) < DEPTH, now)
