"""How answers of windowshop and its peers are judged, and what becomes of the figures."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bench import beside, beside_driver, features, wrk
from bench.beside_driver import Outcome, Task, measure
from bench.wire import WireError, open_connection, request

USERS = {f"u{n}": {"user_browsing_category": "Toys", "user_purchase_count_30d": n} for n in range(50)}
PRODUCTS = {
    f"p{n}": {"product_popularity_score": n / 10, "product_inventory_level": "in_stock", "product_rating": 4.5}
    for n in range(300)
}

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[int]:
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as running:
        yield running.sockets[0].getsockname()[1]


def answering(body: Callable[[str], Any], status: int = 200) -> Serve:
    """Answers each GET by its path, in two pieces."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                text = json.dumps(body(head.split()[1].decode())).encode()
                writer.write(f"HTTP/1.1 {status} OK\r\nContent-LENGTH: {len(text)}\r\n\r\n".encode())
                await writer.drain()
                await asyncio.sleep(0)
                writer.write(text)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return serve


def right(path: str) -> Any:
    user = path.split("?", maxsplit=1)[0].rpartition("/")[2]
    return {"id": user, "features": USERS[user]}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beside_driver, "CHECK_SECONDS", 0.05)
    monkeypatch.setattr(wrk, "installed", lambda: False)
    monkeypatch.setattr("gc.freeze", lambda: None)  # for a process that ends soon, not for that of the tests


def task(port: int, **more: Any) -> Task:
    return Task("windowshop", port, False, USERS, 0.2, 2, **more)


def rows(ids: list[str], known: dict[str, dict[str, Any]]) -> dict[str, dict[str, list[Any]]]:
    names = known[ids[0]]
    return {name: {"values": [known[i][name] for i in ids]} for name in names}


def test_each_systems_right_answer_is_right_and_another_is_not() -> None:
    ids = ["p7", "p3"]
    columns = rows(ids, PRODUCTS)
    feast = {
        "metadata": {"feature_names": ["product_id", *columns]},
        "results": [{"values": ids}, *columns.values()],
    }
    cases: list[tuple[beside.Question, Any]] = [
        (beside.windowshop_one("u1", USERS), {"id": "u1", "features": USERS["u1"]}),
        (beside.fabra_one("u1", USERS), USERS["u1"]),
        (beside.windowshop_many(ids, PRODUCTS), {"ids": ids, "columns": columns}),
        (beside.fabra_many(ids, PRODUCTS), {i: PRODUCTS[i] for i in ids}),
        (beside.feast_many(ids, PRODUCTS), feast),
    ]
    for question, answer in cases:
        assert question.check(answer) == ""
        spoilt = json.loads(json.dumps(answer).replace("in_stock", "gone").replace("Toys", "Books"))
        assert "instead of" in question.check(spoilt)


@pytest.mark.parametrize(
    ("answered", "complaint"),
    [
        ({"a": 10.4, "b": 3}, ""),
        ({"a": 10.6, "b": 3}, "a 10.6 instead of 10.0"),
        ({"a": None, "b": 3}, "a None instead of 10.0"),
        ({"a": 10.0, "b": 4}, "b 4 instead of 3"),
        ({"a": 10.0}, "other features"),
    ],
)
def test_only_floats_may_drift(answered: dict[str, Any], complaint: str) -> None:
    assert beside.difference(answered, {"a": 10.0, "b": 3}) == complaint


@pytest.mark.parametrize("rate", [None, 100.0])
async def test_right_answers_are_counted(rate: float | None) -> None:
    async with server(answering(right)) as port:
        outcome = await measure(task(port, rate=rate))
    assert outcome.errors == {}
    assert outcome.requests > 0
    assert outcome.per_second > 0
    assert 0 < outcome.p50_ms <= outcome.p99_ms


