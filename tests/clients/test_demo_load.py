"""Loading the demo shop: complete, repeatable, and picked up again after a cut."""

from datetime import UTC, datetime, timedelta
from io import StringIO

import grpc
import pytest
from rich.console import Console
from windowshop.features.v1 import features_pb2 as f
from windowshop.recommender.v1 import catalog_pb2 as c
from windowshop.recommender.v1 import model_pb2 as m
from windowshop_client import WindowshopError, connect
from windowshop_client.demo.generator import generate_shop
from windowshop_client.demo.load import is_loaded, load, loading_order
from windowshop_client.demo.messages import event_message

from tests.clients.conftest import Command
from tests.clients.fake_services import State

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)


def test_the_known_user_comes_last_and_all_others_in_the_order_of_time() -> None:
    events = loading_order(generate_shop(now=NOW).events)
    users = [event.user_id for event in events]
    first = users.index("user_001")
    assert set(users[first:]) == {"user_001"}
    assert [e.event_time for e in events[:first]] == sorted(e.event_time for e in events[:first])


def test_an_order_keeps_its_numbers_on_the_wire() -> None:
    order = next(e for e in generate_shop(now=NOW).events if e.event_type == "purchase-complete")
    message = event_message(order)
    assert message.revenue == order.revenue
    assert [(d.product_id, d.quantity, d.price) for d in message.product_details] == [
        (x.product_id, x.quantity, x.price) for x in order.lines
    ]
    assert message.event_time.ToDatetime(tzinfo=UTC) == order.event_time
    assert not message.HasField("rating")


async def test_a_load_sends_everything_and_trains(state: State, address: str) -> None:
    console = Console(file=StringIO())
    async with connect(features=address, recommender=address) as client:
        assert not await is_loaded(client)
        report = await load(client, console, now=NOW)
        assert await is_loaded(client)
        again = await load(client, console, now=NOW + timedelta(hours=2))

    assert report.products is not None
    assert report.products.created == len(state.products) == 2_000
    assert report.events is not None
    assert report.events.accepted == len(state.events) == len(generate_shop(now=NOW).events)
    assert report.model.state == m.ACTIVE
    assert again.products is None
    assert again.events is None
    assert again.model.id == report.model.id, "no second training"


async def test_forcing_a_second_load_adds_nothing(state: State, address: str) -> None:
    console = Console(file=StringIO())
    async with connect(features=address, recommender=address) as client:
        await load(client, console, now=NOW)
        before = dict(state.events)
        report = await load(client, console, now=NOW + timedelta(days=1), force=True)
    assert report.events is not None
    assert report.events.accepted == 0
    assert report.products is not None
    assert report.products.unchanged == 2_000
    assert state.events == before


async def test_a_cut_load_is_completed_by_the_next_one(state: State, address: str) -> None:
    console = Console(file=StringIO())
    state.fail_after_events = 5_000
    async with connect(features=address, recommender=address) as client:
        with pytest.raises(WindowshopError) as caught:
            await load(client, console, now=NOW)
        assert caught.value.code is grpc.StatusCode.UNAVAILABLE
        assert caught.value.reason == "EVENT_LOG_UNAVAILABLE"
        assert not await is_loaded(client)
        state.fail_after_events = None
        report = await load(client, console, now=NOW)
    assert report.events is not None
    assert report.events.duplicates >= 5_000
    assert len(state.events) == report.events.accepted + report.events.duplicates


async def test_a_failed_training_is_an_error(state: State, windowshop: Command) -> None:
    state.training_ends_as = m.FAILED
    state.products["prod_100"] = c.Product(id="prod_100")
    state.events["x"] = f.Event(event_id="x", user_id="user_001")
    result = await windowshop("demo", "load")
    assert result.exit_code == 1
    assert "not enough rows" in result.stderr


async def test_the_command_says_what_it_did(state: State, windowshop: Command) -> None:
    result = await windowshop("demo", "load", "--now", "2026-03-14T15:09:26Z")
    assert result.exit_code == 0, result.output
    assert "products: 2,000 new" in result.stdout
    assert "model model-1: ACTIVE" in result.stdout
    again = await windowshop("demo", "load")
    assert "there already" in again.stdout
