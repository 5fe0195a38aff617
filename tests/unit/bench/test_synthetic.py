"""The made-up shop: the same each time, with something to learn, and messages that fit it."""

from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest

from bench import synthetic_messages
from bench.synthetic import DAYS, ORDER, STYLES, World, product_id, product_number

WORLD = World(products=2_520, users=400)
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def test_it_is_the_same_whoever_asks() -> None:
    again = World(2_520, 400).history()
    history = WORLD.history()
    assert np.array_equal(again.products, history.products)
    assert np.array_equal(again.age, history.age)
    assert synthetic_messages.products(World(2_520, 400), 7, 9) == synthetic_messages.products(WORLD, 7, 9)


def test_history_is_in_the_order_of_time_and_within_the_days() -> None:
    history = WORLD.history()
    assert (np.diff(history.age) <= 0).all()
    assert history.age.min() > 0
    assert history.age.max() <= DAYS * 86_400


def test_every_user_orders_and_no_basket_has_a_product_twice() -> None:
    history = WORLD.history()
    orders = np.flatnonzero(history.types == ORDER)
    lines = Counter[int]()
    for row in orders.tolist():
        first, count = int(history.first_line[row]), int(history.line_count[row])
        products = history.products[first : first + count].tolist()
        assert len(set(products)) == count
        lines[int(history.users[row])] += count
    assert set(lines) == set(range(WORLD.users))
    assert max(lines.values()) <= 60


def test_tastes_are_more_than_popularity() -> None:
    """Of two users' choices those of one share groups of products far more often than those of two."""
    dice = np.random.default_rng(1)
    users = np.repeat(np.arange(100), 20)
    groups = WORLD.group[WORLD.choose(users, dice)].reshape(100, 20)
    own = np.mean([len(set(row.tolist())) for row in groups])
    mixed = np.mean([len(set(column.tolist())) for column in groups.T[:, :20]])
    assert own < 0.8 * mixed


def test_a_choice_is_of_the_users_kinds() -> None:
    users = np.arange(WORLD.users)
    kinds = WORLD.group[WORLD.choose(users, np.random.default_rng(2))] // STYLES
    assert all(kind in WORLD.liked_kinds[user] for user, kind in zip(users.tolist(), kinds.tolist(), strict=True))


def test_few_users_come_often() -> None:
    visits = np.bincount(WORLD.visitors(20_000, np.random.default_rng(3)), minlength=WORLD.users)
    assert np.sort(visits)[::-1][:40].sum() > 0.5 * visits.sum()


def test_some_products_are_sold_out() -> None:
    assert 0.03 < (WORLD.stock == 0).mean() < 0.07


def test_too_few_products_are_refused() -> None:
    with pytest.raises(ValueError, match="without any"):
        World(100, 10)


def test_messages_say_what_the_arrays_do() -> None:
    history = WORLD.history()
    made = list(synthetic_messages.events(WORLD, history, NOW, 10, 40))
    assert [event.event_id for event in made] == [f"h{number}" for number in range(10, 40)]
    assert [len(event.product_details) for event in made] == history.line_count[10:40].tolist()
    first = made[0]
    assert first.event_time.seconds == int(NOW.timestamp() - history.age[10])
    line = first.product_details[0]
    assert product_number(line.product_id) == history.products[history.first_line[10]]


def test_products_have_what_the_scorer_reads() -> None:
    products = synthetic_messages.products(WORLD, 0, 300)
    assert [product.id for product in products] == [product_id(number) for number in range(300)]
    assert all(product.categories[0].count(" > ") == 2 for product in products)
    assert all(product.price > 0 and product.brand and product.description for product in products)
    assert [product.available_quantity for product in products] == WORLD.stock[:300].tolist()


@pytest.mark.parametrize(("text", "number"), [("prod_0000012", 12), ("prod_12", -1), ("prod_x", -1), ("shoe", -1)])
def test_only_own_ids_have_numbers(text: str, number: int) -> None:
    assert product_number(text) == number
