"""The event log and the catalogue in arrays, and the part of the log that lies before an instant.

Rows are sorted by time, so the past of an instant is a prefix: what is computed from it cannot know what came later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.recommender.domain.everyone import GROUPS
from services.recommender.domain.learned import Codes, Floats

Ints = npt.NDArray[np.int64]

VIEW, CART, PURCHASE = 0, 1, 2

# Of an interaction of each type, in that order: see domain/interactions.py.
WEIGHTS: Floats = np.array([1.0, 3.0, 5.0])

# As the feature user_purchase_history halves order lines: the vector folded in at a request and the one that training
# saw weigh the same history alike.
HALF_LIFE_DAYS = 45.0

DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Ratings:
    """Stars that users gave to products, by time (seconds since 1970)."""

    users: Codes
    products: Codes
    stars: Floats
    times: Floats

    def __len__(self) -> int:
        return len(self.users)

    def before(self, instant: float) -> Ratings:
        """Those before an instant."""
        end = int(np.searchsorted(self.times, instant, "left"))
        return Ratings(self.users[:end], self.products[:end], self.stars[:end], self.times[:end])


_NO_RATINGS = Ratings(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0), np.zeros(0))


@dataclass(frozen=True, slots=True)
class Log:
    """Interactions by falling age; products are numbered in the order of their ids."""

    product_ids: Sequence[str]
    user_count: int
    users: Codes
    products: Codes
    types: npt.NDArray[np.int8]
    # Seconds since 1970.
    times: Floats
    # Rows of one event have one number.
    events: Ints
    # Numbers of ``device_names``; -1, as well as none at all: unknown.
    devices: npt.NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))
    device_names: Sequence[str] = ()
    ratings: Ratings = _NO_RATINGS

    def __len__(self) -> int:
        return len(self.users)

    def before(self, instant: float) -> Log:
        """The past of an instant, without it."""
        past = self._slice(0, int(np.searchsorted(self.times, instant, "left")))
        return replace(past, ratings=self.ratings.before(instant))

    def between(self, start: float, end: float) -> Log:
        """From ``start`` on, before ``end``."""
        return self._slice(*(int(place) for place in np.searchsorted(self.times, [start, end], "left")))

    def of(self, *types: int) -> Log:
        """The interactions of some types."""
        return self.pick(np.isin(self.types, types))

    def since(self, instant: float) -> Log:
        return self._slice(int(np.searchsorted(self.times, instant, "right")), len(self))

    def _slice(self, start: int, end: int) -> Log:
        return self.pick(slice(start, end))

    def pick(self, rows: slice | npt.NDArray[np.bool_] | Ints) -> Log:
        return Log(
            self.product_ids,
            self.user_count,
            self.users[rows],
            self.products[rows],
            self.types[rows],
            self.times[rows],
            self.events[rows],
            self.devices[rows] if len(self.devices) else self.devices,
            self.device_names,
            self.ratings,
        )


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Of the log's products: codes of their groups (0: none) and prices (NaN: none)."""

    groups: dict[str, Codes]
    prices: Floats


_RATINGS = ("users", "products", "stars", "times")


def read(folder: Path) -> tuple[Log, Catalogue]:
    """What :func:`write` put there."""
    with np.load(folder / "log.npz", allow_pickle=False) as arrays:
        log = Log(
            product_ids=[id_.decode() for id_ in arrays["product_ids"].tolist()],
            user_count=int(arrays["user_count"]),
            **{name: arrays[name] for name in ("users", "products", "types", "times", "events", "devices")},
            device_names=[name.decode() for name in arrays["device_names"].tolist()],
            ratings=Ratings(*(arrays[f"rating_{name}"] for name in _RATINGS)),
        )
        return log, Catalogue({name: arrays[name] for name in GROUPS}, arrays["prices"])


def write(folder: Path, log: Log, catalogue: Catalogue) -> None:
    """For the learning process."""
    np.savez(
        folder / "log.npz",
        product_ids=np.array([id_.encode() for id_ in log.product_ids], dtype=np.bytes_),
        user_count=np.array(log.user_count),
        users=log.users,
        products=log.products,
        types=log.types,
        times=log.times,
        events=log.events,
        devices=log.devices,
        device_names=np.array([name.encode() for name in log.device_names], dtype=np.bytes_),
        prices=catalogue.prices,
        **{f"rating_{name}": getattr(log.ratings, name) for name in _RATINGS},
        **catalogue.groups,  # type: ignore[arg-type]  # the stub knows allow_pickle as its only name
    )
