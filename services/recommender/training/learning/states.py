"""Shoppers as the feature service would have shown them at an instant, from the past alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from services.recommender.domain.learned import Codes, Floats, sums
from services.recommender.domain.state import ShopperState
from services.recommender.training.learning.log import CART, DAY, HALF_LIFE_DAYS, PURCHASE, VIEW, Log

# As the features user_purchase_history, user_recent_views and user_recent_carts are declared.
_HISTORY_DAYS = 365.0
_HISTORY_PRODUCTS = 2_000
_RECENT_DAYS = 30.0
_VIEWS = 50
_CARTS = 20


class States:
    """The states of all users as of one instant; each is put together when it is asked for."""

    def __init__(self, past: Log, instant: float) -> None:
        """``past`` ends before ``instant``."""
        self._instant = instant
        self._ids = np.array(past.product_ids, dtype=object)
        self._purchases = _by_user(past.since(instant - _HISTORY_DAYS * DAY).of(PURCHASE))
        recent = past.since(instant - _RECENT_DAYS * DAY)
        self._views, self._carts = _by_user(recent.of(VIEW)), _by_user(recent.of(CART))

    def of(self, user: int) -> ShopperState:
        """One user's."""
        products, history = self._history(user)
        return ShopperState.as_of(
            self._instant,
            self._names(products),
            history,
            self._names(_newest(self._views[0], _rows(self._views, user), _VIEWS)),
            self._names(_newest(self._carts[0], _rows(self._carts, user), _CARTS)),
        )

    def _history(self, user: int) -> tuple[Codes, Floats]:
        """Products, the newest purchases first, and the columns of user_purchase_history."""
        log = self._purchases[0]
        rows = _rows(self._purchases, user)
        products, times, events = log.products[rows], log.times[rows], log.events[rows]
        distinct, place = np.unique(products, return_inverse=True)
        count = len(distinct)
        orders = np.bincount(np.unique(np.column_stack([place, events]), axis=0)[:, 0], minlength=count)
        first, last = np.full(count, np.inf), np.full(count, -np.inf)
        np.minimum.at(first, place, times)
        np.maximum.at(last, place, times)
        halved = np.exp2(-(self._instant - times) / DAY / HALF_LIFE_DAYS)
        decayed = sums(place, halved, count)
        newest = np.lexsort((distinct, -last))[:_HISTORY_PRODUCTS]
        return distinct[newest], np.column_stack([orders, first, last, decayed])[newest]

    def _names(self, products: Codes) -> Sequence[str]:
        return tuple(self._ids[products].tolist())


Grouped = tuple[Log, npt.NDArray[np.int64]]


def _by_user(log: Log) -> Grouped:
    """The rows of each user together, in the order of time, and where each user's begin."""
    order = np.argsort(log.users, kind="stable")
    grouped = log.pick(order)
    return grouped, np.searchsorted(grouped.users, np.arange(log.user_count + 1))


def _rows(grouped: Grouped, user: int) -> slice:
    return slice(int(grouped[1][user]), int(grouped[1][user + 1]))


def _newest(log: Log, rows: slice, limit: int) -> Codes:
    """Distinct products, the newest first; at one instant by id, as the features have it."""
    products, times = log.products[rows], log.times[rows]
    ordered = products[np.lexsort((products, -times))]
    _, first = np.unique(ordered, return_index=True)
    newest: Codes = ordered[np.sort(first)][:limit]
    return newest
