"""The `windowshop` command against services in memory."""

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from windowshop.features.v1 import features_pb2 as f
from windowshop.recommender.v1 import catalog_pb2 as c
from windowshop.recommender.v1 import model_pb2 as m
from windowshop_client.cli import main

from tests.clients.conftest import Command
from tests.clients.fake_services import State


@pytest.mark.parametrize(
    "command",
    [
        "",
        "features",
        "features get",
        "recommend",
        "similar",
        "set-inventory",
        "merge",
        "erase",
        "train",
        "training-rows",
        "import",
        "import products",
        "import events",
        "import complete-journey",
        "models",
        "models list",
        "serving-configs",
        "serving-configs list",
        "serving-configs get",
        "serving-configs update",
        "serving-configs delete",
        "demo",
        "demo load",
    ],
)
def test_every_command_helps(command: str) -> None:
    result = CliRunner().invoke(main, [*command.split(), "--help"])
    assert result.exit_code == 0
    assert "Usage:" in result.output


@pytest.mark.parametrize(
    ("command", "who"),
    [
        (("features", "get", "User", "user_001"), "feature service"),
        (("recommend", "user_001"), "recommender"),
        (("similar", "prod_100"), "recommender"),
        (("set-inventory", "prod_100", "3"), "recommender"),
        (("merge", "v", "user_001"), "feature service"),
        (("erase", "user_001", "--yes"), "feature service"),
        (("train",), "recommender"),
        (("models", "list"), "recommender"),
        (("serving-configs", "list"), "recommender"),
        (("demo", "load"), "recommender"),
    ],
)
async def test_a_server_that_is_not_there_is_one_clear_line(command: tuple[str, ...], who: str) -> None:
    nowhere = {"WINDOWSHOP_FEATURES_ADDRESS": "127.0.0.1:1", "WINDOWSHOP_RECOMMENDER_ADDRESS": "127.0.0.1:1"}
    result = await asyncio.to_thread(CliRunner().invoke, main, list(command), env=nowhere)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert f"no {who} answers at 127.0.0.1:1" in result.stderr
    assert "Traceback" not in result.output


async def test_ports_of_the_environment_are_the_default_places() -> None:
    result = await asyncio.to_thread(CliRunner().invoke, main, ["recommend", "user_001"], env={"RECOMMENDER_PORT": "1"})
    assert "localhost:1;" in result.stderr


async def test_features_have_the_documented_shape(state: State, windowshop: Command) -> None:
    state.events["x"] = f.Event(event_id="x", user_id="user_001")
    result = await windowshop(
        "features", "get", "User", "user_001", "--features", "user_browsing_category, user_purchase_count_30d", "--json"
    )
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "entity": "User",
        "id": "user_001",
        "features": {"user_browsing_category": None, "user_purchase_count_30d": 4},
        "metadata": {
            "user_browsing_category": {"status": "NULL", "computedAt": None, "ageSeconds": 0.0, "refreshSeconds": 300},
            "user_purchase_count_30d": {
                "status": "PRESENT",
                "computedAt": "2023-11-14T22:13:20Z",
                "ageSeconds": 0.5,
                "refreshSeconds": 3600,
            },
        },
        "degraded": ["event-log"],
    }


async def test_features_as_lines(state: State, windowshop: Command) -> None:
    state.events["x"] = f.Event(event_id="x", user_id="user_001")
    result = await windowshop("features", "get", "User", "user_001")
    assert "user_purchase_count_30d\t4\tPRESENT\t0.5 s\t3,600 s" in result.stdout
    assert "degraded: event-log" in result.stderr


async def test_an_error_of_the_server_is_told_with_its_reason_and_field(windowshop: Command) -> None:
    unknown = await windowshop("features", "get", "User", "nobody")
    assert unknown.exit_code == 1
    assert unknown.stderr == "Error: unknown nobody [ENTITY_NOT_FOUND]\n"
    bad = await windowshop("features", "get", "User", "bad id")
    assert bad.stderr == "Error: the id is malformed; id: is wrong [INVALID_ARGUMENT]\n"


async def test_recommendations_and_stock(state: State, windowshop: Command) -> None:
    assert "nothing to recommend: the catalogue is empty" in (await windowshop("recommend", "u")).stdout
    state.products["p1"] = c.Product(id="p1", title="Kettle", categories=["Home > Kitchen"], price=20)
    shown = await windowshop("recommend", "u")
    assert "p1\tKettle\tHome > Kitchen\t20.00\t1.500\tpopular now" in shown.stdout
    found = json.loads((await windowshop("recommend", "u", "--serving-config", "trending", "--json")).stdout)
    assert found["servingConfig"] == "trending"
    assert found["results"][0]["product"]["title"] == "Kettle"
    assert "nothing like p1" in (await windowshop("similar", "p1")).stdout
    assert "p1: 0 available" in (await windowshop("set-inventory", "p1", "0")).stdout
    assert state.products["p1"].available_quantity == 0


async def test_training_waits_and_shows_metrics(state: State, windowshop: Command) -> None:
    result = await windowshop("train")
    assert result.exit_code == 0, result.output
    assert "model model-1: ACTIVE" in result.stdout
    assert "train_seconds            0.25" in result.stdout
    listed = await windowshop("models", "list")
    assert "model-1\tACTIVE" in listed.stdout
    state.training_ends_as = m.FAILED
    failed = await windowshop("train")
    assert failed.exit_code == 1
    assert "training model model-2 failed: not enough rows" in failed.stderr


