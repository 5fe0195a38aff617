"""Neighbours by text, remembered product by product: shoppers look at the same products, and their texts hardly change.

A remembered answer stays right: what the mirror tells of (a new text, a product that came into stock) is compared with
it before it is used again, and what is sold out is passed over.
"""

from __future__ import annotations

import sys
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.recommender.domain.assortment import DIMENSIONS
from services.recommender.domain.candidates import Hit
from services.recommender.domain.signals import Anchor
from services.recommender.pipeline.mirror import Mirror
from services.recommender.ranking_ports import Neighbourhood, Retrieval

# More than a search wants of one product: some will be sold out. Less than hnsw.ef_search, so one go of the index, and
# each of them is a look at a product: 60 took 0.8 ms, 30 take 0.6.
_DEPTH = 40
# Less than 2 kB each.
_REMEMBERED = 40_000
# Of so many news an answer may lag behind. Longer ago, after an import for example, it is asked for anew.
_NEWS = 1_024
# What nobody told of, such as a better graph; or a new product, where not all of them fit into memory.
_SECONDS = 14_400.0
_PARTLY_SECONDS = 900.0
# An answer of which too much was sold out is asked for anew, but not all the time.
_SHORT_SECONDS = 2.0

Vector = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]


@dataclass(slots=True)
class _Remembered:
    """The nearest of one product, by falling cosine; ``version`` counts the news that it knows of."""

    ids: list[str]
    cosines: array[float]
    # Of its text; None: the product is unknown, or its text says nothing.
    vector: Halves | None
    # Whether there are no others that may be shown.
    all: bool
    version: int
    read_at: float


