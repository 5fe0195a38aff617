"""What a user event is, which ones are acceptable, and whom they touch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, NamedTuple

DETAIL_PAGE_VIEW: Final = "detail-page-view"
PURCHASE_COMPLETE: Final = "purchase-complete"
RATE: Final = "rate"

# Each type, and whether it must name products.
EVENT_TYPES: Final[Mapping[str, bool]] = {
    "home-page-view": False,
    "category-page-view": False,
    DETAIL_PAGE_VIEW: True,
    "search": False,
    "add-to-cart": True,
    "remove-from-cart": True,
    PURCHASE_COMPLETE: True,
    RATE: True,
    "impression": True,
    "click": True,
}

# Marks the ids of guests: outside the alphabet of ids, so that no guest can pass for a user.
GUEST_MARK: Final = "~"

# Clocks of senders run ahead; further than this is a mistake, not skew. Microseconds.
MAX_FUTURE_US: Final = 5 * 60 * 1_000_000
# 2000-01-01 UTC. Before it: a unit mistaken or a clock never set.
MIN_TIME_US: Final = 946_684_800 * 1_000_000
MAX_LINES: Final = 500
MAX_ATTRIBUTES: Final = 50
MAX_ATTRIBUTE_KEY: Final = 64
MAX_ATTRIBUTE_VALUE: Final = 1_000
MAX_DEVICE: Final = 32
# Opaque texts of others: an attribution token carries a page of results.
MAX_SESSION: Final = 128
MAX_TOKEN: Final = 2_000
# Far above any order, far below where sums of doubles overflow.
MAX_AMOUNT: Final = 1e15
MAX_INT32: Final = 2**31 - 1

_ID = re.compile(r"[A-Za-z0-9_.:@-]{1,128}")
_ID_RULE = "must be 1 to 128 characters of A-Z a-z 0-9 _ . : @ -"


class Line(NamedTuple):
    """One product of an event; ``price`` is per piece."""

    product_id: str
    quantity: int
    price: float | None


class Event(NamedTuple):
    """An event as its sender gave it; empty texts mean left out. Times are microseconds since 1970 UTC.

    A named tuple and not a dataclass: a bulk load makes a million of them, at a fifth of the cost.
    """

    event_id: str
    event_type: str
    user_id: str
    visitor_id: str
    session_id: str
    event_time_us: int | None
    lines: tuple[Line, ...]
    revenue: float | None
    rating: float | None
    position: int | None
    attribution_token: str
    device: str
    attributes: Mapping[str, str]

    @property
    def weight(self) -> int:
        """What storing it costs: a row, and one for each line."""
        return 1 + len(self.lines)

    @property
    def subject_id(self) -> str:
        """Whose event it is: the user, or the guest when nobody is signed in."""
        return self.user_id or guest(self.visitor_id)


def guest(visitor_id: str) -> str:
    """The id of a guest among users. Visitor ids are chosen by browsers: one may equal a user's id."""
    return GUEST_MARK + visitor_id


class Rejection(NamedTuple):
    """Why an event is not acceptable. Never holds what was sent: it may be huge or hostile."""

    reason: str
    field: str
    message: str


def accept(event: Event, now_us: int, oldest_us: int = MIN_TIME_US) -> Event | Rejection:
    """The event as it goes into the log, which keeps none of before ``oldest_us``, or what is wrong with it.

    Fills in what the contract derives: the time (``now_us``) and a purchase's revenue, the exact sum of price x
    quantity when every line has a price (else the total is unknown, and the order does not count for averages).
    """
    rejection = _identity(event) or _time(event, now_us, oldest_us) or _lines(event) or _numbers(event) or _texts(event)
    if rejection is not None:
        return rejection
    if event.event_time_us is None:
        # Down to the millisecond, the resolution of a feature's "now": the sender's next read sees the event.
        event = event._replace(event_time_us=now_us - now_us % 1_000)
    if event.event_type == PURCHASE_COMPLETE and event.revenue is None:
        revenue = total(event.lines)
        if revenue is not None and not revenue <= MAX_AMOUNT:
            return Rejection("REVENUE_INVALID", "revenue", "the sum of price x quantity is too large")
        event = event._replace(revenue=revenue)
    return event


