"""What a scorer reads of candidates, in columns: from the assortment in memory, and what the store was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from services.recommender.domain.assortment import Assortment, Flags, Floats, Names, Places
from services.recommender.domain.prices import percentile
from services.recommender.domain.signals import Anchor
from services.recommender.ranking_ports import FactRow

Vectors = npt.NDArray[np.float32]


class Columns:
    """Of the candidates that are available, an element each; ``kept`` are their positions among all, ``places`` theirs
    in the assortment."""

    def __init__(
        self,
        assortment: Assortment,
        ids: Sequence[str],
        places: Places,
        asked: Sequence[str],
        rows: Sequence[FactRow],
        now: float,
    ) -> None:
        """``places`` are those in the assortment. ``rows`` are what the store said of those ``asked``: available ones
        alone. The others are in memory."""
        self._assortment = assortment
        available = assortment.available(places, now)
        by_id = {row.card.id: row for row in rows}
        if asked:
            among = set(asked)
            for position, id_ in enumerate(ids):
                if id_ in among:
                    available[position] = id_ in by_id
        self.kept = available.nonzero()[0]
        self.places = places[self.kept]
        own = (
            ((number, by_id.get(ids[position])) for number, position in enumerate(self.kept.tolist())) if by_id else ()
        )
        self._rows = [(number, row) for number, row in own if row is not None]

    def categories(self) -> list[str]:
        return self._names(self._assortment.categories, self._assortment.category, lambda row: row.card.top_category)

    def brands(self) -> list[str]:
        return self._names(self._assortment.brands, self._assortment.brand, lambda row: row.card.brand)

    def popularity(self) -> Floats:
        return self._numbers(self._assortment.popularity, lambda row: row.popularity)

    def rating(self) -> Floats:
        return self._numbers(self._assortment.rating, lambda row: row.rating)

    def low_stock(self) -> Flags:
        flags = self._assortment.low_stock(self.places)
        for number, row in self._rows:
            flags[number] = row.low_stock
        return flags

    def price_percentile(self, bands: Mapping[str, Sequence[float]]) -> Floats:
        """Within the top-level category, see :func:`~services.recommender.domain.prices.percentile`."""
        prices = self._numbers(self._assortment.price, lambda row: row.card.price)
        names = self.categories()
        return np.array(
            [percentile(name, price, bands) for name, price in zip(names, prices.tolist(), strict=True)],
            dtype=np.float64,
        )

    def similarity(self, anchors: Sequence[Anchor]) -> Floats:
        """The largest weighted cosine of texts to an anchor; NaN where a text, or all of theirs, is unknown."""
        places = self._assortment.find([anchor.id for anchor in anchors])
        known = (places >= 0) & (self._assortment.lengths[places] > 0)
        result = np.full(len(self.kept), np.nan)
        if known.any():
            weights = np.array([anchor.weight for anchor in anchors])[known]
            around = self._directions(places[known]) * weights.astype(np.float32)[:, None]
            with_text = (self.places >= 0) & (self._assortment.lengths[self.places] > 0)
            result[with_text] = (self._directions(self.places[with_text]) @ around.T).max(axis=1)
        for number, row in self._rows:
            result[number] = np.nan if row.similarity is None else row.similarity
        return result

    def vectors(self) -> Vectors | None:
        """One row each, zeros where there is none; None when there is none at all."""
        with_text = (self.places >= 0) & (self._assortment.lengths[self.places] > 0)
        result = np.zeros((len(self.kept), self._assortment.vectors.shape[1]), dtype=np.float32)
        result[with_text] = self._assortment.vectors[self.places[with_text]]
        for number, row in self._rows:
            result[number] = 0.0 if row.vector is None else row.vector
        return result if result.any() else None

    def _directions(self, places: npt.NDArray[np.int64]) -> Vectors:
        vectors = self._assortment.vectors[places].astype(np.float32)
        directions: Vectors = vectors / self._assortment.lengths[places][:, None]
        return directions

    def _numbers(self, column: Floats, of: Callable[[FactRow], float | None]) -> Floats:
        values: Floats = column[self.places]
        for number, row in self._rows:
            value = of(row)
            values[number] = np.nan if value is None else value
        return values

    def _names(self, names: Names, codes: npt.NDArray[np.int32], of: Callable[[FactRow], str]) -> list[str]:
        every = names.all
        values = [every[code] for code in codes[self.places].tolist()]
        for number, row in self._rows:
            values[number] = of(row)
        return values
