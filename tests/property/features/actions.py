"""What can happen to the shop: events and catalogue changes, drawn where the definitions have their edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st

from services.features.domain.events import MAX_FUTURE_US, Event, Line
from services.features.signal_ports import Signal

USERS = ("u0", "u1", "u2")
# One of them has the name of a user.
VISITORS = ("u0", "v1")
SUBJECTS = (*USERS, *(f"~{visitor}" for visitor in VISITORS))
LISTED = ("p0", "p1", "p2", "p3")
# One is never in the catalogue.
PRODUCTS = (*LISTED, "p4")

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
WINDOWS_MS = (HOUR, 7 * DAY, 30 * DAY, 90 * DAY, 365 * DAY)
_KINDS = (
    "detail-page-view", "detail-page-view", "purchase-complete", "purchase-complete", "add-to-cart", "rate",
    "search", "impression", "remove-from-cart",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Draft:
    """An event to be sent; ``offset_us`` from the instant of sending, None: without a time."""

    kind: str
    user: str
    visitor: str
    products: tuple[str, ...]
    offset_us: int | None
    revenue: float | None
    price: float | None
    rating: float
    # Sends the id of an earlier event instead of a new one.
    repeats: int | None

    @property
    def in_time(self) -> bool:
        return self.offset_us is None or self.offset_us <= MAX_FUTURE_US

    def event(self, event_id: str, now_us: int) -> Event:
        return Event(
            event_id=event_id,
            event_type=self.kind,
            user_id=self.user,
            visitor_id=self.visitor,
            session_id="",
            event_time_us=None if self.offset_us is None else now_us + self.offset_us,
            lines=tuple(Line(product, 2, self.price) for product in self.products),
            revenue=self.revenue if self.kind == "purchase-complete" else None,
            rating=self.rating if self.kind == "rate" else None,
            position=None,
            attribution_token="",
            device="",
            attributes={},
        )


_edges = st.builds(
    lambda window, by: -window * 1_000 + by,
    st.sampled_from(WINDOWS_MS),
    st.sampled_from((-1_000, -1, 0, 1, 1_000, 5_000_000)),
)
_late = st.sampled_from((0, -1, -1_000, -3_000_000, -120_000_000, -2 * HOUR * 1_000, -8 * DAY * 1_000))
_future = st.sampled_from((1, 1_000, 2_000_000, 90_000_000, MAX_FUTURE_US, MAX_FUTURE_US + 1))
offsets = st.one_of(st.none(), _late, _late, _edges, _future)

_people = st.sampled_from([*((user, "") for user in USERS), ("", VISITORS[0]), ("", VISITORS[1]), ("u1", "v1")])

drafts = st.builds(
    lambda kind, person, products, offset_us, revenue, price, rating, repeats: Draft(
        kind, person[0], person[1], tuple(products), offset_us, revenue, price, rating, repeats
    ),
    st.sampled_from(_KINDS),
    _people,
    st.lists(st.sampled_from(PRODUCTS), min_size=1, max_size=3),
    offsets,
    st.sampled_from((None, 0.0, 0.125, 10.0, 33.335)),
    st.sampled_from((None, 0.1, 7.5)),
    st.sampled_from((1.0, 2.5, 4.0, 5.0)),
    st.one_of(st.none(), st.none(), st.none(), st.integers(0, 9)),
)
batches = st.lists(drafts, min_size=1, max_size=3)

signals = st.builds(
    lambda product, deleted, category, price, quantity, rating, ratings: Signal(
        product_id=product,
        deleted=deleted,
        top_category=category,
        price=price,
        available_quantity=quantity,
        low_stock_threshold=5,
        rating_average=rating,
        rating_count=ratings if rating is not None else 0,
    ),
    st.sampled_from(LISTED),
    st.sampled_from((False, False, False, False, True)),
    st.sampled_from(("A", "A", "B", None)),
    st.sampled_from((1.0, 2.0, 2.0, 3.5, None)),
    st.sampled_from((0, 1, 5, 6)),
    st.sampled_from((None, 3.5)),
    st.sampled_from((0, 3)),
)
pages = st.lists(signals, min_size=1, max_size=3)

steps_ms = st.sampled_from((
    1, 500, 3_000, 31_000, MINUTE, 4 * MINUTE + 30_000, 5 * MINUTE, 30 * MINUTE, 55 * MINUTE, HOUR,
    6 * HOUR, 23 * HOUR, DAY, 8 * DAY, 31 * DAY,
))  # fmt: skip


def whole_catalogue(known: Sequence[Signal], without: str) -> list[Signal]:
    """What a restarted stream sends: all that is there; ``without`` a product that went while nobody listened."""
    return [signal for signal in known if not signal.deleted and signal.product_id != without]
