"""Which events are acceptable, and what the contract derives for them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.features.domain.events import (
    EVENT_TYPES,
    MAX_FUTURE_US,
    MIN_TIME_US,
    Event,
    Line,
    Rejection,
    accept,
    total,
)

NOW = 1_760_000_000_123_456
LINE = Line("p1", 1, None)


def event(kind: str = "detail-page-view", **fields: Any) -> Event:
    values: dict[str, Any] = {
        "event_id": "e1", "event_type": kind, "user_id": "u1", "visitor_id": "", "session_id": "",
        "event_time_us": NOW, "lines": (LINE,), "revenue": None, "rating": None, "position": None,
        "attribution_token": "", "device": "", "attributes": {},
    }  # fmt: skip
    return Event(**(values | fields))


@pytest.mark.parametrize("kind", EVENT_TYPES)
def test_every_type_is_accepted(kind: str) -> None:
    assert isinstance(accept(event(kind, rating=4.5), NOW), Event)


@pytest.mark.parametrize(
    ("wrong", "reason", "field"),
    [
        ({"event_id": ""}, "EVENT_ID_INVALID", "eventId"),
        ({"event_id": "a b"}, "EVENT_ID_INVALID", "eventId"),
        ({"event_id": "e1\n"}, "EVENT_ID_INVALID", "eventId"),
        ({"event_id": "x" * 129}, "EVENT_ID_INVALID", "eventId"),
        ({"event_type": "view"}, "EVENT_TYPE_UNKNOWN", "eventType"),
        ({"user_id": ""}, "USER_MISSING", "userId"),
        ({"user_id": "ü"}, "USER_ID_INVALID", "userId"),
        ({"visitor_id": "/"}, "VISITOR_ID_INVALID", "visitorId"),
        ({"event_time_us": MIN_TIME_US - 1}, "EVENT_TOO_OLD", "eventTime"),
        ({"event_time_us": NOW + MAX_FUTURE_US + 1}, "EVENT_TIME_IN_FUTURE", "eventTime"),
        ({"lines": ()}, "PRODUCTS_MISSING", "productDetails"),
        ({"lines": (LINE,) * 501}, "TOO_MANY_PRODUCTS", "productDetails"),
        ({"lines": (LINE, Line("", 1, None))}, "PRODUCT_ID_INVALID", "productDetails[1].productId"),
        ({"lines": (Line("p", 0, None),)}, "QUANTITY_INVALID", "productDetails[0].quantity"),
        ({"lines": (Line("p", 1, -0.01),)}, "PRICE_INVALID", "productDetails[0].price"),
        ({"lines": (Line("p", 1, float("nan")),)}, "PRICE_INVALID", "productDetails[0].price"),
        ({"lines": (Line("p", 1, float("inf")),)}, "PRICE_INVALID", "productDetails[0].price"),
        ({"revenue": -1.0}, "REVENUE_INVALID", "revenue"),
        ({"revenue": float("nan")}, "REVENUE_INVALID", "revenue"),
        ({"event_type": "rate"}, "RATING_MISSING", "rating"),
        ({"rating": 0.99}, "RATING_INVALID", "rating"),
        ({"rating": 5.01}, "RATING_INVALID", "rating"),
        ({"rating": float("nan")}, "RATING_INVALID", "rating"),
        ({"position": -1}, "POSITION_INVALID", "position"),
        ({"session_id": "x" * 129}, "TEXT_INVALID", "sessionId"),
        ({"device": "x" * 33}, "TEXT_INVALID", "device"),
        ({"attribution_token": "\0"}, "TEXT_INVALID", "attributionToken"),
        ({"attributes": {"k" * 65: ""}}, "ATTRIBUTES_INVALID", "attributes"),
        ({"attributes": {"": "v"}}, "ATTRIBUTES_INVALID", "attributes"),
        ({"attributes": {"k": "v" * 1001}}, "ATTRIBUTES_INVALID", "attributes"),
        ({"attributes": {"k": "\0"}}, "ATTRIBUTES_INVALID", "attributes"),
        ({"attributes": {str(i): "" for i in range(51)}}, "ATTRIBUTES_INVALID", "attributes"),
    ],
)
def test_what_is_wrong_is_named(wrong: dict[str, Any], reason: str, field: str) -> None:
    rejection = accept(event(**({"kind": wrong.pop("event_type")} if "event_type" in wrong else {}), **wrong), NOW)
    assert isinstance(rejection, Rejection)
    assert (rejection.reason, rejection.field) == (reason, field)


def test_the_edges_are_accepted() -> None:
    edges = event(
        event_id="x" * 128, event_time_us=NOW + MAX_FUTURE_US, lines=(Line("p", 1, 0.0),) * 500, rating=5.0, position=0,
        revenue=0.0, session_id="x" * 128, device="x" * 32, attributes={"k" * 64: "v" * 1000},
    )  # fmt: skip
    assert accept(edges, NOW) == edges
    assert isinstance(accept(event(event_time_us=MIN_TIME_US, rating=1.0), NOW), Event)


def test_rejections_do_not_repeat_what_was_sent() -> None:
    rejection = accept(event(event_id="<script>" * 1000), NOW)
    assert "script" not in str(rejection)


def test_a_missing_time_is_now_in_the_resolution_of_features() -> None:
    accepted = accept(event(event_time_us=None), NOW)
    assert isinstance(accepted, Event)
    assert accepted.event_time_us == NOW - 456


def test_a_guest_is_the_subject_until_somebody_signs_in() -> None:
    assert event(user_id="", visitor_id="v1").subject_id == "~v1"
    assert event(user_id="u1", visitor_id="v1").subject_id == "u1"


def test_revenue_is_the_exact_sum_of_its_lines() -> None:
    accepted = accept(event("purchase-complete", lines=(Line("a", 3, 0.1), Line("b", 1, 0.2))), NOW)
    assert isinstance(accepted, Event)
    assert accepted.revenue == 0.5


def test_revenue_that_was_given_stays() -> None:
    accepted = accept(event("purchase-complete", revenue=7.0, lines=(Line("a", 3, 0.1),)), NOW)
    assert isinstance(accepted, Event)
    assert accepted.revenue == 7.0


def test_revenue_is_unknown_when_a_price_is() -> None:
    accepted = accept(event("purchase-complete", lines=(Line("a", 1, 0.1), LINE)), NOW)
    assert isinstance(accepted, Event)
    assert accepted.revenue is None
    assert isinstance(accept(event("purchase-complete", lines=(Line("a", 2**31 - 1, 1e15),)), NOW), Rejection)


@given(st.lists(st.tuples(st.integers(0, 10**7), st.integers(1, 1000)), min_size=1, max_size=20))
def test_totals_are_exact_to_the_cent(lines: list[tuple[int, int]]) -> None:
    cents = sum(price * quantity for price, quantity in lines)
    assert total(tuple(Line("p", quantity, price / 100) for price, quantity in lines)) == cents / 100
