"""Collects the event log's rows into numbers that the factorisation can use."""

from __future__ import annotations

from array import array
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.recommender.domain.interactions import EVENT_WEIGHTS, confidences
from services.recommender.ranking_ports import InteractionChunk


@dataclass(frozen=True, slots=True)
class Matrix:
    """User x product confidences in coordinates; a pair may stand several times, its values add up."""

    user_ids: list[str]
    product_ids: list[str]
    users: npt.NDArray[np.int32]
    products: npt.NDArray[np.int32]
    values: npt.NDArray[np.float32]


class Interactions:
    """Rows as they arrive, 20 bytes each, with ids numbered in the order of their first appearance."""

    def __init__(self) -> None:
        self._user_numbers: dict[str, int] = {}
        self._product_numbers: dict[str, int] = {}
        self._users = array("i")
        self._products = array("i")
        self._weights = array("f")
        self._times = array("q")
        # Time of the newest row, in milliseconds; 0 when there is none.
        self.newest_ms = 0

    def __len__(self) -> int:
        return len(self._users)

    def add(self, chunk: InteractionChunk) -> None:
        """Appends a chunk; event types without a weight are passed over."""
        users, products = self._user_numbers, self._product_numbers
        rows = zip(chunk.user_ids, chunk.product_ids, chunk.event_types, chunk.event_times_ms, strict=True)
        for user_id, product_id, event_type, time in rows:
            weight = EVENT_WEIGHTS.get(event_type)
            if weight is None:
                continue
            self._users.append(users.setdefault(user_id, len(users)))
            self._products.append(products.setdefault(product_id, len(products)))
            self._weights.append(weight)
            self._times.append(time)
            self.newest_ms = max(self.newest_ms, time)

    def matrix(self, now_ms: int) -> Matrix:
        """The confidences as of ``now_ms``."""
        weights = np.array(self._weights, dtype=np.float64)
        values = confidences(weights, np.array(self._times, dtype=np.int64), now_ms)
        return Matrix(
            list(self._user_numbers),
            list(self._product_numbers),
            np.array(self._users, dtype=np.int32),
            np.array(self._products, dtype=np.int32),
            values.astype(np.float32),
        )
