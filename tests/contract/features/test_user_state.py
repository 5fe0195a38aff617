"""The derived state of users against plain Python, at every edge of its windows."""

from __future__ import annotations

import random

import pytest

from services.features.app import Parts
from services.features.domain.events import EVENT_TYPES, Event
from services.features.domain.features import NO_EVIDENCE, Outcome, Table
from tests.contract.features.test_exact_values import DAY, HOUR, MINUTE, NOW, Shop, event, order, product, view
from tests.support.user_state import FEATURES, History, Lookup

HISTORY, CATEGORIES, BRANDS = "user_purchase_history", "user_category_affinity", "user_brand_affinity"
ORDERS, START, PRODUCTS = "user_recent_orders", "user_session_start", "user_session_products"
# Seconds of each feature's window.
WINDOWS = {
    "user_recent_views": 30 * DAY, "user_recent_carts": 30 * DAY, ORDERS: 365 * DAY, HISTORY: 365 * DAY,
    CATEGORIES: 180 * DAY, BRANDS: 180 * DAY, START: 2 * DAY, PRODUCTS: 2 * DAY,
}  # fmt: skip
SHELF = {f"p{n}": (f"c{n % 3}" if n else None, f"b{n % 4}" if n % 5 else None) for n in range(10)}
LOOKUP = Lookup({p: category for p, (category, _) in SHELF.items()}, {p: brand for p, (_, brand) in SHELF.items()})


@pytest.fixture
async def shop(parts: Parts) -> Shop:
    shop = Shop(parts)
    await shop.has(*(product(name, category, brand=brand) for name, (category, brand) in SHELF.items()))
    return shop


def plain(value: object, changing: bool = True) -> object:
    """A table as rows; without ``changing`` less what changes all the time."""
    if not isinstance(value, Table):
        return value
    width = len(value.columns)
    rows = [value.values[place * width :][:width] for place in range(len(value.keys))]
    return {
        key: {
            name: pytest.approx(number, rel=1e-9)
            for name, number in zip(value.columns, row, strict=True)
            if changing or name != "decayed"
        }
        for key, row in zip(value.keys, rows, strict=True)
    }


def expected(name: str, events: list[Event], subject: str, now_ms: int) -> object:
    value = FEATURES[name](History(events, subject), now_ms * 1_000, LOOKUP)
    return (value + 500) // 1_000 if name == START and isinstance(value, int) else value


def check(name: str, outcome: Outcome, events: list[Event], subject: str, now_ms: int = NOW) -> None:
    right = expected(name, events, subject, now_ms)
    assert plain(outcome.value) == right, f"{subject} at {now_ms}"
    if isinstance(right, dict) and isinstance(outcome.value, Table):  # equal dicts may differ in order
        assert list(outcome.value.keys) == list(right)


def some(chance: random.Random, window: float, users: list[str]) -> list[Event]:
    events = []
    for user in users:
        visitor = {"visitor": user[1:]} if user.startswith("~") else {}
        for _ in range(chance.randint(1, 14)):
            # Some at once, some at an edge, some a pause of a session apart.
            ago = chance.choice([window * chance.random(), window / 2, chance.randint(0, 9) * 15 * MINUTE])
            chosen = chance.choices([*SHELF, "unknown"], k=chance.choice([1, 1, 2, 3]))
            kind = chance.choice([*EVENT_TYPES, "purchase-complete", "detail-page-view", "add-to-cart"])
            rating = 3.0 if kind == "rate" else None
            after_us = chance.choice([0, 0, chance.randint(-999, 0)])
            events.append(
                event(kind, "" if visitor else user, *chosen, ago=ago, after_us=after_us, rating=rating, **visitor)
            )
    return events


