"""Each feature's statement against hand-computed values, at the edges of the definitions."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from services.features.app import Parts
from services.features.domain.events import Event, Line
from services.features.domain.features import Outcome, Value
from services.features.signal_ports import Signal, SignalPage
from services.features.stores.signals import PostgresSignals

NOW = 1_760_000_000_123  # ms
MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
_ids = itertools.count()


def event(kind: str, user: str, *products: str, ago: float = 1.0, after_us: int = 0, **fields: Any) -> Event:
    """``ago`` seconds before now, moved by ``after_us``."""
    return Event(
        event_id=f"e{next(_ids)}",
        event_type=kind,
        user_id=user,
        visitor_id=fields.pop("visitor", ""),
        session_id="",
        event_time_us=NOW * 1_000 - round(ago * 1_000_000) + after_us,
        lines=tuple(Line(product, fields.get("quantity", 1), None) for product in products),
        revenue=fields.get("revenue"),
        rating=fields.get("rating"),
        position=None,
        attribution_token="",
        device="",
        attributes={},
    )


def view(user: str, *products: str, ago: float = 1.0, **fields: Any) -> Event:
    return event("detail-page-view", user, *products, ago=ago, **fields)


def order(user: str, revenue: float | None, *products: str, ago: float = 1.0, **fields: Any) -> Event:
    return event("purchase-complete", user, *(products or ("p",)), ago=ago, revenue=revenue, **fields)


def rate(user: str, product: str, rating: float, ago: float = 1.0, **fields: Any) -> Event:
    return event("rate", user, product, ago=ago, rating=rating, **fields)


class Shop:
    """Fills log and catalogue, computes features."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts

    async def happened(self, *events: Event) -> None:
        appended = await self.parts.log.append(events)
        assert all(appended.new)

    async def has(self, *signals: Signal) -> None:
        store = PostgresSignals(self.parts.database)
        await store.apply(SignalPage(signals, "1", restart=False, caught_up=True))
        await store.rank_prices(await store.categories())

    async def value(self, name: str, *ids: str) -> dict[str, Value]:
        outcomes = await self.outcomes(name, ids)
        return {i: outcome.value for i, outcome in outcomes.items() if outcome.value is not None}

    async def outcomes(self, name: str, ids: Sequence[str], now_ms: int = NOW) -> dict[str, Outcome]:
        feature = next(f for f in self.parts.definitions.features if f.name == name)
        return await self.parts.computer.compute(feature, ids, now_ms)


@pytest.fixture
def shop(parts: Parts) -> Shop:
    return Shop(parts)


def product(
    name: str, category: str | None = "Toys", price: float | None = 1.0, quantity: int = 9, **more: Any
) -> Signal:
    fields: dict[str, Any] = {"low_stock_threshold": 5, "rating_average": None, "rating_count": 0} | more
    return Signal(name, False, category, price, quantity, **fields)


async def test_browsing_category(shop: Shop) -> None:
    await shop.has(product("t", "Toys"), product("b", "Books"), product("nowhere", None))
    await shop.happened(
        # most views win
        *(view("most", p, ago=a) for p, a in [("t", 30), ("t", 20), ("b", 10)]),
        # a tie goes to the one viewed last, by event time
        *(view("tie", p, ago=a) for p, a in [("t", 10), ("b", 20), ("b", 30), ("t", 40)]),
        # and at the same time, by arrival
        *(view("same", p, ago=5) for p in ("t", "b")),
        # in one event, by place
        view("line", "b", "t", ago=5),
        # the window is open at its start and closed at now
        view("edge", "t", ago=60 * MINUTE),
        view("edge", "t", ago=61 * MINUTE),
        view("inside", "t", ago=60 * MINUTE, after_us=1),
        view("now", "t", ago=0),
        view("future", "t", ago=0, after_us=1),
        # what has no category has no say
        view("none", "nowhere"), view("none", "nowhere"), view("none", "unknown"), view("none", "t", ago=50),
        view("blind", "unknown"),
        event("add-to-cart", "other", "t"),
    )  # fmt: skip
    users = ("most", "tie", "same", "line", "edge", "inside", "now", "future", "none", "blind", "other", "nobody")
    assert await shop.value("user_browsing_category", *users) == {
        "most": "Toys", "tie": "Toys", "same": "Books", "line": "Toys", "inside": "Toys", "now": "Toys", "none": "Toys",
    }  # fmt: skip


async def test_purchase_count(shop: Shop) -> None:
    await shop.happened(
        order("u", 1.0, "a", "b", "c", quantity=7),
        order("u", None, ago=0),
        order("u", 1.0, ago=30 * DAY, after_us=1),
        order("u", 1.0, ago=30 * DAY),
        order("u", 1.0, ago=0, after_us=1),
        view("v", "a"),
    )
    assert await shop.value("user_purchase_count_30d", "u", "v") == {"u": 3}


