"""Orders of pages that were worked out a moment ago, for shoppers who did nothing since.

What is remembered is what scoring and selection said, never whether a product may be shown: the final check of the page
asks the store as ever. An order counts only as long as everything that decides it is the same: the request, the serving
config, the model version, the shopper's facts as they are read for each page (so one's own click makes another order at
once), and of the catalogue what was looked at. What only drifts (ages in days, lists that are the same for everyone,
copied scores) may be older by the minute that an order is kept at the most.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from services.recommender.domain.assortment import Assortment
from services.recommender.domain.candidates import Candidate
from services.recommender.domain.deciding import Choice
from services.recommender.domain.serving import ServingConfig
from services.recommender.domain.shoppers import Shopper
from services.recommender.domain.signals import UserSignals
from services.recommender.pipeline.context import Ask
from services.recommender.pipeline.finishing import SPARE

# In the measured traffic four of ten pages are found within a minute, five within two.
_SECONDS = 60.0
# Lists that are the same for everyone lag behind what is new by two: an order of that time would keep the lag.
_CALM_SECONDS = 3.0
# Some kB each.
_REMEMBERED = 8_000

Places = npt.NDArray[np.int64]


class Catalogue(Protocol):
    """What is in memory of the catalogue, see :class:`~.mirror.Mirror`."""

    @property
    def assortment(self) -> Assortment: ...

    @property
    def complete(self) -> bool: ...

    @property
    def settled(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Order:
    """The first products of a page and those that stand in for them, an element of each for every one; chosen from so
    many ``candidates``. In tuples of texts and numbers, which collections of garbage pass over."""

    ids: tuple[str, ...]
    scores: tuple[float, ...]
    reasons: tuple[tuple[str, ...], ...]
    candidates: int

    @classmethod
    def of(cls, choices: Sequence[tuple[Choice, tuple[str, ...]]], candidates: int) -> Order:
        """Each choice with its reasons."""
        return cls(
            tuple([choice.candidate.id for choice, _ in choices]),
            tuple([choice.score for choice, _ in choices]),
            tuple([reasons for _, reasons in choices]),
            candidates,
        )

    def choices(self) -> list[Choice]:
        """With their reasons, but without traces."""
        every = zip(self.ids, self.scores, self.reasons, strict=True)
        return [Choice(Candidate(id_, 0.0, ()), score, "", reasons=reasons) for id_, score, reasons in every]


@dataclass(frozen=True, slots=True)
class Basis:
    """What an order is of, and when its making began: ``generation`` and ``priced`` are the assortment's."""

    ask: Ask
    config: ServingConfig
    model: str
    signals: UserSignals
    generation: int
    priced: int
    since: float


@dataclass(frozen=True, slots=True)
class _Entry:
    basis: Basis
    # In the assortment: the candidates and the shopper's own products.
    places: Places
    # Whether their prices count.
    prices: bool
    order: Order


class RememberedOrders:
    """By request; the least lately used go first."""

    def __init__(
        self,
        catalogue: Catalogue,
        erased_lately: Callable[[Shopper], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``erased_lately`` tells of whom nothing may be remembered; ``clock`` counts seconds."""
        self._catalogue = catalogue
        self._erased_lately = erased_lately
        self._clock = clock
        self._kept: OrderedDict[Ask, _Entry] = OrderedDict()
        self._assortment = catalogue.assortment
        # The last arrival, and since when it is known to be the last.
        self._came = 0
        self._calm_since = clock()

    def basis(self, ask: Ask, config: ServingConfig, model: str, signals: UserSignals) -> Basis | None:
        """To look an order up by, and to keep it under if there is none; None where nothing is remembered: parts of a
        longer list, what is explained, what is about products; and while the memory of the catalogue is behind."""
        if ask.product_ids or ask.excluded or ask.shown or ask.explain:
            return None
        catalogue, now = self._catalogue, self._clock()
        if not (catalogue.complete and catalogue.settled):
            return None
        assortment = catalogue.assortment
        if assortment is not self._assortment:
            self._assortment = assortment
            self._kept.clear()
        if assortment.came != self._came:
            self._came, self._calm_since = assortment.came, now
        return Basis(ask, config, model, signals, assortment.generation, assortment.priced, now)

    def find(self, basis: Basis) -> Order | None:
        """What was worked out on the same basis."""
        entry = self._kept.get(basis.ask)
        if entry is None:
            return None
        if not self._holds(entry, basis):
            del self._kept[basis.ask]
            return None
        self._kept.move_to_end(basis.ask)
        return entry.order

    def keep(
        self,
        basis: Basis,
        choices: Sequence[tuple[Choice, tuple[str, ...]]],
        candidates: Places,
        own: Sequence[str],
        prices: bool,
    ) -> None:
        """Remembers the first ``choices``, with their reasons, that were made of ``candidates`` (places in the
        assortment), and their ``prices``, for somebody with a history of ``own`` products."""
        assortment = self._catalogue.assortment
        calm = basis.since - self._calm_since >= _CALM_SECONDS and assortment.came == self._came
        if not calm or assortment is not self._assortment or self._may_not_remember(basis.ask):
            return
        places = np.concatenate((candidates, assortment.find(own)))
        self._kept[basis.ask] = _Entry(basis, places[places >= 0], prices, Order.of(choices, len(candidates)))
        self._kept.move_to_end(basis.ask)
        while len(self._kept) > _REMEMBERED:
            self._kept.popitem(last=False)

    def forget(self, erased: Callable[[Shopper], bool]) -> int:
        """Forgets those of whom ``erased`` is true; returns 0: it is their signals that are counted."""
        gone = [ask for ask in self._kept if (shopper := _shopper(ask)) is not None and erased(shopper)]
        for ask in gone:
            del self._kept[ask]
        return 0

    def _holds(self, entry: _Entry, basis: Basis) -> bool:
        before = entry.basis
        if basis.since - before.since > _SECONDS or self._assortment.came > before.generation:
            return False
        if basis.model != before.model or not _alike(basis.config, before.config):
            return False
        if not _same(basis.signals, before.signals):
            return False
        if entry.prices and self._assortment.repriced[entry.places].max(initial=0) > before.priced:
            return False
        return bool(self._assortment.changed[entry.places].max(initial=0) <= before.generation)

    def _may_not_remember(self, ask: Ask) -> bool:
        shopper = _shopper(ask)
        return shopper is not None and self._erased_lately(shopper)


# Beside the page itself: one that says whether there is another page, and those that stand in.
def head(page_size: int) -> int:
    """How many choices of a page are remembered."""
    return page_size + 1 + SPARE


def _shopper(ask: Ask) -> Shopper | None:
    id_ = ask.user_id or ask.visitor_id
    return Shopper(id_, guest=not ask.user_id) if id_ else None


def _alike(one: ServingConfig, other: ServingConfig) -> bool:
    return one is other or one == other


def _same(one: UserSignals, other: UserSignals) -> bool:
    # What was read of somebody who did nothing is often the very same.
    return one is other or (one == other and np.array_equal(one.bought_table, other.bought_table))
