"""The log's rows beside the catalogue, as learning gets them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from services.recommender.domain.product import Product
from services.recommender.ranking_ports import InteractionChunk
from services.recommender.training.interactions import Interactions, Kind, catalogue
from services.recommender.training.learning import log as logs
from services.recommender.training.learning.log import CART, PURCHASE, VIEW

BUY, LOOK, PUT = "purchase-complete", "detail-page-view", "add-to-cart"
KIND = Kind("Food > Bread", "Baker", 2.0)


def chunk(*rows: tuple[str, str, str, int, int]) -> InteractionChunk:
    users, products, types, times, events = zip(*rows, strict=True)
    return InteractionChunk(users, products, types, times, events)


def test_rows_come_by_time_of_products_that_the_catalogue_has() -> None:
    interactions = Interactions()
    interactions.add(chunk(("ann", "b", BUY, 3_000, 7), ("bob", "gone", BUY, 2_000, 8), ("bob", "a", LOOK, 1_000, 9)))
    interactions.add(chunk(("ann", "a", PUT, 1_000, 10), ("ann", "b", "search", 500, 11)))
    assert len(interactions) == 4
    assert interactions.users == 2
    assert interactions.newest_ms == 3_000
    log, _ = interactions.arrays({"a": KIND, "b": KIND, "c": KIND})
    assert log.product_ids == ["a", "b"]
    assert log.user_count == 2
    assert log.times.tolist() == [1.0, 1.0, 3.0]
    assert [interactions.user_ids[user] for user in log.users] == ["ann", "bob", "ann"]
    assert log.types.tolist() == [CART, VIEW, PURCHASE]
    assert log.events.tolist() == [10, 9, 7]


def test_of_too_many_products_those_that_count_most_are_kept() -> None:
    interactions = Interactions()
    interactions.add(chunk(*(("ann", f"p{n}", BUY if n % 2 else LOOK, 1_000, n) for n in range(8))))
    log, _ = interactions.arrays({f"p{n}": KIND for n in range(8)}, most=4)
    assert log.product_ids == ["p1", "p3", "p5", "p7"]


def test_the_order_in_which_rows_arrive_changes_nothing() -> None:
    rows = [(f"u{n % 3}", f"p{n % 5}", BUY, 1_000 * (n % 4), n) for n in range(20)]
    one, other = Interactions(), Interactions()
    one.add(chunk(*rows))
    # Users keep their numbers: their first rows stay in front.
    other.add(chunk(*rows[:3], *rows[:2:-1]))
    kinds = {f"p{n}": KIND for n in range(5)}
    a, b = one.arrays(kinds)[0], other.arrays(kinds)[0]
    assert a.product_ids == b.product_ids
    for name in ("users", "products", "times", "types"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_groups_are_numbered_by_what_is_above_them() -> None:
    found = catalogue(
        [
            Kind("Food > Bread > Rye", "Baker", 2.0),
            Kind("Pets > Bread", "", None),
            Kind("Food", "Baker", 1.0),
            Kind("", "", None),
        ]
    )
    assert found.groups["department"].tolist() == [1, 2, 1, 0]
    assert found.groups["category"].tolist() == [2, 3, 1, 0]
    assert found.groups["kind"].tolist() == [2, 3, 1, 0]
    assert found.groups["brand"].tolist() == [1, 0, 1, 0]
    np.testing.assert_array_equal(found.prices, [2.0, np.nan, 1.0, np.nan])
    assert Kind.of(Product("a", "A", categories=("X > Y", "Z"), brand="B", price=3.0)) == Kind("X > Y", "B", 3.0)
    assert Kind.of(Product("a", "A")) == Kind("", "", None)


def test_devices_and_stars_come_with_the_rows() -> None:
    interactions = Interactions()
    interactions.add(
        InteractionChunk(
            ["ann", "bob", "eve", "ann", "bob"],
            ["b", "a", "a", "gone", "b"],
            [BUY, LOOK, "rate", "rate", "rate"],
            [3_000, 2_000, 4_000, 2_500, 1_000],
            [1, 2, 3, 4, 5],
            ["app", "", "app", "app", "app"],
            [0.0, 0.0, 4.5, 2.0, 1.0],
        )
    )
    interactions.add(chunk(("eve", "b", LOOK, 1_500, 6)))
    assert len(interactions) == 3, "an opinion is no interaction"
    log, _ = interactions.arrays({"a": KIND, "b": KIND})
    assert (log.devices.tolist(), log.device_names) == ([-1, -1, 0], ["app"])
    assert (log.ratings.products.tolist(), log.ratings.stars.tolist()) == ([1, 0], [1.0, 4.5])
    assert [interactions.user_ids[user] for user in log.ratings.users] == ["bob", "eve"]
    past = log.before(3.0)
    assert (past.devices.tolist(), past.ratings.stars.tolist()) == ([-1, -1], [1.0])


def test_devices_are_few_whatever_events_say() -> None:
    interactions = Interactions()
    for number in range(1_500):
        # The later ones most often: it is not the first to come that are kept.
        rows = [("ann", "a", LOOK, 1_000 * number, number)] * (3 if 900 <= number < 920 else 1)
        interactions.add(dataclasses.replace(chunk(*rows), devices=[f"d{number}"] * len(rows)))
    log, _ = interactions.arrays({"a": KIND})
    assert set(log.device_names) == {f"d{number}" for number in range(900, 920)}
    assert np.bincount(log.devices + 1).tolist() == [len(log) - 60, *[3] * 20]


def test_a_log_reads_back_as_it_was_written(tmp_path: Path) -> None:
    interactions = Interactions()
    interactions.add(chunk(("ann", "b", BUY, 3_000, 7), ("bob", "a", LOOK, 1_000, 9)))
    log, products = interactions.arrays({"a": KIND, "b": KIND})
    logs.write(tmp_path, log, products)
    again, same = logs.read(tmp_path)
    assert again.product_ids == log.product_ids
    np.testing.assert_array_equal(again.events, log.events)
    np.testing.assert_array_equal(same.groups["kind"], products.groups["kind"])
