"""The oracle judges the services; these few numbers, worked out by hand, judge the oracle."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tests.support.oracle import NULL, Answer, Oracle, RawEvent, RawProduct

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PRODUCTS = (
    # prices of Tea: 1, 2, 2, 5: percentiles 1/8, 4/8, 4/8, 7/8
    RawProduct("t1", "Tea", Decimal(1), 0),
    RawProduct("t2", "Tea", Decimal(2), 5, rating_average=Decimal("4.5"), rating_count=3),
    RawProduct("t3", "Tea", Decimal(2), 6),
    RawProduct("t5", "Tea", Decimal(5), 8, low_stock=8),
    RawProduct("c1", "Coffee", Decimal(9), 100),
)


def event(kind: str, *products: str, user: str = "ann", ago: timedelta = timedelta(0), **more: Decimal) -> RawEvent:
    return RawEvent(kind, user, NOW - ago, products, **more)


def ask(feature: str, entity: str, *events: RawEvent) -> Answer:
    return Oracle(events, PRODUCTS).ask(feature, entity, NOW)


def test_browsing_category_counts_views_of_an_hour_open_at_its_start() -> None:
    minutes = [timedelta(minutes=m) for m in (60, 59, 30, 10)]
    views = [
        event("detail-page-view", product, ago=ago)
        for product, ago in zip(("t1", "t1", "c1", "t2"), minutes, strict=True)
    ]

    assert ask("user_browsing_category", "ann", *views) == Answer("Tea", "PRESENT")
    assert ask("user_browsing_category", "ann", *views[:3]) == Answer("Coffee", "PRESENT")  # a tie: viewed last
    assert ask("user_browsing_category", "ann", views[0]) == NULL
    assert ask("user_browsing_category", "bob", *views) == NULL


def test_orders_and_their_mean_round_half_to_even() -> None:
    orders = [
        event("purchase-complete", "t1", "t1", revenue=Decimal("10.00")),
        event("purchase-complete", "t1", ago=timedelta(days=30), revenue=Decimal("10.01")),
        event("purchase-complete", "t1", ago=timedelta(days=365), revenue=Decimal("99")),
    ]

    assert ask("user_purchase_count_30d", "ann", *orders) == Answer(1, "PRESENT")
    assert ask("user_purchase_count_30d", "bob", *orders) == Answer(0, "DEFAULT")
    assert ask("user_avg_order_value", "ann", *orders) == Answer(10.0, "PRESENT")
    assert ask("user_avg_order_value", "bob", *orders) == NULL


@pytest.mark.parametrize(
    ("bought", "viewed", "segment"),
    [
        (["t1"], [], "high"),
        (["t5"], [], "low"),
        (["t2"], [], "medium"),
        (["t1"], ["t5"], "high"),  # (5 x 1/8 + 7/8) / 6 = 1/4
        (["t1"], ["t5"] * 3, "medium"),  # (5/8 + 21/8) / 8 = 13/32
        ([], ["c1", "unknown"], "medium"),  # alone in its category: 1/2
    ],
)
def test_price_sensitivity_weighs_orders_five_times(bought: list[str], viewed: list[str], segment: str) -> None:
    events = [event("purchase-complete", *bought), event("detail-page-view", *viewed)]

    assert ask("user_price_sensitivity", "ann", *events) == Answer(segment, "PRESENT")


def test_price_sensitivity_without_evidence_is_the_default() -> None:
    assert ask("user_price_sensitivity", "ann", event("detail-page-view", "unknown")) == Answer("medium", "DEFAULT")


def test_popularity_halves_in_a_week_and_is_relative_to_the_most_popular() -> None:
    events = [
        event("detail-page-view", "t1"),
        event("detail-page-view", "t1", ago=timedelta(days=30)),  # just outside
        event("add-to-cart", "t2"),
        event("purchase-complete", "t3", "t3", ago=timedelta(days=7)),  # 2 lines x 5 / 2
        event("click", "t5"),
    ]

    # ln 2 / ln 6, ln 4 / ln 6
    assert ask("product_popularity_score", "t1", *events) == Answer(38.69, "PRESENT")
    assert ask("product_popularity_score", "t2", *events) == Answer(77.37, "PRESENT")
    assert ask("product_popularity_score", "t3", *events) == Answer(100.0, "PRESENT")
    assert ask("product_popularity_score", "t5", *events) == Answer(0, "DEFAULT")


def test_inventory_levels() -> None:
    levels = {product: ask("product_inventory_level", product).value for product in ("t1", "t2", "t3", "t5", "x")}

    assert levels == {"t1": "out_of_stock", "t2": "low_stock", "t3": "in_stock", "t5": "low_stock", "x": None}


def test_a_newer_rating_of_a_user_replaces_the_older_one() -> None:
    ratings = [
        event("rate", "t2", rating=Decimal(1), ago=timedelta(days=900)),
        event("rate", "t2", rating=Decimal(5), ago=timedelta(days=800)),
        event("rate", "t2", user="bob", rating=Decimal(2)),
        event("rate", "t2", user="eve", rating=Decimal(5), ago=-timedelta(seconds=1)),  # not yet
    ]

    # (3 x 4.5 + 5 + 2) / 5
    assert ask("product_rating", "t2", *ratings) == Answer(4.1, "PRESENT")
    assert ask("product_rating", "t2") == Answer(4.5, "PRESENT")
    assert ask("product_rating", "t1") == NULL
