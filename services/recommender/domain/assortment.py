"""Every product of the catalogue in arrays: what a page reads of its candidates without asking anybody."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import repeat

import numpy as np
import numpy.typing as npt

from services.recommender.domain.product_row import Digests, ProductRow
from services.recommender.domain.signals import Card

Floats = npt.NDArray[np.float64]
Places = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

# Of a text's embedding.
DIMENSIONS = 256

# Of 100. Everything decays all the time: one product of twenty would move by a hundredth from one copy to the next.
_POPULARITY_STEP = 0.05


class Names:
    """Strings that many products share, by code; code 0 is the empty one."""

    def __init__(self) -> None:
        self.all: list[str] = [""]
        self._codes: dict[str, int] = {"": 0}

    def code(self, name: str) -> int:
        """That of ``name``, a new one if need be."""
        code = self._codes.get(name)
        if code is None:
            code = self._codes[name] = len(self.all)
            self.all.append(name)
        return code


class Assortment:
    """A place in every array for each product, found by id. Not thread-safe: the event loop's alone.

    The arrays have their full size from the beginning: memory that nothing was written to is none. ``capacity``
    products fit in, and the texts of those in the first ``texts`` places; what does not fit is not there.
    """

    def __init__(self, capacity: int, texts: int) -> None:
        # Rises with every change of what is here but for prices: a row that comes, becomes another one or leaves, a
        # product that comes into stock or is sold out. ``changed`` is what it was after the last change of a place,
        # ``came`` what it was after the last one of something that could not be found before.
        self.generation = 0
        self.changed = np.zeros(capacity, dtype=np.int64)
        # What ``generation`` was when another product came to a place, or the one that had it left: whoever remembers
        # the place from before looks for the product again, which may be back in another one.
        self.taken = np.zeros(capacity, dtype=np.int64)
        self.came = 0
        # Rise with copied scores, and with prices and their categories; ``repriced`` is what the latter was after the
        # last change of a place.
        self.scored = 0
        self.priced = 0
        self.repriced = np.zeros(capacity, dtype=np.int64)
        self.places: dict[str, int] = {}
        self.categories = Names()
        self.brands = Names()
        self.category = np.zeros(capacity, dtype=np.int32)
        self.brand = np.zeros(capacity, dtype=np.int32)
        self.price = np.zeros(capacity)
        self.popularity = np.zeros(capacity)
        self.trend = np.zeros(capacity)
        self.rating = np.zeros(capacity)
        self.vectors = np.zeros((texts, DIMENSIONS), dtype=np.float16)
        # Of the embeddings in ``vectors``: 0 where there is none, or one of no direction.
        self.lengths = np.zeros(capacity, dtype=np.float32)
        # Whether there is an embedding that is not in ``vectors``.
        self.lacks_vector = np.zeros(capacity, dtype=np.bool_)
        self._has_text = np.zeros(capacity, dtype=np.bool_)
        self._capacity = capacity
        self._texts = texts
        self._quantity = np.zeros(capacity, dtype=np.int64)
        self._threshold = np.zeros(capacity, dtype=np.int64)
        self._begins = np.zeros(capacity)
        self._ends = np.zeros(capacity)
        self._versions = np.full(capacity, -1, dtype=np.int64)
        # The digests of the last row.
        self._told = np.zeros(capacity, dtype=np.int64)
        self._times = np.zeros(capacity, dtype=np.int64)
        self._priced = np.zeros(capacity, dtype=np.int64)
        # By place; a free one has none.
        self._ids: list[str] = []
        self._titles: list[str] = []
        # Made when first asked for: most products are never anybody's history.
        self._cards: list[Card | None] = []
        self._digests: list[bytes] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self.places)

    @property
    def full(self) -> bool:
        """Whether there is no room for another product."""
        return len(self.places) >= self._capacity

    def emptied(self) -> Assortment:
        """Another one with the same room and nothing in it."""
        return Assortment(self._capacity, self._texts)

    @property
    def crowded(self) -> bool:
        """Whether there may be texts that are not here for want of room."""
        return len(self._titles) > self._texts

    def put(self, rows: Sequence[ProductRow]) -> list[ProductRow]:
        """Takes rows in, in place of what was there; returns those with a text that is new here."""
        new_texts = []
        for row in rows:
            place = self.places.get(row.id)
            if place is None:
                place = self._take_place(row)
                if place is None:
                    continue
            elif self._digests[place] == row.text_digest and self._has_text[place]:
                self._write(place, row)
                continue
            self._write(place, row)
            self._write_text(place, row)
            self._touch(place, came=True)
            if row.vector is not None:
                new_texts.append(row)
        return new_texts

    def agree(self, row: ProductRow) -> bool:
        """Makes what is here agree with a row whose scores and vector are left out, if a price and a stock are all that
        this takes, and says whether it does now. A ``change_seq`` of 0: the product was stored like that before."""
        place = self.places.get(row.id)
        if place is None or not self._has_text[place] or self._digests[place] != row.text_digest:
            return False
        if self._versions[place] >= row.change_seq > 0:
            return True  # it is newer
        told, times, priced = Digests.of(row)
        if told != self._told[place] or times != self._times[place]:
            return False
        if (row.available_quantity > 0) != (self._quantity[place] > 0):
            return False
        if row.change_seq == 0:
            return bool(priced == self._priced[place])
        self._reprice(place, priced)
        self._cards[place] = None
        self.price[place] = math.nan if row.price is None else row.price
        self._quantity[place] = row.available_quantity
        self._versions[place] = row.change_seq
        return True

    def version(self, product_id: str) -> int:
        """The ``change_seq`` of a product's row; -1 where it is not here."""
        place = self.places.get(product_id)
        return -1 if place is None else int(self._versions[place])

    def drop(self, product_id: str) -> None:
        """Forgets a product; its place is free."""
        place = self.places.pop(product_id, None)
        if place is not None:
            self._touch(place)
            self.taken[place] = self.generation
            self.priced += 1
            self._free.append(place)
            self._ids[place] = self._titles[place] = ""
            self._cards[place], self._digests[place] = None, b""
            self._versions[place] = -1
            self._quantity[place] = 0
            self._told[place] = self._times[place] = self._priced[place] = 0
            self._has_text[place] = self.lacks_vector[place] = False
            self.lengths[place] = 0.0

    def count(self, product_id: str, quantity: int) -> None:
        """Sets a product's stock, if it is here."""
        place = self.places.get(product_id)
        if place is not None:
            before = self._quantity[place]
            self._quantity[place] = quantity
            if (before == 0) != (quantity == 0):
                self._touch(place, came=quantity > 0)

    def sold_out(self, product_id: str) -> bool:
        """Whether it is here without stock."""
        place = self.places.get(product_id)
        return place is not None and bool(self._quantity[place] == 0)

    def unlike(self, ids: Sequence[str], popularity: Floats, trend: Floats, rating: Floats) -> Flags:
        """Which copied scores are worth copying again: those that differ from what is here, or are not here. A NaN says
        nothing, and a popularity that fell a little all by itself orders nothing anew."""
        places = self.find(ids)
        near = np.abs(self.popularity[places] - popularity) < _POPULARITY_STEP
        near &= (popularity == 0) == (self.popularity[places] == 0)
        differs = (places < 0) | ~(near | np.isnan(popularity))
        for column, values in ((self.trend, trend), (self.rating, rating)):
            differs |= ~np.isnan(values) & (column[places] != values)
        return differs

    def score(self, ids: Sequence[str], popularity: Floats, trend: Floats, rating: Floats) -> None:
        """Sets copied scores; a NaN leaves what is there."""
        places = self.find(ids)
        self.scored += 1
        for column, values in ((self.popularity, popularity), (self.trend, trend), (self.rating, rating)):
            known = (places >= 0) & ~np.isnan(values)
            column[places[known]] = values[known]

    def between(self, start: int, end: int) -> list[str]:
        """The products in these places; fewer where some are free, or the last one is passed."""
        return [id_ for id_ in self._ids[start:end] if id_]

    def names(self, places: Places) -> list[str]:
        """The products in these places; a free one has none."""
        return [self._ids[place] for place in places.tolist()]

    @property
    def reach(self) -> int:
        """No place that is taken is above this."""
        return len(self._ids)

    def find(self, ids: Sequence[str]) -> Places:
        """The place of each id; -1 where it is not here."""
        return np.fromiter(map(self.places.get, ids, repeat(-1)), dtype=np.int64, count=len(ids))

    def differing(self, ids: Sequence[str], versions: Sequence[int]) -> list[str]:
        """Those whose rows are not of these versions (their ``change_seq``), or not here."""
        places = self.find(ids)
        differs = (places < 0) | (self._versions[places] != np.array(versions, dtype=np.int64))
        return [ids[number] for number in np.flatnonzero(differs).tolist()]

    def available(self, places: Places, now: float) -> Flags:
        """Which may be recommended at ``now``, as far as is known here; never those at -1."""
        flags: Flags = (self._quantity[places] > 0) & (self._begins[places] <= now) & (self._ends[places] > now)
        return flags & (places >= 0)

    def is_available(self, product_id: str, now: float) -> bool:
        """The same of one product."""
        place = self.places.get(product_id, -1)
        return place >= 0 and bool(self._quantity[place] > 0 and self._begins[place] <= now < self._ends[place])

    def begun(self, since: float, now: float) -> list[str]:
        """The products in stock whose time came after ``since``, until ``now``."""
        size = len(self._titles)
        began = (self._begins[:size] > since) & (self._begins[:size] <= now) & (self._quantity[:size] > 0)
        return [id_ for place in np.flatnonzero(began).tolist() if (id_ := self._ids[place])]

    def begun_last(self, since: float, now: float, limit: int) -> tuple[list[str], float]:
        """As :meth:`begun`, but those whose time came last, up to ``limit``, and since when these are all."""
        size = len(self._titles)
        begins = self._begins[:size]
        places = ((begins > since) & (begins <= now) & (self._quantity[:size] > 0)).nonzero()[0]
        if len(places) > limit:
            times = begins[places]
            since = float(np.partition(times, -limit - 1)[-limit - 1])
            places = places[times > since]
        return self.names(places), since

    def low_stock(self, places: Places) -> Flags:
        flags: Flags = self._quantity[places] <= self._threshold[places]
        return flags

    def card(self, product_id: str) -> Card | None:
        """What is shown and counted of a product; None where it is not here."""
        place = self.places.get(product_id)
        if place is None:
            return None
        card = self._cards[place]
        if card is None:
            price = float(self.price[place])
            card = self._cards[place] = Card(
                product_id,
                self._titles[place],
                self.categories.all[self.category[place]],
                self.brands.all[self.brand[place]],
                None if math.isnan(price) else price,
            )
        return card

    def _take_place(self, row: ProductRow) -> int | None:
        if self._free:
            place = self._free.pop()
            self._ids[place] = row.id
        elif len(self._titles) < self._capacity:
            place = len(self._titles)
            self._ids.append(row.id)
            self._titles.append("")
            self._cards.append(None)
            self._digests.append(b"")
        else:
            return None
        self.places[row.id] = place
        self.generation += 1
        self.taken[place] = self.generation
        return place

    def _write(self, place: int, row: ProductRow) -> None:
        self._notice(place, row)
        self._titles[place] = row.title
        self._cards[place] = None
        self.category[place] = self.categories.code(row.top_category)
        self.brand[place] = self.brands.code(row.brand)
        self.price[place] = math.nan if row.price is None else row.price
        self.popularity[place] = math.nan if row.popularity is None else row.popularity
        self.trend[place] = math.nan if row.trend is None else row.trend
        self.rating[place] = math.nan if row.rating is None else row.rating
        self._versions[place] = row.change_seq
        self._quantity[place] = row.available_quantity
        self._threshold[place] = row.low_stock_threshold
        self._begins[place] = -math.inf if row.available_time is None else row.available_time
        self._ends[place] = math.inf if row.expire_time is None else row.expire_time

    def _notice(self, place: int, row: ProductRow) -> None:
        """Counts what a row changes: the same one, read again, changes nothing."""
        told, times, priced = Digests.of(row)
        was, is_ = self._quantity[place] > 0, row.available_quantity > 0
        came = bool(is_ and (not was or times != self._times[place]))
        if was != is_ or told != self._told[place] or times != self._times[place]:
            self._touch(place, came)
        self._reprice(place, priced)
        self._told[place], self._times[place] = told, times

    def _reprice(self, place: int, priced: int) -> None:
        if priced != self._priced[place]:
            self.priced += 1
            self.repriced[place] = self.priced
            self._priced[place] = priced

    def _touch(self, place: int, came: bool = False) -> None:
        self.generation += 1
        self.changed[place] = self.generation
        if came:
            self.came = self.generation

    def _write_text(self, place: int, row: ProductRow) -> None:
        self._digests[place] = row.text_digest
        fits = place < self._texts
        self._has_text[place] = row.vector is not None
        self.lacks_vector[place] = not fits and row.vector is not None
        self.lengths[place] = 0.0
        if fits and row.vector is not None:
            self.vectors[place] = row.vector
            self.lengths[place] = np.linalg.norm(row.vector.astype(np.float32))
