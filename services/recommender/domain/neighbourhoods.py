"""The nearest by text of many products, in arrays: who was found once, kept right by what can be found since.

A neighbour is a place in the assortment, so what is sold out is passed over without a look at its id.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.recommender.domain.assortment import DIMENSIONS, Assortment
from services.recommender.domain.candidates import Hit
from services.recommender.domain.signals import Anchor
from services.recommender.domain.textnews import Halves, TextNews, Vectors, directions

# More than a search wants of one product: some will be sold out. Less than hnsw.ef_search, so one go of the index, and
# each of them is a look at a product: 60 took 0.8 ms, 30 take 0.6.
DEPTH = 40
# An answer of which too much was sold out is asked for anew, but not all the time.
_SHORT_SECONDS = 2.0
# Of those asked for longest ago, so many go when there is no room.
_LEAVE = 1_000

Rows = npt.NDArray[np.int64]


class Nearest(NamedTuple):
    """Neighbours of one product by falling cosine; ``whole``: there are no others that may be shown."""

    ids: Sequence[str]
    cosines: Sequence[float]
    whole: bool
    # In seconds since 1970.
    found_at: float


class Neighbourhoods:
    """Of up to ``room`` products of one assortment."""

    def __init__(self, assortment: Assortment, room: int, news: int) -> None:
        self.assortment = assortment
        self.news = TextNews(news)
        self._room = room
        self._rows: dict[str, int] = {}
        # By row; a free one has none.
        self._ids: list[str] = []
        self._free: list[int] = []
        self._near = np.zeros((room, DEPTH), dtype=np.int32)
        self._cosines = np.zeros((room, DEPTH), dtype=np.float32)
        # As of this generation of the assortment: a place that was taken later is another product's.
        self._placed = np.zeros(room, dtype=np.int64)
        self._sizes = np.zeros(room, dtype=np.int64)
        self._whole = np.zeros(room, dtype=np.bool_)
        self._found_at = np.zeros(room)
        # The news that a row knows of, and knew of when it was stored; -1: never.
        self._versions = np.zeros(room, dtype=np.int64)
        self._stored = np.zeros(room, dtype=np.int64)
        # When it was asked for last, in a count of all askings.
        self._used = np.zeros(room, dtype=np.int64)
        self._uses = 0
        # What the store holds from before this moment, in seconds since 1970, lacks what the news do not tell.
        self.stored_since = 0.0
        # Of those whose texts are not in the assortment for want of room.
        self._vectors: dict[str, Halves] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, product_id: str) -> bool:
        return product_id in self._rows

    def heard(self, product_id: str, vector: Halves) -> None:
        """A product that can be found from now on; if it has neighbours, they may be others."""
        self.news.add(product_id, vector)
        self.drop(product_id)

    def drop(self, product_id: str) -> None:
        row = self._rows.pop(product_id, None)
        if row is not None:
            self._ids[row] = ""
            self._found_at[row] = 0.0
            self._vectors.pop(product_id, None)
            self._free.append(row)

    def put(self, product_id: str, nearest: Nearest, vector: Halves | None, version: int, stored: bool = False) -> None:
        """Those of a product as of ``version`` of the news. ``vector`` is of its text; None: as in the assortment."""
        assortment = self.assortment
        if version < self.news.version - self.news.room or self.news.last(product_id) >= version:
            return  # its own text may be another one by now
        if stored and nearest.found_at < self.stored_since:
            return
        self.drop(product_id)
        row = self._take(product_id)
        place = assortment.places.get(product_id, -1)
        if vector is not None and (place < 0 or assortment.lacks_vector[place]):
            self._vectors[product_id] = vector
        places = assortment.find(nearest.ids)
        known = np.flatnonzero(places >= 0)[:DEPTH]
        self._write(row, places[known], np.array(nearest.cosines, dtype=np.float32)[known])
        self._whole[row] = nearest.whole
        self._found_at[row] = nearest.found_at
        self._versions[row] = version
        self._stored[row] = version if stored else -1

    def hits(self, anchors: Sequence[Anchor], limit: int, now: float) -> list[list[Hit] | None]:
        """For each anchor its nearest that may be shown and are no anchors; None where a search may know of more."""
        rows = self._current([anchor.id for anchor in anchors])
        assortment, at = self.assortment, np.array([0 if row is None else row for row in rows], dtype=np.int64)
        own = assortment.find([anchor.id for anchor in anchors])
        near = self._near[at].astype(np.int64)
        shown = self._valid(at, near) & assortment.available(near, now) & (own >= 0)[:, None]
        shown &= (near[:, :, None] != own[own >= 0]).all(axis=2)
        shown &= shown.cumsum(axis=1) <= limit
        short = (shown.sum(axis=1) < limit) & ~self._whole[at] & (now >= self._found_at[at] + _SHORT_SECONDS)
        short &= own >= 0  # else deleted since
        result: list[list[Hit] | None] = [
            None if row is None or is_short else [] for row, is_short in zip(rows, short.tolist(), strict=True)
        ]
        scores = self._cosines[at] * np.array([anchor.weight for anchor in anchors])[:, None]
        ids = assortment.names(near[shown])
        for number, id_, score in zip(np.nonzero(shown)[0].tolist(), ids, scores[shown].tolist(), strict=True):
            hits = result[number]
            if hits is not None:
                hits.append(Hit(id_, score, anchors[number].id))
        return result

    def bring(self, rows: Rows) -> set[int]:
        """Brings rows up to date with the news; returns those for which they are too many, and forgets these."""
        behind = self.news.version - self._versions[rows]
        lost = set(rows[behind > self.news.room].tolist())
        for row in lost:
            self.drop(self._ids[row])
        rows = rows[(behind > 0) & (behind <= self.news.room)]
        if len(rows):
            ids, vectors = self.news.since(int(self._versions[rows].min()))
            self._versions[rows] = self.news.version
            self._catch_up(rows, self.assortment.find(ids), vectors)
        return lost

    def outdated(self, news: int, found_before: float, limit: int) -> tuple[list[str], list[str]]:
        """The products whose neighbours were not stored yet, or know of so many more ``news`` since; and those that
        were found longer ago than that. Up to ``limit`` of each."""
        size = len(self._ids)
        found_at, stored = self._found_at[:size], self._stored[:size]
        unlike = (found_at > 0) & ((stored < 0) | (self.news.version - stored > news))
        old = (found_at > 0) & (found_at < found_before)
        unlike_rows, old_rows = (np.flatnonzero(which)[:limit].tolist() for which in (unlike, old))
        return [self._ids[row] for row in unlike_rows], [self._ids[row] for row in old_rows]

    def current(self, ids: Sequence[str]) -> list[tuple[str, Nearest]]:
        """Those of these products that are known, as of the version of this moment."""
        self.bring(np.array([self._rows[id_] for id_ in ids if id_ in self._rows], dtype=np.int64))
        return [(id_, self._nearest(self._rows[id_])) for id_ in ids if id_ in self._rows]

    def stored(self, ids: Sequence[str], version: int) -> None:
        """What ``current`` told at ``version`` is stored."""
        for id_ in ids:
            if (row := self._rows.get(id_)) is not None:
                self._stored[row] = version

    def _current(self, ids: Sequence[str]) -> list[int | None]:
        """Where those of each product are, brought up to date; None where nothing is known, or too little."""
        rows = [self._rows.get(id_) for id_ in ids]
        found = np.array([row for row in rows if row is not None], dtype=np.int64)
        self._uses += 1
        self._used[found] = self._uses
        lost = self.bring(found)
        return [None if row in lost else row for row in rows] if lost else rows

    def _nearest(self, row: int) -> Nearest:
        valid = self._valid(np.array([row]), self._near[row][None])[0]
        names = self.assortment.names(self._near[row][valid])
        cosines = self._cosines[row][valid].tolist()
        return Nearest(names, cosines, bool(self._whole[row]), float(self._found_at[row]))

    def _catch_up(self, rows: Rows, places: Rows, vectors: Vectors) -> None:
        """``places`` are of the news, -1 where one is gone again, ``vectors`` their directions."""
        places, vectors = places[places >= 0], vectors[places >= 0]
        own, known = self._directions(rows)
        cosines: Vectors = own @ vectors.T
        last = self._cosines[rows, np.maximum(self._sizes[rows] - 1, 0)]
        # Where all of them left, nothing says any more how near is near enough: it is searched for again.
        least = np.where(self._sizes[rows] == 0, np.float32(np.inf), last)
        least[self._whole[rows]] = -1.0
        closer = cosines >= least[:, None]
        near = self._near[rows]
        valid, told = self._valid(rows, near), np.isin(near, places)
        stay = valid & ~told
        for number in np.flatnonzero(known & (closer.any(axis=1) | (valid & told).any(axis=1))).tolist():
            new = closer[number]
            self._insert(int(rows[number]), stay[number], places[new], cosines[number, new])

    def _insert(self, row: int, stay: npt.NDArray[np.bool_], places: Rows, cosines: Vectors) -> None:
        """Puts others in among those that ``stay``."""
        all_places = np.concatenate((self._near[row, stay], places))
        all_cosines = np.concatenate((self._cosines[row, stay], cosines))
        names = self.assortment.names(all_places)
        keys = list(zip((-all_cosines).tolist(), names, strict=True))
        order = sorted(range(len(keys)), key=keys.__getitem__)
        self._whole[row] = self._whole[row] and len(order) <= DEPTH
        self._write(row, all_places[order[:DEPTH]], all_cosines[order[:DEPTH]])

    def _directions(self, rows: Rows) -> tuple[Vectors, npt.NDArray[np.bool_]]:
        """Of the products' own texts, and which of them have one."""
        ids = [self._ids[row] for row in rows.tolist()]
        places = self.assortment.find(ids)
        known = (places >= 0) & (self.assortment.lengths[places] > 0)
        result = np.zeros((len(ids), DIMENSIONS), dtype=np.float32)
        result[known] = directions(self.assortment.vectors[places[known]])
        if self._vectors:
            for number, id_ in enumerate(ids):
                if (vector := self._vectors.get(id_)) is not None:
                    result[number] = directions(vector[None])[0]
                    known[number] = bool(vector.any())
        return result, known

    def _valid(self, rows: Rows, near: npt.NDArray[np.integer]) -> npt.NDArray[np.bool_]:
        """Which of ``near``, a line for each row, are neighbours, and still what they were."""
        valid: npt.NDArray[np.bool_] = np.arange(DEPTH) < self._sizes[rows][:, None]
        valid &= self.assortment.taken[near] <= self._placed[rows][:, None]
        return valid

    def _write(self, row: int, places: Rows, cosines: Vectors) -> None:
        size = len(places)
        self._near[row, :size] = places
        self._cosines[row, :size] = cosines
        self._sizes[row] = size
        self._placed[row] = self.assortment.generation

    def _take(self, product_id: str) -> int:
        if not self._free and len(self._ids) == self._room:
            oldest = np.argsort(self._used[: self._room])[: max(1, min(_LEAVE, self._room // 4))]
            for leaves in oldest.tolist():
                self.drop(self._ids[leaves])
        if self._free:
            row = self._free.pop()
            self._ids[row] = product_id
        else:
            row = len(self._ids)
            self._ids.append(product_id)
        self._rows[product_id] = row
        self._used[row] = self._uses
        return row
