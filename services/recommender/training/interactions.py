"""Collects the event log's rows, and puts them beside the catalogue in the arrays that learning works on."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import numpy.typing as npt

from services.recommender.domain.everyone import GROUPS
from services.recommender.domain.interactions import EVENT_WEIGHTS, RATE
from services.recommender.domain.learned import Codes
from services.recommender.domain.product import Product
from services.recommender.ranking_ports import InteractionChunk
from services.recommender.training.learning.log import DAY, HALF_LIFE_DAYS, WEIGHTS, Catalogue, Log, Ratings

# Products that a version knows, those that count most: at some 1.3 kB each, as much as every server can hold in memory.
MOST_PRODUCTS = 100_000

# Devices that habits are learned for, those most used; and names beyond which they tell no devices apart.
_MOST_DEVICES = 20
_MOST_NAMES = 1_000

_TYPES = {name: number for number, name in enumerate(EVENT_WEIGHTS)}


@dataclass(frozen=True, slots=True)
class Kind:
    """What learning reads of a product."""

    path: str
    brand: str
    price: float | None

    @classmethod
    def of(cls, product: Product) -> Kind:
        return cls(product.categories[0] if product.categories else "", product.brand, product.price)


class Interactions:
    """Rows as they arrive, 27 bytes each, with ids numbered in the order of their first appearance."""

    def __init__(self) -> None:
        self._user_numbers: dict[str, int] = {}
        self._product_numbers: dict[str, int] = {}
        self._users = array("i")
        self._products = array("i")
        self._types = array("b")
        self._times = array("q")
        self._events = array("q")
        self._device_numbers: dict[str, int] = {}
        self._devices = array("h")
        # Of ratings, 24 bytes each; their products have numbers of their own, for a rating is no interest.
        self._rated_numbers: dict[str, int] = {}
        self._raters = array("i")
        self._rated = array("i")
        self._rated_times = array("q")
        self._stars = array("d")
        # Time of the newest row, in milliseconds; 0 when there is none.
        self.newest_ms = 0

    def __len__(self) -> int:
        return len(self._users)

    @property
    def users(self) -> int:
        """How many there are."""
        return len(self._user_numbers)

    @property
    def user_ids(self) -> Sequence[str]:
        """By number."""
        return tuple(self._user_numbers)

    def add(self, chunk: InteractionChunk) -> None:
        """Appends a chunk; event types without a weight are passed over."""
        users, products = self._user_numbers, self._product_numbers
        rows = zip(
            chunk.user_ids,
            chunk.product_ids,
            chunk.event_types,
            chunk.event_times_ms,
            chunk.event_numbers,
            chunk.devices or repeat("", len(chunk.user_ids)),
            chunk.stars or repeat(0.0, len(chunk.user_ids)),
            strict=True,
        )
        for user_id, product_id, event_type, time, event, device, stars in rows:
            type_ = _TYPES.get(event_type)
            if type_ is None:
                if event_type == RATE and stars > 0:
                    self._rate(user_id, product_id, time, stars)
                continue
            self._users.append(users.setdefault(user_id, len(users)))
            self._products.append(products.setdefault(product_id, len(products)))
            self._types.append(type_)
            self._times.append(time)
            self._events.append(event)
            self._devices.append(self._device(device))
            self.newest_ms = max(self.newest_ms, time)

    def _rate(self, user_id: str, product_id: str, time: int, stars: float) -> None:
        users, products = self._user_numbers, self._rated_numbers
        self._raters.append(users.setdefault(user_id, len(users)))
        self._rated.append(products.setdefault(product_id, len(products)))
        self._rated_times.append(time)
        self._stars.append(stars)

    def _device(self, name: str) -> int:
        """Its number; -1 without a name, and where there are too many to be devices."""
        numbers = self._device_numbers
        if not name or (name not in numbers and len(numbers) >= _MOST_NAMES):
            return -1
        return numbers.setdefault(name, len(numbers))

    def arrays(self, kinds: Mapping[str, Kind], most: int = MOST_PRODUCTS) -> tuple[Log, Catalogue]:
        """The rows by time, of products that the catalogue has, at most ``most`` of them; ids in order."""
        products = np.array(self._products, dtype=np.int64)
        types = np.array(self._types, dtype=np.int8)
        times = np.array(self._times, dtype=np.int64) / 1000.0
        names = list(self._product_numbers)
        worth = WEIGHTS[types] * np.exp2(-(self.newest_ms / 1000.0 - times) / DAY / HALF_LIFE_DAYS)
        totals = np.bincount(products, weights=worth, minlength=len(names))
        known = [number for number, name in enumerate(names) if name in kinds]
        kept = sorted(sorted(known, key=lambda number: (-totals[number], names[number]))[:most], key=names.__getitem__)
        places = np.full(len(names), -1, dtype=np.int64)
        places[kept] = np.arange(len(kept))
        rows = np.flatnonzero(places[products] >= 0)
        devices, device_names = self._named_devices()
        events, users = np.array(self._events, dtype=np.int64), np.array(self._users, dtype=np.int32)
        # Rows of one instant in an order that does not depend on how the log was read.
        rows = rows[np.lexsort((places[products[rows]], users[rows], times[rows]))]
        log = Log(
            product_ids=[names[number] for number in kept],
            user_count=len(self._user_numbers),
            users=users[rows],
            products=places[products[rows]].astype(np.int32),
            types=types[rows],
            times=times[rows],
            events=events[rows],
            devices=devices[rows],
            device_names=device_names,
            ratings=self._ratings({id_: place for place, id_ in enumerate(names[number] for number in kept)}),
        )
        return log, catalogue([kinds[id_] for id_ in log.product_ids])

    def _named_devices(self) -> tuple[npt.NDArray[np.int8], Sequence[str]]:
        """Of each row the number of its device among the most frequent ones, -1 for others, and their names."""
        numbers = np.array(self._devices, dtype=np.int64)
        names = list(self._device_numbers)
        counts = np.bincount(numbers[numbers >= 0], minlength=len(names))
        kept = sorted(range(len(names)), key=lambda number: (-counts[number], names[number]))[:_MOST_DEVICES]
        places = np.full(len(names) + 1, -1, dtype=np.int8)  # the number -1 is the last one
        places[kept] = np.arange(len(kept))
        return places[numbers], [names[number] for number in kept]

    def _ratings(self, places: Mapping[str, int]) -> Ratings:
        """Of products that have a place, by time."""
        by_number = np.array([places.get(id_, -1) for id_ in self._rated_numbers], dtype=np.int32)
        products = by_number[np.array(self._rated, dtype=np.int64)]
        times = np.array(self._rated_times, dtype=np.int64)
        known = np.flatnonzero(products >= 0)
        # By time alone: of one instant the last to arrive is the newest.
        known = known[np.argsort(times[known], kind="stable")]
        users, stars = np.array(self._raters, dtype=np.int32), np.array(self._stars, dtype=np.float64)
        return Ratings(users[known], products[known], stars[known], times[known] / 1000.0)


def catalogue(kinds: Sequence[Kind]) -> Catalogue:
    """Codes of the groups, from 1 in the order of names; the levels of a path are told apart by what is above them."""
    paths = [[part.strip() for part in kind.path.split(">")] if kind.path else [] for kind in kinds]
    levels = {
        name: [" > ".join(path[: depth + 1]) if len(path) > depth else "" for path in paths]
        for depth, name in enumerate(("department", "category", "kind"))
    }
    # A shallow catalogue: what has no deeper level is of the kind of its last one.
    for above, name in (("department", "category"), ("category", "kind")):
        levels[name] = [own or upper for own, upper in zip(levels[name], levels[above], strict=True)]
    levels["brand"] = [kind.brand for kind in kinds]
    prices = np.array([np.nan if kind.price is None else kind.price for kind in kinds], dtype=np.float64)
    return Catalogue({name: _codes(levels[name]) for name in GROUPS}, prices)


def _codes(names: Sequence[str]) -> Codes:
    numbers = {name: number for number, name in enumerate(sorted({name for name in names if name}), start=1)}
    codes: npt.NDArray[np.int32] = np.array([numbers.get(name, 0) for name in names], dtype=np.int32)
    return codes