@pytest.mark.parametrize(
    ("revenues", "mean"),
    [
        ([10.0], 10.0),
        ([0.1, 0.2], 0.15),
        ([0.01, 0.0], 0.0),  # 0.005 to even
        ([0.03, 0.0], 0.02),  # 0.015 to even
        ([0.05, 0.0], 0.02),  # 0.025 to even
        ([2.67, 2.68], 2.68),  # 2.675, which as a double is below the tie
        ([1.00, 1.01], 1.0),  # 1.005, likewise
        ([10.0, 10.0, 10.01], 10.0),
        ([10.0, 10.01, 10.01], 10.01),
        ([12.345], 12.34),
        ([12.355], 12.36),
        ([1e14 + 0.5, 0.25], 50000000000000.38),  # 50000000000000.375, more digits than float8's cast to numeric keeps
        ([None, 3.0], 3.0),
        ([None], None),
    ],
)
async def test_average_order_value(shop: Shop, revenues: list[float | None], mean: float | None) -> None:
    await shop.happened(*(order("u", revenue) for revenue in revenues))
    assert (await shop.value("user_avg_order_value", "u")).get("u") == mean


async def test_average_order_value_window(shop: Shop) -> None:
    await shop.happened(
        order("u", 1.0, ago=365 * DAY, after_us=1), order("u", 2.0, ago=0),
        order("u", 100.0, ago=365 * DAY), order("u", 100.0, ago=0, after_us=1),
    )  # fmt: skip
    assert await shop.value("user_avg_order_value", "u") == {"u": 1.5}


async def test_price_sensitivity(shop: Shop) -> None:
    # Percentiles of six: 1/12, 3/12, 6/12 (two equal ones: 2 cheaper + half of 2), 9/12, 11/12; alone: 1/2.
    await shop.has(
        *(product(f"t{i}", "Toys", price) for i, price in enumerate([1.0, 2.0, 3.0, 3.0, 4.0, 5.0])),
        product("unpriced", "Toys", None), product("alone", "Books", 99.0), product("nowhere", None, 0.5),
        # percentiles 1/6, 1/2, 5/6
        *(product(f"g{i}", "Games", float(i)) for i in range(3)),
    )  # fmt: skip
    await shop.happened(
        view("cheap", "t0"),
        view("dear", "t5"),
        view("equal", "t2"), view("equal", "t3"),
        view("alone", "alone"),
        # (1/6 + 1/2) / 2 = 1/3 exactly
        view("third", "g0"), view("third", "g1"),
        # (1/2 + 5/6) / 2 = 2/3 exactly
        view("two-thirds", "g1"), view("two-thirds", "g2"),
        # an order line weighs five views, whatever its quantity: (5 * 1/12 + 11/12) / 6 = 16/72 < 1/3
        order("bought", 1.0, "t0", quantity=40), view("bought", "t5"),
        # two lines of one product are two lines: (10/12 + 4 * 11/12) / 14 = 54/168 < 1/3; one would be 49/108 > 1/3
        order("lines", 1.0, "t0", "t0"), *(view("lines", "t5") for _ in range(4)),
        view("edge", "t0", ago=90 * DAY), view("edge", "t5", ago=90 * DAY, after_us=1),
        view("none", "unpriced"), view("none", "nowhere"), view("none", "unknown"),
        event("add-to-cart", "none", "t0"),
    )  # fmt: skip
    users = ("cheap", "dear", "equal", "alone", "third", "two-thirds", "bought", "lines", "edge", "none")
    assert await shop.value("user_price_sensitivity", *users) == {
        "cheap": "high", "dear": "low", "equal": "medium", "alone": "medium", "third": "medium", "two-thirds": "medium",
        "bought": "high", "lines": "high", "edge": "low",
    }  # fmt: skip


async def test_popularity_is_a_magnitude(shop: Shop) -> None:
    await shop.happened(
        order("u", 1.0, "top", "top", quantity=3, ago=0),  # two lines
        event("add-to-cart", "u", "cart", ago=7 * DAY),
        view("u", "viewed", ago=0),
        event("impression", "u", "shown"), event("remove-from-cart", "u", "removed"),
        event("click", "u", "clicked"), rate("u", "rated", 5.0),
        view("u", "old", ago=30 * DAY), view("u", "edge", ago=30 * DAY, after_us=1),
        view("u", "soon", ago=0, after_us=1),
    )  # fmt: skip
    ids = ("top", "cart", "viewed", "shown", "removed", "clicked", "rated", "old", "edge", "soon")
    assert await shop.value("product_popularity_score", *ids) == {
        "top": 10.0,
        "cart": 1.5,
        "viewed": 1.0,
        "edge": pytest.approx(2 ** (-30 / 7), rel=1e-9),
    }