@pytest.mark.parametrize("name", list(FEATURES))
async def test_values_are_right_at_every_edge_and_hold_until_they_say(shop: Shop, name: str) -> None:
    chance, window = random.Random(name), WINDOWS[name]
    users = [*(f"u{n}" for n in range(6)), "~guest"]
    events = [*some(chance, window, users), event("add-to-cart", "u0", "p1"), order("u0", 1.0, "p1"), view("u0", "p2")]
    await shop.happened(*events)
    leave = {-(-(e.event_time_us or 0) // 1_000) + ms for e in events for ms in (0, 30 * 60_000, round(window * 1_000))}
    instants = sorted({NOW, *(edge for edge in leave if edge >= NOW), *(edge - 1 for edge in leave if edge > NOW)})
    for now_ms in sorted(leave - set(instants)):
        past = await shop.outcomes(name, users, now_ms)
        for user in users:
            check(name, past.get(user, NO_EVIDENCE), events, user, now_ms)
    kept = await shop.outcomes(name, users)
    assert kept
    for now_ms in instants:
        outcomes = await shop.outcomes(name, users, now_ms)
        for user in users:
            right = outcomes.get(user, NO_EVIDENCE)
            check(name, right, events, user, now_ms)
            held = kept.get(user, NO_EVIDENCE)
            if held.until_ms is not None and now_ms >= held.until_ms:
                kept[user] = right
            else:
                assert plain(held.value, changing=False) == plain(right.value, changing=False), f"{user} at {now_ms}"
    assert all(outcome == NO_EVIDENCE for outcome in kept.values())


async def test_purchase_history_counts_orders_and_lines(shop: Shop) -> None:
    await shop.happened(
        order("u", 9.0, "p1", "p1", "p2", ago=45 * DAY), order("u", 9.0, "p1", ago=90 * DAY, quantity=7),
        order("u", 9.0, "p3", ago=365 * DAY), view("u", "p4"), order("other", 9.0, "p1"),
        order("same", 9.0, "p2", "p1", ago=DAY), order("same", 9.0, "p3", ago=DAY),
    )  # fmt: skip
    at = NOW / 1_000
    outcomes = await shop.outcomes(HISTORY, ["u", "same", "nobody"])
    assert plain(outcomes["u"].value) == {
        "p2": {"orders": 1, "first_time": at - 45 * DAY, "last_time": at - 45 * DAY, "decayed": 0.5},
        "p1": {"orders": 2, "first_time": at - 90 * DAY, "last_time": at - 45 * DAY, "decayed": 1.25},
    }
    assert isinstance(outcomes["u"].value, Table)
    assert outcomes["u"].value.keys == ("p2", "p1")
    assert outcomes["u"].until_ms == NOW + round(275 * DAY * 1_000)
    # At one time by arrival, then by place in the order, the last first.
    assert isinstance(outcomes["same"].value, Table)
    assert outcomes["same"].value.keys == ("p3", "p1", "p2")
    assert "nobody" not in outcomes


async def test_interest_is_shared_out_with_decay(shop: Shop) -> None:
    await shop.happened(
        view("u", "p1", ago=30 * DAY), event("add-to-cart", "u", "p2", ago=60 * DAY),
        order("u", 1.0, "p3", ago=30 * DAY), view("u", "p0"), view("u", "unknown"), view("u", "p1", ago=180 * DAY),
        view("tie", "p2", ago=DAY), view("tie", "p1", ago=DAY), view("none", "unknown"),
    )  # fmt: skip
    outcomes = await shop.outcomes(CATEGORIES, ["u", "tie", "none"])
    # p3 and p0 lie in c0 and nowhere, p1 in c1, p2 in c2; 2.5, 0.5 and 0.75.
    assert plain(outcomes["u"].value) == {
        "c0": {"share": 2.5 / 3.75}, "c2": {"share": 0.75 / 3.75}, "c1": {"share": 0.5 / 3.75},
    }  # fmt: skip
    assert outcomes["u"].until_ms == NOW + round(120 * DAY * 1_000)
    assert isinstance(outcomes["tie"].value, Table)
    assert outcomes["tie"].value.keys == ("c1", "c2")
    assert "none" not in outcomes


async def test_at_most_twenty_names_and_the_shares_are_of_all(shop: Shop) -> None:
    await shop.has(*(product(f"q{n}", f"many {n:02}") for n in range(25)))
    await shop.happened(view("u", *(f"q{n}" for n in range(25))))
    (outcome,) = (await shop.outcomes(CATEGORIES, ["u"])).values()
    assert isinstance(outcome.value, Table)
    assert outcome.value.keys == tuple(f"many {n:02}" for n in range(20))
    assert outcome.value.values == pytest.approx([1 / 25] * 20)


@pytest.mark.parametrize(
    ("agos", "start"),
    [
        ([29.99], 29.99),
        ([30], None),
        ([10, 40, 70], 70),  # pauses of half an hour are none
        ([10, 40.01], 10),
        ([0, 29, 58, 89], 58),
        ([-1, 10], 10),  # what is yet to come has not happened
    ],
)
async def test_a_session_ends_by_half_an_hour_of_nothing(shop: Shop, agos: list[float], start: float | None) -> None:
    await shop.happened(*(event("search", "u", ago=ago * MINUTE) for ago in agos))
    outcome = (await shop.outcomes(START, ["u"])).get("u", NO_EVIDENCE)
    assert outcome.value == (None if start is None else NOW - round(start * 60_000))
    found = (await shop.outcomes(PRODUCTS, ["u"])).get("u", NO_EVIDENCE)
    assert found == (outcome if start is None else Outcome([], outcome.until_ms))


async def test_a_session_is_not_kept_up_by_what_is_shown(shop: Shop) -> None:
    await shop.happened(event("impression", "u", "p1", ago=MINUTE), view("u", "p2", ago=31 * MINUTE))
    assert await shop.outcomes(START, ["u"]) == {}


async def test_a_session_without_end_is_of_the_last_two_days(shop: Shop) -> None:
    await shop.happened(*(view("u", "p1", ago=quarter * 15 * MINUTE + 1) for quarter in range(4 * 50)))
    (outcome,) = (await shop.outcomes(START, ["u"])).values()
    assert outcome == (NOW - round((48 * HOUR - 15 * MINUTE + 1) * 1_000), NOW + round((15 * MINUTE - 1) * 1_000))