@pytest.mark.parametrize(
    ("serve", "problem"),
    [
        (answering(right, status=503), "status 503"),
        (answering(lambda _: {"id": "another"}), "another user"),
        (answering(lambda _: []), "unexpected answer"),
    ],
)
async def test_other_answers_are_errors(serve: Serve, problem: str) -> None:
    async with server(serve) as port:
        outcome = await measure(task(port))
    assert sum(outcome.errors.values()) > outcome.requests > 0  # those of the check before are among them
    assert outcome.checked == 0
    assert all(text.startswith(problem) for text in outcome.errors)
    assert outcome.per_second == 0


async def test_a_broken_connection_is_an_error_and_the_driver_goes_on() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.close()

    async with server(hang_up) as port:
        outcome = await measure(task(port))
        connection = await open_connection(port)
        with pytest.raises(WireError):
            await connection.ask(request("GET", "/"))
        connection.close()
    assert outcome.errors.keys() == {"connection closed"}
    assert outcome.requests > 2


@pytest.mark.parametrize(("serve", "right_answers"), [(answering(right), True), (answering(lambda _: []), False)])
async def test_wrk_sends_what_was_checked(monkeypatch: pytest.MonkeyPatch, serve: Serve, right_answers: bool) -> None:
    sent = list[bytes]()

    def note(script: Path, file: str) -> None:
        assert script.exists()
        length, _, rest = Path(file).read_bytes().partition(b"\n")
        sent.append(rest[: int(length)])

    async def run(port: int, connections: int, seconds: float, script: Path, file: str) -> str:
        note(script, file)
        return '{"requests": 110, "seconds": 2.0, "p50_ms": 0.51234, "p99_ms": 7.0, "refused": 10, "broken": 3}'

    monkeypatch.setattr(wrk, "installed", lambda: True)
    monkeypatch.setattr(wrk, "run", run)
    async with server(serve) as port:
        outcome = await measure(task(port))
    assert sent[0].startswith(b"GET /features/User/u")
    assert (outcome.driver, outcome.requests, outcome.p50_ms, outcome.p99_ms) == ("wrk", 113, 0.512, 7.0)
    assert outcome.per_second == (50.0 if right_answers else 0.0)
    assert (outcome.checked > 0) is right_answers
    assert (outcome.errors["not 2xx"], outcome.errors["broken"]) == (10, 3)
    assert (len(outcome.errors) == 2) is right_answers


def figures(**per_second: float) -> features.Figures:
    return {
        trial.name: {
            system: {"per_second": value, "p50_ms": 1000 / value if value else 0.0, "p99_ms": 9.0, "errors": {}}
            for system, value in per_second.items()
        }
        for trial in features.TRIALS
    }


def test_ratios_are_to_the_better_peer() -> None:
    found = features.ratios(figures(windowshop=100.0, fabra=20.0, feast=50.0))
    assert (found["ratio_rps_64"], found["ratio_batch200"], found["ratio_p50_1"]) == (2.0, 2.0, 0.5)
    found = features.ratios(figures(windowshop=100.0, fabra=20.0, feast=0.0))
    assert (found["ratio_rps_64"], found["ratio_p50_1"]) == (5.0, 0.2)


def test_figures_of_a_bad_day_are_complained_about() -> None:
    good = figures(windowshop=1.0, fabra=1.0, feast=1.0)
    good["one_1"]["feast"]["errors"] = {"status 500": 1}
    assert features.complaints_about(good) == []
    good["one_1"]["windowshop"]["errors"] = {"status 500": 1}
    assert len(features.complaints_about(good)) == 1
    assert len(features.complaints_about(figures(windowshop=1.0, fabra=0.0, feast=1.0))) == len(features.TRIALS)


def test_a_summary_has_the_medians_and_all_errors() -> None:
    outcomes = [
        Outcome(10, rate, rate, rate, "wrk", 5, {"timeout": 1}, {"gateway": rate} if rate > 1 else {})
        for rate in (1.0, 9.0, 3.0)
    ]
    assert features.summary(outcomes) == {
        "per_second": 3.0, "p50_ms": 3.0, "p99_ms": 3.0, "driver": "wrk", "checked": 15, "requests": 30,
        "errors": {"timeout": 3}, "cpu_us": {"gateway": 3.0},
    }  # fmt: skip