async def test_trend(shop: Shop) -> None:
    await shop.happened(
        order("u", 1.0, "p", ago=DAY), view("u", "p", ago=0), view("u", "p", ago=7 * DAY), event("click", "u", "q")
    )
    assert await shop.value("product_trend_score", "p", "q") == {"p": pytest.approx(3.5, abs=1e-9)}


async def test_inventory_level(shop: Shop) -> None:
    await shop.has(
        *(product(f"p{quantity}", quantity=quantity) for quantity in (0, 1, 5, 6)),
        product("own", quantity=6, low_stock_threshold=6),
        product("never", quantity=1, low_stock_threshold=0),
    )
    ids = ("p0", "p1", "p5", "p6", "own", "never", "unknown")
    assert await shop.value("product_inventory_level", *ids) == {
        "p0": "out_of_stock", "p1": "low_stock", "p5": "low_stock", "p6": "in_stock", "own": "low_stock",
        "never": "in_stock",
    }  # fmt: skip


async def test_rating(shop: Shop) -> None:
    await shop.has(
        product("both", rating_average=4.2, rating_count=10),
        product("catalogue", rating_average=3.456, rating_count=2),
        product("uncounted", rating_average=4.0, rating_count=0),
        product("unrated"),
    )
    await shop.happened(
        rate("a", "both", 1.0, ago=10), rate("a", "both", 5.0, ago=5), rate("a", "both", 2.0, ago=20),
        rate("b", "both", 4.0), rate("b", "both", 5.0, ago=0, after_us=1),
        # a guest is a rater too
        rate("", "both", 3.0, visitor="guest", ago=3), rate("", "both", 4.0, visitor="guest", ago=2),
        # the same instant: what arrived last
        rate("c", "events", 1.0, ago=5), rate("c", "events", 2.0, ago=5), rate("d", "events", 4.5, ago=5000 * DAY),
        # 2.125 and 2.135 on the tie: to even
        *(rate(f"x{i}", "even", r) for i, r in enumerate([2.0, 2.25])),
        *(rate(f"y{i}", "odd", r) for i, r in enumerate([2.02, 2.25])),
    )  # fmt: skip
    assert await shop.value("product_rating", "both", "catalogue", "uncounted", "unrated", "events", "even", "odd") == {
        "both": 4.23,  # (42 + 5 + 4 + 4) / 13 = 4.2307...
        "catalogue": 3.46,
        "events": 3.25,
        "even": 2.12,
        "odd": 2.14,
    }


async def test_recent_products(shop: Shop) -> None:
    await shop.happened(
        view("u", "a", ago=50), view("u", "b", ago=40), view("u", "a", ago=30), view("u", "c", "d", ago=20),
        view("u", "old", ago=30 * DAY), event("add-to-cart", "u", "x", ago=9), event("add-to-cart", "u", "y", ago=5),
        *(view("many", f"p{i}", ago=1000 - i) for i in range(60)),
        *(event("add-to-cart", "many", f"p{i}", ago=1000 - i) for i in range(60)),
    )  # fmt: skip
    views = await shop.value("user_recent_views", "u", "many", "nobody")
    assert views == {"u": ["d", "c", "a", "b"], "many": [f"p{i}" for i in range(59, 9, -1)]}
    carts = await shop.value("user_recent_carts", "u", "many")
    assert carts == {"u": ["y", "x"], "many": [f"p{i}" for i in range(59, 39, -1)]}


async def test_purchased_products(shop: Shop) -> None:
    await shop.happened(
        order("u", 1.0, "old", ago=300 * DAY), order("u", 1.0, "old", ago=301 * DAY),
        order("u", 1.0, "new", ago=DAY),
        order("u", 1.0, "twice", ago=10 * DAY), order("u", 1.0, "twice", ago=20 * DAY),
        order("u", 1.0, "z", "a", ago=100 * DAY), order("u", 1.0, "gone", ago=365 * DAY),
        order("many", 1.0, *(f"p{i:03}" for i in range(250))),
    )  # fmt: skip
    bought = await shop.value("user_purchased_products", "u", "many")
    assert bought == {"u": ["twice", "new", "a", "z", "old"], "many": [f"p{i:03}" for i in range(200)]}


async def test_equal_purchases_are_a_tie_in_whatever_order_they_came(shop: Shop) -> None:
    # The three decays added up from the oldest on are greater in the last digit than from the newest on.
    await shop.happened(
        *(order("u", 1.0, "z", ago=days * DAY) for days in (28, 9, 1)),
        *(order("u", 1.0, "a", ago=days * DAY) for days in (1, 9, 28)),
    )
    # Knowing how small it is, the server reads the table as it lies, not by the index, which is in the order of time.
    await shop.parts.database.fetch("ANALYZE event_lines")
    assert await shop.value("user_purchased_products", "u") == {"u": ["a", "z"]}
