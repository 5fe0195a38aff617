"""The event log and the catalogue in arrays, and the part of the log that lies before an instant.

Rows are sorted by time, so the past of an instant is a prefix: what is computed from it cannot know what came later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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

    def __len__(self) -> int:
        return len(self.users)

    def before(self, instant: float) -> Log:
        """The past of an instant, without it."""
        return self._slice(0, int(np.searchsorted(self.times, instant, "left")))

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
        )


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Of the log's products: codes of their groups (0: none) and prices (NaN: none)."""

    groups: dict[str, Codes]
    prices: Floats


def read(folder: Path) -> tuple[Log, Catalogue]:
    """What :func:`write` put there."""
    with np.load(folder / "log.npz", allow_pickle=False) as arrays:
        log = Log(
            [id_.decode() for id_ in arrays["product_ids"].tolist()],
            int(arrays["user_count"]),
            *(arrays[name] for name in ("users", "products", "types", "times", "events")),
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
        prices=catalogue.prices,
        **catalogue.groups,  # type: ignore[arg-type]  # the stub knows allow_pickle as its only name
    )
