"""What is known of the shopper at the moment of a request, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.recommender.domain.state import ShopperState

# How many ids of each history shape a page. Older ones weigh next to nothing in the sums below, and
# every id costs a look-up.
VIEWS_READ = 20
CARTS_READ = 10
PURCHASES_READ = 40

# An order says more about taste than a cart, a cart more than a view: the ratio that the popularity
# score uses as well (view 1, cart 3, order line 5).
VIEW_WEIGHT = 1.0
CART_WEIGHT = 3.0
PURCHASE_WEIGHT = 5.0


@dataclass(frozen=True, slots=True)
class UserSignals:
    """The user's features, as far as they were to be had; the defaults describe a stranger.

    ``recent_views`` and ``recent_carts`` run from new to old, ``purchases`` from the most to the least
    habitual (frequency with decay). A ``browsing_category`` means a view within the last hour.
    ``bought`` is all that was bought, as far as it is remembered, the newest first; ``bought_table`` has a row for
    each: orders, first and last time (seconds since 1970), order lines with decay.
    """

    browsing_category: str | None = None
    price_sensitivity: str = "medium"
    recent_views: tuple[str, ...] = ()
    recent_carts: tuple[str, ...] = ()
    purchases: tuple[str, ...] = ()
    bought: tuple[str, ...] = ()
    bought_table: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)), compare=False)

    @property
    def in_session(self) -> bool:
        """Whether the user looked at a product within the last hour."""
        return self.browsing_category is not None and bool(self.recent_views)

    def state(self, now: float) -> ShopperState:
        """What a model version reads, as of ``now`` (seconds since 1970)."""
        return ShopperState.as_of(now, self.bought, self.bought_table, self.recent_views, self.recent_carts)

    def history(self) -> tuple[str, ...]:
        """The products that shape this page, each once: views, then carts, then purchases."""
        return tuple(
            dict.fromkeys(
                (
                    *self.recent_views[:VIEWS_READ],
                    *self.recent_carts[:CARTS_READ],
                    *self.purchases[:PURCHASES_READ],
                )
            )
        )


class Card(NamedTuple):
    """What the pipeline needs to know of a product; prices in the shop's currency. A tuple: a page makes hundreds."""

    id: str
    title: str
    top_category: str
    brand: str
    price: float | None


@dataclass(frozen=True, slots=True)
class Anchor:
    """A product whose neighbours are wanted, and how much they count (0 to 1)."""

    id: str
    weight: float
    # "page", "view", "cart" or "purchase": where it comes from, for the reasons.
    origin: str


# Of all that was bought, so many are habits; pages show fewer.
HABITS = 200


def habits(bought: Sequence[str], decayed: npt.NDArray[np.float64]) -> tuple[str, ...]:
    """The products of a purchase history, the most habitual first, ties by id; at most HABITS."""
    ranked = sorted(zip((-decayed).tolist(), bought, strict=True))
    return tuple(product_id for _, product_id in ranked[:HABITS])


def category_tastes(signals: UserSignals, cards: Mapping[str, Card]) -> dict[str, float]:
    """The share of the user's attention that each top-level category has; sums to 1, or is empty.

    The k-th product of a history counts 1/sqrt(k): recent and habitual ones lead, older ones stay heard.
    """
    weights: dict[str, float] = {}
    histories = (
        (signals.recent_views[:VIEWS_READ], VIEW_WEIGHT),
        (signals.recent_carts[:CARTS_READ], CART_WEIGHT),
        (signals.purchases[:PURCHASES_READ], PURCHASE_WEIGHT),
    )
    for ids, weight in histories:
        for place, product_id in enumerate(ids, start=1):
            card = cards.get(product_id)
            if card is not None and card.top_category:
                weights[card.top_category] = weights.get(card.top_category, 0.0) + weight / place**0.5
    total = sum(weights.values())
    return {category: weight / total for category, weight in weights.items()}


def leading_categories(tastes: Mapping[str, float], browsing: str | None, count: int = 3) -> tuple[str, ...]:
    """The categories to show the best of: what is being browsed, then the strongest tastes."""
    ranked = sorted(tastes, key=lambda category: (-tastes[category], category))
    wanted = ([browsing] if browsing else []) + [category for category in ranked if category != browsing]
    return tuple(wanted[:count])


def session_anchors(signals: UserSignals, page: Sequence[str]) -> tuple[Anchor, ...]:
    """The products to look around: those on the page, the newest views and carts, else habitual purchases.

    At most five beside the page's: each costs one index search. Recent ones weigh more, so that the page follows a
    session within one click.
    """
    anchors = [Anchor(product_id, 1.0, "page") for product_id in page[:3]]
    anchors += [Anchor(id_, 0.8**place, "view") for place, id_ in enumerate(signals.recent_views[:3])]
    anchors += [Anchor(id_, 0.6 * 0.8**place, "cart") for place, id_ in enumerate(signals.recent_carts[:2])]
    if len(anchors) < 3:
        anchors += [Anchor(id_, 0.5, "purchase") for id_ in signals.purchases[: 3 - len(anchors)]]
    return _each_once(anchors)


def page_anchors(page: Sequence[str]) -> tuple[Anchor, ...]:
    """The products of the page alone, for what must not depend on the shopper's history."""
    return _each_once([Anchor(product_id, 1.0, "page") for product_id in page[:5]])


def _each_once(anchors: Sequence[Anchor]) -> tuple[Anchor, ...]:
    first: dict[str, Anchor] = {}
    for anchor in anchors:
        first.setdefault(anchor.id, anchor)
    return tuple(first.values())