class TextNeighbours:
    """In front of :meth:`Retrieval.semantic`."""

    def __init__(self, retrieval: Retrieval, mirror: Mirror, clock: Callable[[], float] = time.time) -> None:
        self._retrieval = retrieval
        self._mirror = mirror
        self._clock = clock
        self._kept: OrderedDict[str, _Remembered] = OrderedDict()
        # What was remembered is of this one.
        self._assortment = mirror.assortment
        # The last ``_NEWS`` of all ``_version`` news, in a ring.
        self._version = 0
        self._news = [""] * _NEWS
        self._vectors = np.zeros((_NEWS, DIMENSIONS), dtype=np.float32)
        mirror.tell(self._heard)

    def at_once(self, anchors: Sequence[Anchor], limit: int) -> list[Hit] | None:
        """As :meth:`fetch`, from memory; None where the store has to be asked."""
        if limit > _DEPTH or not self._usable():
            return None
        now = self._clock()
        kept = [self._current(anchor.id, now) for anchor in anchors]
        hits: list[Hit] = []
        for anchor, entry in zip(anchors, kept, strict=True):
            found = None if entry is None else self._hits(anchor, entry, anchors, limit, now)
            if found is None:
                return None
            hits += found
        return hits

    async def fetch(self, anchors: Sequence[Anchor], limit: int) -> list[Hit]:
        """Available neighbours; score = the anchor's weight x cosine, at most ``limit`` per anchor."""
        if limit > _DEPTH or not self._usable():
            return await self._retrieval.semantic(anchors, limit)
        now = self._clock()
        missing = [
            anchor.id
            for anchor in anchors
            if (entry := self._current(anchor.id, now)) is None
            or self._hits(anchor, entry, anchors, limit, now) is None
        ]
        # What is told from here on, the answer may not know.
        version, assortment = self._version, self._assortment
        found = {one.id: one for one in await self._retrieval.neighbours(missing, _DEPTH)}
        if assortment is not self._mirror.assortment:
            return await self._retrieval.semantic(anchors, limit)
        for id_ in missing:
            self._remember(id_, _entry(found.get(id_), version, now))
        # Forgotten again meanwhile at worst: then it is a page without them.
        entries = [(anchor, self._current(anchor.id, now)) for anchor in anchors]
        parts = [self._hits(a, entry, anchors, limit, now) for a, entry in entries if entry is not None]
        return [hit for part in parts if part is not None for hit in part]

    def _usable(self) -> bool:
        """Whether what is remembered is brought up to date; forgets what is of another catalogue."""
        if self._assortment is not self._mirror.assortment:
            self._assortment = self._mirror.assortment
            self._kept.clear()
        return self._mirror.settled

    def _hits(
        self, anchor: Anchor, entry: _Remembered, anchors: Sequence[Anchor], limit: int, now: float
    ) -> list[Hit] | None:
        """The nearest that may be shown; None where the store may know of more."""
        assortment = self._mirror.assortment
        if self._mirror.complete and anchor.id not in assortment.places:
            return []  # deleted since
        others = {other.id for other in anchors}
        hits: list[Hit] = []
        # Mostly the first of them are enough.
        for start, end in ((0, 2 * limit), (2 * limit, len(entry.ids))):
            ids = entry.ids[start:end]
            places = assortment.find(ids)
            shown = assortment.available(places, now)
            if not self._mirror.complete:
                shown |= places < 0
            for row in np.flatnonzero(shown).tolist():
                if ids[row] not in others:
                    hits.append(Hit(ids[row], anchor.weight * entry.cosines[start + row], anchor.id))
                    if len(hits) == limit:
                        return hits
        return hits if entry.all or now < entry.read_at + _SHORT_SECONDS else None

    def _current(self, product_id: str, now: float) -> _Remembered | None:
        """What is remembered of a product, brought up to date; None where that cannot be done."""
        entry = self._kept.get(product_id)
        if entry is None:
            return None
        behind = self._version - entry.version
        lasts = _SECONDS if self._mirror.complete else _PARTLY_SECONDS
        if behind > _NEWS or now > entry.read_at + lasts:
            del self._kept[product_id]
            return None
        self._kept.move_to_end(product_id)
        if behind:
            self._catch_up(entry)
        return entry

    def _catch_up(self, entry: _Remembered) -> None:
        slots = np.arange(entry.version, self._version) % _NEWS
        entry.version = self._version
        if entry.vector is None:
            return
        cosines = (self._vectors[slots] @ _direction(entry.vector)).tolist()
        # The last news of a product counts.
        news = {self._news[slot]: cosine for slot, cosine in zip(slots.tolist(), cosines, strict=True)}
        known = dict(zip(entry.ids, entry.cosines, strict=True))
        least = -1.0 if entry.all or not entry.cosines else entry.cosines[-1]
        if max(news.values()) < least and known.keys().isdisjoint(news):
            return
        known = {id_: cosine for id_, cosine in known.items() if id_ not in news}
        known |= {id_: cosine for id_, cosine in news.items() if cosine >= least}
        ranked = sorted(known.items(), key=lambda item: (-item[1], item[0]))
        entry.all = entry.all and len(ranked) <= _DEPTH
        entry.ids = [id_ for id_, _ in ranked[:_DEPTH]]
        entry.cosines = array("f", (cosine for _, cosine in ranked[:_DEPTH]))

    def _remember(self, product_id: str, entry: _Remembered) -> None:
        slots = np.arange(entry.version, self._version) % _NEWS
        if len(slots) >= _NEWS or product_id in {self._news[slot] for slot in slots.tolist()}:
            # Its own text may be another one by now.
            return
        self._kept[product_id] = entry
        if len(self._kept) > _REMEMBERED:
            self._kept.popitem(last=False)

    def _heard(self, product_id: str, vector: Halves) -> None:
        slot = self._version % _NEWS
        self._news[slot] = product_id
        self._vectors[slot] = _direction(vector)
        self._version += 1
        self._kept.pop(product_id, None)


def _entry(found: Neighbourhood | None, version: int, now: float) -> _Remembered:
    if found is None:
        return _Remembered([], array("f"), None, all=True, version=version, read_at=now)
    # A text that says nothing has no direction, and so no neighbours.
    near = [pair for pair in zip(found.ids, found.cosines, strict=True) if pair[1] == pair[1]]
    near.sort(key=lambda pair: (-pair[1], pair[0]))
    return _Remembered(
        # The same neighbours come again and again.
        [sys.intern(id_) for id_, _ in near],
        array("f", (cosine for _, cosine in near)),
        found.vector if found.vector.any() else None,
        all=len(found.ids) < _DEPTH,
        version=version,
        read_at=now,
    )


def _direction(vector: Halves) -> Vector:
    """Of length 1; zeros stay."""
    single = vector.astype(np.float32)
    length = float(np.linalg.norm(single))
    return single / np.float32(length) if length > 0 else single
