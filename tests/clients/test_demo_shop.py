"""The demo shop is deterministic, plausible and within the contract's bounds."""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from windowshop_client.demo.generator import Shop, generate_shop
from windowshop_client.demo.tastes import LIFESTYLES
from windowshop_client.demo.words import DEPARTMENTS

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
WITH_PRODUCTS = {
    "detail-page-view", "add-to-cart", "remove-from-cart", "purchase-complete", "rate", "impression", "click",
}  # fmt: skip


@pytest.fixture(scope="module")
def shop() -> Shop:
    return generate_shop(now=NOW)


def test_the_same_seed_and_instant_give_the_same_shop(shop: Shop) -> None:
    assert generate_shop(now=NOW) == shop


def test_another_instant_moves_events_and_changes_nothing_else(shop: Shop) -> None:
    later = generate_shop(now=NOW + timedelta(days=3, hours=7))

    def content(other: Shop) -> set[object]:
        return {(e.event_id, e.event_type, e.user_id, e.lines, e.revenue, e.rating, e.session_id) for e in other.events}

    assert later.products == shop.products
    assert content(later) == content(shop)


def test_the_newest_event_of_a_named_user_moves_with_now_alone(shop: Shop) -> None:
    """At any time of day: whoever knows the event knows when the shop was made."""

    def age(shop: Shop, now: datetime) -> timedelta:
        return now - max(event.event_time for event in shop.events if event.user_id == "user_002")

    assert age(shop, NOW) < timedelta(minutes=45)
    for hours in (6, 13):
        moment = NOW + timedelta(hours=hours)
        assert age(generate_shop(now=moment), moment) == age(shop, NOW)


def test_another_seed_gives_another_shop(shop: Shop) -> None:
    other = generate_shop(8, now=NOW)
    assert [p.title for p in other.products] != [p.title for p in shop.products]
    assert not {e.event_id for e in other.events} & {e.event_id for e in shop.events}


def test_the_sizes_that_were_asked_for(shop: Shop) -> None:
    assert len(shop.products) == 2_000
    assert 40_000 <= len(shop.events) <= 80_000
    assert {e.user_id for e in shop.events} == {f"user_{n:03d}" for n in range(1, 501)}
    departments = {p.categories[0].split(" > ")[0] for p in shop.products}
    assert len(departments) == 14
    assert all(2 <= len(p.categories[0].split(" > ")) <= 3 for p in shop.products)


def test_products_are_within_the_contract(shop: Shop) -> None:
    assert len({p.id for p in shop.products}) == len(shop.products)
    for product in shop.products:
        assert re.fullmatch(r"prod_\d{3,4}", product.id)
        assert 10 <= len(product.title) <= 100
        assert 20 <= len(product.description) <= 300
        assert product.description.endswith(".")
        assert 0 < product.price < 5_000
        assert product.price == round(product.price, 2)
        assert product.available_quantity >= 0
        assert (product.rating_average is None) == (product.rating_count == 0)
        assert product.rating_average is None or 1 <= product.rating_average <= 5


def test_titles_are_readable_and_unique(shop: Shop) -> None:
    titles = Counter(p.title for p in shop.products)
    assert titles.most_common(1)[0][1] == 1
    assert all(p.title.startswith(p.brand) and "  " not in p.title for p in shop.products)


def test_stock_is_mixed_and_the_named_product_is_there(shop: Shop) -> None:
    stock = {p.id: p.available_quantity for p in shop.products}
    assert 60 <= sum(quantity == 0 for quantity in stock.values()) <= 140
    assert 80 <= sum(1 <= quantity <= 5 for quantity in stock.values()) <= 240
    assert stock["prod_100"] > 5
    assert any(line.product_id == "prod_100" for e in shop.events for line in e.lines)


def test_events_are_within_the_contract(shop: Shop) -> None:
    known = {p.id for p in shop.products}
    assert len({e.event_id for e in shop.events}) == len(shop.events)
    for event in shop.events:
        assert re.fullmatch(r"[A-Za-z0-9_.:@-]{1,128}", event.event_id)
        assert NOW - timedelta(days=58) <= event.event_time <= NOW
        assert bool(event.lines) == (event.event_type in WITH_PRODUCTS)
        assert {line.product_id for line in event.lines} <= known
        assert (event.rating is not None) == (event.event_type == "rate")
        assert event.rating is None or 1 <= event.rating <= 5
        assert (event.revenue is not None) == (event.event_type == "purchase-complete")


def test_revenue_is_the_sum_of_the_lines(shop: Shop) -> None:
    orders = [e for e in shop.events if e.event_type == "purchase-complete"]
    assert len(orders) > 1_000
    for order in orders:
        assert order.revenue is not None
        assert order.revenue == round(sum((x.price or 0) * (x.quantity or 0) for x in order.lines), 2)


def test_sessions_run_forward_in_time(shop: Shop) -> None:
    visits: dict[str, list[str]] = {}
    times: dict[str, datetime] = {}
    for event in shop.events:
        if event.event_type == "rate":
            continue  # days later
        visits.setdefault(event.session_id, []).append(event.event_type)
        assert event.event_time != times.get(event.session_id), "one thing at a time"
        times[event.session_id] = event.event_time
    assert all(
        acts.index("purchase-complete") == len(acts) - 1 for acts in visits.values() if "purchase-complete" in acts
    )


def test_the_named_users_are_active_now_and_differ(shop: Shop) -> None:
    category = {p.id: p.categories[0].split(" > ")[0] for p in shop.products}
    favourites = []
    for user in ("user_001", "user_002"):
        events = [e for e in shop.events if e.user_id == user]
        views = [e for e in events if e.event_type == "detail-page-view" and NOW - e.event_time < timedelta(minutes=60)]
        orders = [e for e in events if e.event_type == "purchase-complete" and NOW - e.event_time < timedelta(days=30)]
        assert len(views) >= 3
        assert len(orders) >= 3
        favourites.append(Counter(category[e.lines[0].product_id] for e in views).most_common(1)[0][0])
    assert favourites == ["Electronics", "Home & Kitchen"]


def test_people_have_tastes(shop: Shop) -> None:
    """Most of what a user looks at lies in a few of the 84 leaf categories."""
    leaf = {p.id: p.categories[0] for p in shop.products}
    shares = []
    for user in sorted({e.user_id for e in shop.events}):
        seen = Counter(
            leaf[e.lines[0].product_id] for e in shop.events if e.user_id == user and e.event_type == "detail-page-view"
        )
        shares.append(sum(count for _, count in seen.most_common(4)) / seen.total())
    assert sum(shares) / len(shares) > 0.85


def test_the_vocabulary_has_words_for_every_product() -> None:
    leaves = [leaf for dept in DEPARTMENTS for leaf in dept.leaves]
    for leaf in leaves:
        assert len(set(leaf.kinds)) * len(set(leaf.traits)) >= 2_000 / len(leaves)
    brands = [brand for dept in DEPARTMENTS for brand in dept.brands]
    assert len(brands) == len(set(brands))
    for names in LIFESTYLES.values():
        for name in names:
            assert sum(f" > {leaf.path}".endswith(f" > {name}") for leaf in leaves) == 1, name
