"""Remembered orders: found as long as everything that decides them is the same, and no longer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from services.recommender.domain.assortment import Assortment
from services.recommender.domain.candidates import Candidate, Trace
from services.recommender.domain.deciding import Choice
from services.recommender.domain.product_row import ProductRow
from services.recommender.domain.serving import ServingConfig, SourceSpec
from services.recommender.domain.shoppers import Shopper
from services.recommender.domain.signals import UserSignals
from services.recommender.pipeline import remembering
from services.recommender.pipeline.context import Ask
from services.recommender.pipeline.remembering import Order, RememberedOrders

CONFIG = ServingConfig("recommended-for-you", (SourceSpec("buy_again", 10, 0.3, 1.0),), objective="anything")
ASK = Ask("recommended-for-you", "ann", page_size=1)
SIGNALS = UserSignals(recent_views=("seen",), bought=("a",), bought_table=np.ones((1, 4)))
CHOICES = [(Choice(Candidate(name, 0.5, (Trace("taste", 1, 0.5, None),)), 2.0, "Audio"), ("Why",)) for name in "abc"]


def row(name: str, **other: object) -> ProductRow:
    made = ProductRow(
        name, name, "Audio", "Ada", 9.5, 7, 5, None, None, None, None, None, b"text", np.ones(256, dtype=np.float16)
    )
    return made._replace(**other)  # type: ignore[arg-type]  # each value has its field's type


@dataclass
class Catalogue:
    """Everything is known of six products."""

    assortment: Assortment = field(default_factory=lambda: filled("a", "b", "c", "d", "seen", "other"))
    complete: bool = True
    settled: bool = True


def filled(*names: str) -> Assortment:
    assortment = Assortment(20, 20)
    assortment.put([row(name) for name in names])
    return assortment


class World:
    """A memory, its catalogue, its clock, and who was erased."""

    def __init__(self) -> None:
        self.catalogue = Catalogue()
        self.now = 0.0
        self.erased: set[Shopper] = set()
        self.orders = RememberedOrders(self.catalogue, self.erased.__contains__, lambda: self.now)
        self.find()
        self.now += 10.0

    def find(
        self, ask: Ask = ASK, config: ServingConfig = CONFIG, model: str = "m", signals: UserSignals = SIGNALS
    ) -> Order | None:
        basis = self.orders.basis(ask, config, model, signals)
        return None if basis is None else self.orders.find(basis)

    def keep(self, ask: Ask = ASK, meanwhile: Callable[[], object] = lambda: None, prices: bool = False) -> None:
        basis = self.orders.basis(ask, CONFIG, "m", SIGNALS)
        meanwhile()
        assert basis is not None
        self.orders.keep(basis, CHOICES, self.catalogue.assortment.find("abcd"), ["seen", "gone"], prices)


@pytest.fixture
def world() -> World:
    world = World()
    world.keep()
    return world


def test_an_order_is_found_with_reasons_and_scores(world: World) -> None:
    # As they are read for the next page.
    again = UserSignals(recent_views=("seen",), bought=("a",), bought_table=np.ones((1, 4)))
    order = world.find(replace(ASK), replace(CONFIG), signals=again)
    assert order is not None
    told = [(choice.candidate.id, choice.score, choice.reasons) for choice in order.choices()]
    assert told == [(name, 2.0, ("Why",)) for name in "abc"]
    assert order.candidates == 4


@pytest.mark.parametrize(
    "ask",
    [
        replace(ASK, user_id="bob"),
        replace(ASK, user_id="", visitor_id="ann"),
        replace(ASK, serving_config="discover"),
        replace(ASK, page_size=2),
        replace(ASK, explain=True),
        replace(ASK, shown=(b"x",)),
        replace(ASK, excluded=("a",)),
        replace(ASK, product_ids=("a",)),
    ],
)
def test_another_request_makes_another_order(world: World, ask: Ask) -> None:
    assert world.find(ask) is None
    assert world.find() is not None


@pytest.mark.parametrize(
    "signals",
    [
        replace(SIGNALS, recent_views=("other", "seen")),
        replace(SIGNALS, recent_carts=("seen",)),
        replace(SIGNALS, browsing_category="Audio"),
        replace(SIGNALS, price_sensitivity="high"),
        replace(SIGNALS, bought=("b",)),
        replace(SIGNALS, bought_table=np.full((1, 4), 2.0)),
    ],
)
def test_whatever_the_shopper_did_makes_another_order(world: World, signals: UserSignals) -> None:
    assert world.find(signals=signals) is None


def test_another_model_or_an_edited_config_makes_another_order(world: World) -> None:
    assert world.find(model="other") is None
    world.keep()
    assert world.find(config=replace(CONFIG, never_bought=True)) is None
    assert world.find() is None


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        (lambda a: a.count("b", 0), False),
        (lambda a: a.drop("d"), False),
        (lambda a: a.put([row("c", brand="Bob")]), False),
        (lambda a: a.put([row("seen", title="new")]), False),
        (lambda a: a.put([row("new")]), False),
        (lambda a: a.put([row("other", text_digest=b"another")]), False),
        (lambda a: a.count("other", 0), True),
        (lambda a: a.put([row("other", brand="Bob")]), True),
        (lambda a: a.put([row("c", price=1.0)]), True),
        (lambda a: a.count("b", 6), True),
        (lambda a: a.put([row("b")]), True),
    ],
)
def test_what_changes_in_the_catalogue_counts_where_it_was_looked_at(
    world: World, change: Callable[[Assortment], object], holds: bool
) -> None:
    change(world.catalogue.assortment)
    assert (world.find() is not None) is holds


@pytest.mark.parametrize(("name", "holds"), [("c", False), ("other", True)])
def test_prices_count_where_they_were_read(world: World, name: str, holds: bool) -> None:
    world.keep(prices=True)
    world.catalogue.assortment.put([row(name, price=1.0)])
    assert (world.find() is not None) is holds


def test_what_changes_while_an_order_is_made_counts(world: World) -> None:
    world.keep(meanwhile=lambda: world.catalogue.assortment.count("b", 0))
    assert world.find() is None


def test_what_comes_back_is_looked_at_again(world: World) -> None:
    world.catalogue.assortment.count("other", 0)
    assert world.find() is not None
    world.catalogue.assortment.count("other", 1)
    assert world.find() is None


def test_nothing_is_kept_right_after_an_arrival(world: World) -> None:
    """Lists that are the same for everyone may not have it yet."""
    world.catalogue.assortment.put([row("new")])
    assert world.find() is None
    world.now += 1.0
    world.keep()
    assert world.find() is None
    world.now += 3.0
    world.keep()
    assert world.find() is not None


def test_a_memory_of_the_catalogue_that_is_behind_says_nothing(world: World) -> None:
    for behind in ("settled", "complete"):
        setattr(world.catalogue, behind, False)
        assert world.find() is None
        setattr(world.catalogue, behind, True)
        assert world.find() is not None


def test_another_catalogue_knows_no_orders(world: World) -> None:
    world.catalogue.assortment = filled("a", "b", "c", "d", "seen", "other")
    world.catalogue.assortment.generation = 0
    world.catalogue.assortment.came = 0
    assert world.find() is None


def test_an_order_is_old_after_a_minute(world: World) -> None:
    world.now += 59.0
    assert world.find() is not None
    world.now += 2.0
    assert world.find() is None


def test_the_erased_are_forgotten_and_not_remembered(world: World) -> None:
    guest = Ask("recommended-for-you", visitor_id="ann", page_size=1)
    world.keep(guest)
    world.erased.add(Shopper("ann"))
    assert world.orders.forget(world.erased.__contains__) == 0
    assert world.find() is None
    assert world.find(guest) is not None
    world.keep()
    assert world.find() is None


def test_memory_is_bounded_and_keeps_what_is_used(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "_REMEMBERED", 2)
    bob, eve = replace(ASK, user_id="bob"), replace(ASK, user_id="eve")
    world.keep(bob)
    assert world.find() is not None
    world.keep(eve)
    assert (world.find() is not None, world.find(bob) is not None, world.find(eve) is not None) == (True, False, True)
