"""The derived state of a user in plain Python, from the events in the order in which they arrived: slow and obvious."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from services.features.domain.events import Event

SECOND = 1_000_000  # us
MINUTE, DAY = 60 * SECOND, 86_400 * SECOND
VIEW, CART, ORDER = "detail-page-view", "add-to-cart", "purchase-complete"
INTEREST = {VIEW: 1, CART: 3, ORDER: 5}
SESSION_TYPES = (VIEW, "click", CART, ORDER, "rate")

Rows = dict[str, dict[str, float]]


class Line(NamedTuple):
    """A line of an event; lines compare by time, then arrival, then place."""

    time: int
    arrival: int
    place: int
    product: str
    kind: str


@dataclass(frozen=True)
class Lookup:
    """What the catalogue says of products."""

    categories: Mapping[str, str | None]
    brands: Mapping[str, str | None]


class History:
    """One subject's events."""

    def __init__(self, events: Iterable[Event], subject: str) -> None:
        self.events = [(arrival, e) for arrival, e in enumerate(events) if e.subject_id == subject]

    def lines(self, now: int, length: int, *kinds: str) -> list[Line]:
        """Oldest first."""
        return sorted(
            Line(time, arrival, place, line.product_id, event.event_type)
            for arrival, event in self.events
            for place, line in enumerate(event.lines)
            if event.event_type in kinds and now - length < (time := event.event_time_us or 0) <= now
        )

    def recent(self, now: int, kind: str, length: int, most: int) -> list[str] | None:
        lines = self.lines(now, length, kind)
        return _newest(lines)[:most] if lines else None

    def purchases(self, now: int, most: int = 2_000) -> Rows | None:
        lines = self.lines(now, 365 * DAY, ORDER)
        rows: Rows = {}
        for product in _newest(lines)[:most]:
            own = [line for line in lines if line.product == product]
            rows[product] = {
                "orders": len({line.arrival for line in own}),
                "first_time": own[0].time / SECOND,
                "last_time": own[-1].time / SECOND,
                "decayed": sum(0.5 ** ((now - line.time) / (45 * DAY)) for line in own),
            }
        return rows or None

    def interest(self, now: int, names: Mapping[str, str | None]) -> Rows | None:
        weights: dict[str, float] = {}
        for line in self.lines(now, 180 * DAY, *INTEREST):
            name = names.get(line.product)
            if name is not None:
                weight = INTEREST[line.kind] * 0.5 ** ((now - line.time) / (30 * DAY))
                weights[name] = weights.get(name, 0.0) + weight
        total = sum(weights.values())
        # Equal up to the last digits is a tie, as the service adds in the same order.
        ranked = sorted(weights, key=lambda name: (-round(weights[name], 12), name))[:20]
        return {name: {"share": weights[name] / total} for name in ranked} or None

    def session(self, now: int) -> int | None:
        """Its start."""
        start = last = None
        for time in sorted(e.event_time_us or 0 for _, e in self.events if e.event_type != "impression"):
            if not now - 2 * DAY < time <= now:
                continue
            if last is None or time - last > 30 * MINUTE:
                start = time
            last = time
        return start if last is not None and now - last < 30 * MINUTE else None

    def session_products(self, now: int) -> list[str] | None:
        start = self.session(now)
        if start is None:
            return None
        return _newest([line for line in self.lines(now, 2 * DAY, *SESSION_TYPES) if line.time >= start])[:50]


def _newest(lines: Sequence[Line]) -> list[str]:
    return list(dict.fromkeys(line.product for line in reversed(lines)))


State = Callable[[History, int, Lookup], object]
# What each feature must be, at a time in microseconds.
FEATURES: Mapping[str, State] = {
    "user_recent_views": lambda history, now, _: history.recent(now, VIEW, 30 * DAY, 50),
    "user_recent_carts": lambda history, now, _: history.recent(now, CART, 30 * DAY, 20),
    "user_recent_orders": lambda history, now, _: history.recent(now, ORDER, 365 * DAY, 50),
    "user_purchase_history": lambda history, now, _: history.purchases(now),
    "user_category_affinity": lambda history, now, lookup: history.interest(now, lookup.categories),
    "user_brand_affinity": lambda history, now, lookup: history.interest(now, lookup.brands),
    "user_session_start": lambda history, now, _: history.session(now),
    "user_session_products": lambda history, now, _: history.session_products(now),
}
