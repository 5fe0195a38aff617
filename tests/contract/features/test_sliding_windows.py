"""Until when the statements say that their values hold, against the statements at later instants."""

from __future__ import annotations

import random

import pytest

from services.features.app import Parts
from services.features.domain.events import Event
from services.features.domain.features import Outcome
from tests.contract.features.test_exact_values import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    Shop,
    event,
    order,
    product,
    view,
)

BROWSING, COUNT, AVERAGE = "user_browsing_category", "user_purchase_count_30d", "user_avg_order_value"
SENSITIVITY, PURCHASED = "user_price_sensitivity", "user_purchased_products"
VIEWS, CARTS = "user_recent_views", "user_recent_carts"
# Seconds of each feature's window, and the types of events in it.
SLIDING = {
    BROWSING: (60 * MINUTE, ("detail-page-view",)),
    COUNT: (30 * DAY, ("purchase-complete",)),
    AVERAGE: (365 * DAY, ("purchase-complete",)),
    SENSITIVITY: (90 * DAY, ("detail-page-view", "purchase-complete")),
    VIEWS: (30 * DAY, ("detail-page-view",)),
    CARTS: (30 * DAY, ("add-to-cart",)),
    PURCHASED: (365 * DAY, ("purchase-complete",)),
}


@pytest.fixture
def shop(parts: Parts) -> Shop:
    return Shop(parts)


async def holds(shop: Shop, name: str, user: str) -> float | None:
    """Seconds from now for which the statement says that its value holds."""
    outcome = (await shop.outcomes(name, [user]))[user]
    return None if outcome.until_ms is None else (outcome.until_ms - NOW) / 1_000


@pytest.mark.parametrize(
    ("views", "seconds"),
    [
        (["t 10"], 50 * MINUTE),
        (["t 10", "t 20", "t 30"], 50 * MINUTE),  # alone: to the last
        (["t 10", "b 20"], 50 * MINUTE),  # a tie: to the leader's first
        (["t 10", "t 30", "b 20"], 30 * MINUTE),  # one ahead: then a tie
        (["t 10", "t 30", "t 40", "t 50", "b 20", "b 25"], 20 * MINUTE),  # two ahead
        (["t 10", "t 30", "t 40", "b 50"], 30 * MINUTE),  # whatever leaves of the others before
        (["t 10", "b 20", "g 5", "t 6", "b 7"], 50 * MINUTE),
        (["t 10", "t 20", "none 59"], 50 * MINUTE),  # what has no say is nothing to wait for
    ],
)
async def test_a_category_leads_for_as_long_as_it_is_ahead(shop: Shop, views: list[str], seconds: float) -> None:
    await shop.has(product("t", "Toys"), product("b", "Books"), product("g", "Games"), product("none", None))
    await shop.happened(*(view("u", p, ago=int(ago) * MINUTE) for p, ago in map(str.split, views)))
    assert await holds(shop, BROWSING, "u") == seconds


async def test_the_oldest_that_counts_is_the_first_to_leave(shop: Shop) -> None:
    await shop.has(product("p", "Toys", price=1.0), product("priceless", "Toys", price=None))
    await shop.happened(
        order("u", 5.0, ago=29 * DAY), order("u", None, ago=300 * DAY), order("u", 5.0, ago=200 * DAY),
        order("u", 5.0, ago=400 * DAY), view("u", "priceless", ago=89 * DAY), view("u", "p", ago=80 * DAY),
        view("u", "p", ago=29 * DAY), view("u", "p", ago=12 * HOUR),
    )  # fmt: skip
    assert await holds(shop, COUNT, "u") == 1 * DAY
    assert await holds(shop, AVERAGE, "u") == 165 * DAY
    assert await holds(shop, SENSITIVITY, "u") == 10 * DAY
    assert await holds(shop, PURCHASED, "u") == 65 * DAY
    # The same product, viewed again since, stays.
    assert await holds(shop, VIEWS, "u") == 30 * DAY - 12 * HOUR


async def test_what_a_full_list_leaves_out_is_nothing_to_wait_for(shop: Shop) -> None:
    await shop.happened(
        *(event("add-to-cart", "u", f"p{days}", ago=days * DAY) for days in range(1, 26)),
        *(view("u", f"p{hours}", ago=hours * HOUR) for hours in range(1, 56)),
    )
    assert await holds(shop, CARTS, "u") == 10 * DAY
    assert await holds(shop, VIEWS, "u") == 30 * DAY - 50 * HOUR


async def test_between_milliseconds_a_value_holds_up_to_the_next(shop: Shop) -> None:
    await shop.happened(
        order("whole", 1.0, ago=30 * DAY - 5), order("after", 1.0, ago=30 * DAY - 5, after_us=1),
        order("before", 1.0, ago=30 * DAY - 5, after_us=-1), order("at once", 1.0, ago=30 * DAY, after_us=1),
    )  # fmt: skip
    users = ["whole", "after", "before", "at once"]
    assert [await holds(shop, COUNT, user) for user in users] == [5.0, 5.001, 5.0, 0.001]


@pytest.mark.parametrize("name", list(SLIDING))
async def test_a_value_that_is_kept_until_then_is_right_at_every_instant(shop: Shop, name: str) -> None:
    """Kept values, computed anew when the statement says so and never else, equal the statement at all edges."""
    window, kinds = SLIDING[name]
    chance = random.Random(name)
    await shop.has(*(product(f"p{n}", f"c{n % 3}", price=float(n)) for n in range(9)), product("p9", None))
    users = [f"u{n}" for n in range(8)]
    events: list[Event] = []
    for user in users:
        for _ in range(chance.randint(1, 9)):
            ago = window * chance.choice([chance.random(), 0.5, 0.25])  # some at once
            chosen = chance.choices([f"p{n}" for n in range(10)], k=chance.choice([1, 1, 2]))
            after_us, revenue = chance.randint(-999, 999), chance.choice([None, 1.0, 2.5])
            events.append(event(chance.choice(kinds), user, *chosen, ago=ago, after_us=after_us, revenue=revenue))
    await shop.happened(*events)
    edges = {-(-(e.event_time_us or 0) // 1_000) + round(window * 1_000) for e in events}
    kept = await shop.outcomes(name, users)
    assert kept
    computed = 0
    for now_ms in sorted(edges | {edge - 1 for edge in edges}):
        right = await shop.outcomes(name, users, now_ms)
        for user in users:
            held = kept.get(user, Outcome(None))
            if held.until_ms is not None and held.until_ms <= now_ms:
                kept[user] = held = right.get(user, Outcome(None))
                computed += 1
            assert held.value == right.get(user, Outcome(None)).value, f"{user} at {now_ms}: {held}"
    # Each event leaves a window once.
    assert 0 < computed <= len(events)
    assert all(outcome == Outcome(None) for outcome in kept.values())


@pytest.mark.parametrize("name", ["product_trend_score", "product_rating"])
async def test_what_decays_all_the_time_waits_for_its_refresh(shop: Shop, name: str) -> None:
    await shop.happened(view("u", "p1"), event("rate", "u", "p1", rating=4.0))
    assert (await shop.outcomes(name, ["p1"]))["p1"].until_ms is None