async def test_training_joins_the_run_under_way(state: State, windowshop: Command) -> None:
    state.models["model-0"] = m.Model(id="model-0", state=m.TRAINING)
    result = await windowshop("train")
    assert "model model-0: ACTIVE" in result.stdout


async def test_events_of_a_file(state: State, windowshop: Command, tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_text(
        '{"eventId": "e1", "eventType": "search", "userId": "u", "eventTime": "2026-01-01T00:00:00Z"}\n'
        "\n"
        "{not json\n"
        '{"eventId": "e2", "eventType": "nonsense", "userId": "u"}\n'
        '{"eventId": "e3", "eventType": "search", "userID": "u"}\n'
        '{"eventId": "e4", "eventType": "rate", "userId": "u", "rating": 4.5, "productDetails": [{"productId": "p"}]}\n'
    )
    result = await windowshop("import", "events", str(file))
    assert result.exit_code == 1
    assert "events: 2 new, 0 there already, 1 rejected" in result.stdout
    assert set(state.events) == {"e1", "e4"}
    complaints = [line for line in result.stderr.splitlines() if line.startswith("line ")]
    assert [line.split(":")[0] for line in complaints] == ["line 3", "line 4", "line 5"]
    assert "EVENT_TYPE_UNKNOWN" in complaints[1]
    assert "userID" in complaints[2]
    assert "3 entries were not taken" in result.stderr


async def test_a_full_import_replaces_the_catalogue(state: State, windowshop: Command, tmp_path: Path) -> None:
    state.products["old"] = c.Product(id="old")
    file = tmp_path / "products.ndjson"
    file.write_text('{"id": "new", "title": "New", "price": 1.5}\n')
    result = await windowshop("import", "products", str(file))
    assert result.exit_code == 0
    assert set(state.products) == {"old", "new"}
    result = await windowshop("import", "products", str(file), "--full", "--json")
    assert json.loads(result.stdout)["deleted"] == 1
    assert set(state.products) == {"new"}


@pytest.mark.parametrize("content", ["", '{"id": "new", "title": "New"}\n{"id": oops}\n'])
async def test_a_full_import_of_a_broken_file_sends_nothing(
    state: State, windowshop: Command, tmp_path: Path, content: str
) -> None:
    state.products["old"] = c.Product(id="old")
    file = tmp_path / "products.ndjson"
    file.write_text(content)
    result = await windowshop("import", "products", str(file), "--full")
    assert result.exit_code == 1
    assert "Nothing was sent." in result.stderr
    assert set(state.products) == {"old"}
    assert state.completed_imports == 0


def _three_events(state: State) -> None:
    for number, (user, visitor) in enumerate([("ann", ""), ("ann", ""), ("", "ann")]):
        state.events[str(number)] = f.Event(event_id=str(number), user_id=user, visitor_id=visitor)


async def test_merge_makes_a_guest_a_user(state: State, windowshop: Command) -> None:
    _three_events(state)
    result = await windowshop("merge", "ann", "bob")
    assert result.exit_code == 0, result.output
    assert result.stdout == "visitor ann is bob: 1 events, 0 lines\n"
    assert [event.user_id for event in state.events.values()] == ["ann", "ann", "bob"]
    assert "1 erased" in (await windowshop("merge", "ann", "erased")).stdout
    assert json.loads((await windowshop("merge", "ann", "bob", "--json")).stdout) == {
        "events": 0, "lines": 0, "erased": 0,
    }  # fmt: skip


async def test_erase_removes_a_user_and_says_what(state: State, windowshop: Command) -> None:
    _three_events(state)
    state.models["m"] = m.Model(id="m")
    result = await windowshop("erase", "ann", "--yes")
    assert result.exit_code == 0, result.output
    assert result.stdout == "ann: removed events 2, signals 1\n"
    assert list(state.events) == ["2"]
    result = await windowshop("erase", "ann", "--visitor", "--yes", "--json")
    assert json.loads(result.stdout) == {"removed": {"events": 1, "signals": 1}}


async def test_erase_asks_first(state: State, address: str) -> None:
    _three_events(state)
    places = {"WINDOWSHOP_FEATURES_ADDRESS": address, "WINDOWSHOP_RECOMMENDER_ADDRESS": address}

    async def answer(text: str) -> int:
        return (await asyncio.to_thread(CliRunner().invoke, main, ["erase", "ann"], input=text, env=places)).exit_code

    assert await answer("n\n") == 1
    assert await answer("") == 1
    assert len(state.events) == 3
    assert await answer("y\n") == 0
    assert len(state.events) == 1


async def test_erase_that_reached_one_service_only_fails_and_may_be_repeated(state: State, windowshop: Command) -> None:
    _three_events(state)
    state.recommender_is_away = True
    result = await windowshop("erase", "ann", "--yes")
    assert result.exit_code == 1
    assert "DATABASE_UNAVAILABLE" in result.stderr
    assert list(state.events) == ["2"]
    state.recommender_is_away = False
    assert (await windowshop("erase", "ann", "--yes")).exit_code == 0