def total(lines: tuple[Line, ...]) -> float | None:
    """Sum of price x quantity, exact in decimal; None when a line has no price."""
    amount = Decimal(0)
    for line in lines:
        if line.price is None:
            return None
        # repr is the shortest decimal that is this double: the price as the sender wrote it.
        amount += Decimal(repr(line.price)) * line.quantity
    return float(amount)


def _identity(event: Event) -> Rejection | None:
    if _ID.fullmatch(event.event_id) is None:
        return Rejection("EVENT_ID_INVALID", "eventId", _ID_RULE)
    if event.event_type not in EVENT_TYPES:
        return Rejection("EVENT_TYPE_UNKNOWN", "eventType", "must be one of " + ", ".join(EVENT_TYPES))
    if not event.user_id and not event.visitor_id:
        return Rejection("USER_MISSING", "userId", "one of userId and visitorId is required")
    if event.user_id and _ID.fullmatch(event.user_id) is None:
        return Rejection("USER_ID_INVALID", "userId", _ID_RULE)
    if event.visitor_id and _ID.fullmatch(event.visitor_id) is None:
        return Rejection("VISITOR_ID_INVALID", "visitorId", _ID_RULE)
    return None


def _time(event: Event, now_us: int, oldest_us: int) -> Rejection | None:
    time = event.event_time_us
    if time is None:
        return None
    if time < oldest_us:
        oldest = datetime.fromtimestamp(oldest_us // 1_000_000, UTC)
        return Rejection("EVENT_TOO_OLD", "eventTime", f"must not be before {oldest:%Y-%m-%dT%H:%M:%SZ}")
    if time > now_us + MAX_FUTURE_US:
        return Rejection("EVENT_TIME_IN_FUTURE", "eventTime", "must not be more than 5 minutes in the future")
    return None


def _lines(event: Event) -> Rejection | None:
    lines = event.lines
    if not lines:
        if EVENT_TYPES[event.event_type]:
            return Rejection("PRODUCTS_MISSING", "productDetails", f"required for {event.event_type}")
        return None
    if len(lines) > MAX_LINES:
        return Rejection("TOO_MANY_PRODUCTS", "productDetails", f"at most {MAX_LINES}")
    for index, (product_id, quantity, price) in enumerate(lines):
        if _ID.fullmatch(product_id) is None:
            return Rejection("PRODUCT_ID_INVALID", f"productDetails[{index}].productId", _ID_RULE)
        if quantity < 1:
            return Rejection("QUANTITY_INVALID", f"productDetails[{index}].quantity", "must be at least 1")
        if price is not None and not 0 <= price <= MAX_AMOUNT:  # false for NaN too
            return Rejection("PRICE_INVALID", f"productDetails[{index}].price", "must be a number >= 0")
    return None


def _numbers(event: Event) -> Rejection | None:
    if event.revenue is not None and not 0 <= event.revenue <= MAX_AMOUNT:
        return Rejection("REVENUE_INVALID", "revenue", "must be a number >= 0")
    if event.rating is None:
        if event.event_type == RATE:
            return Rejection("RATING_MISSING", "rating", "required for rate")
    elif not 1 <= event.rating <= 5:  # true for NaN
        return Rejection("RATING_INVALID", "rating", "must be 1 to 5")
    if event.position is not None and event.position < 0:
        return Rejection("POSITION_INVALID", "position", "must be >= 0")
    return None


def _texts(event: Event) -> Rejection | None:
    for field, text, limit in (
        ("sessionId", event.session_id, MAX_SESSION),
        ("attributionToken", event.attribution_token, MAX_TOKEN),
        ("device", event.device, MAX_DEVICE),
    ):
        if text and (len(text) > limit or "\0" in text):
            return Rejection("TEXT_INVALID", field, f"at most {limit} characters, none of them NUL")
    if not event.attributes:
        return None
    if len(event.attributes) > MAX_ATTRIBUTES:
        return Rejection("ATTRIBUTES_INVALID", "attributes", f"at most {MAX_ATTRIBUTES} entries")
    for key, value in event.attributes.items():
        if not 0 < len(key) <= MAX_ATTRIBUTE_KEY or len(value) > MAX_ATTRIBUTE_VALUE or "\0" in key or "\0" in value:
            return Rejection(
                "ATTRIBUTES_INVALID",
                "attributes",
                f"keys of 1 to {MAX_ATTRIBUTE_KEY} and values of at most {MAX_ATTRIBUTE_VALUE} characters, without NUL",
            )
    return None
