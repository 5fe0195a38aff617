"""Traffic, the check of answers, what is made of measurements, and the drivers against a server that we know."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bench import markdown, recommend_driver, wrk
from bench.processes import Usage, cpu_between, memory, name_of, usage_of
from bench.recommend_driver import Task, measure
from bench.recommend_runs import SCRIPT, cost_of_page, request_lines
from bench.shopping_day import BLOCK, PAGE, Judge, blocks, body
from bench.synthetic import World, product_id

WORLD = World(products=2_520, users=400)
IN_STOCK = [number for number in range(200) if WORLD.stock[number]]
SOLD_OUT = next(number for number in range(2_520) if not WORLD.stock[number])


def page(numbers: list[int], **more: object) -> dict[str, Any]:
    results = [
        {"id": product_id(number), "product": {"availableQuantity": 3}, "reasons": ["popular"]} for number in numbers
    ]
    return {"results": results, "degraded": [], **more}


GOOD = page(IN_STOCK[:PAGE])


def problem(answer: dict[str, Any], status: int = 200, *, explained: bool = False) -> str:
    return Judge(WORLD).read(status, json.dumps(answer).encode(), explained=explained)[0]


def test_a_good_answer_is_right() -> None:
    assert problem(GOOD) == ""
    assert Judge(WORLD).read(200, json.dumps(page(IN_STOCK[:PAGE], degraded=["features"])).encode()) == ("", True)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (page(IN_STOCK[: PAGE - 1]), "9 results"),
        (page([IN_STOCK[0], *IN_STOCK[: PAGE - 1]]), "a product twice"),
        (page([SOLD_OUT, *IN_STOCK[1:PAGE]]), "a product that is sold out"),
        (page([99_999, *IN_STOCK[1:PAGE]]), "a product of another shop"),
    ],
)
def test_wrong_answers_are_found(answer: dict[str, Any], expected: str) -> None:
    assert problem(answer) == expected


def test_what_is_no_answer_is_found() -> None:
    assert problem(GOOD, status=503) == "status 503"
    assert problem({"nothing": 1}).startswith("unexpected answer")


def test_an_explained_answer_must_be_the_rankers() -> None:
    assert problem(GOOD, explained=True) == "not ordered by the trained ranker"
    ranked = json.loads(json.dumps(GOOD))
    ranked["results"][0]["explanation"] = {"contributions": [{"column": "intercept"}]}
    assert problem(ranked, explained=True) == ""


def test_of_a_version_that_may_have_no_ranker_an_explained_answer_is_by_reciprocal_ranks_or_the_rankers() -> None:
    judge = Judge(WORLD, ranked=False)

    def found(column: str) -> str:
        answer = json.loads(json.dumps(GOOD))
        answer["results"][0]["explanation"] = {"contributions": [{"column": column}] if column else []}
        return judge.read(200, json.dumps(answer).encode(), explained=True)[0]

    assert (found("intercept"), found("relevance")) == ("", "")
    assert found("") == "an order that is not explained"


def test_views_are_of_those_who_ask_in_the_next_block() -> None:
    first, second, third = islice(blocks(WORLD, "day"), 3)
    for before, after in ((first, second), (second, third)):
        viewers = [user for user, viewed in zip(after.users, after.viewed, strict=True) if viewed]
        assert [user for user, _ in before.views] == viewers
        assert len(viewers) == BLOCK // 5
    assert first == next(blocks(WORLD, "day"))
    assert first != next(blocks(WORLD, "another day"))


def test_cpu_is_what_was_spent_since() -> None:
    before = {1: Usage("features", 5.0, 10, 5), 2: Usage("gateway", 1.0, 10, 5)}
    after = {1: Usage("features", 5.5, 10, 5), 3: Usage("features", 0.25, 10, 5)}
    assert cpu_between(before, after) == {"features": 0.75}


def test_shared_memory_counts_once() -> None:
    assert memory({1: Usage("pg", 0, 10, 200), 2: Usage("pg", 0, 20, 150), 3: Usage("gateway", 0, 30, 40)}) == {
        "gateway": 70.0,
        "pg": 230.0,
    }


def test_this_process_uses_something() -> None:
    usage = usage_of(os.getpid(), "test")
    assert usage is not None
    assert usage.cpu_seconds > 0
    assert usage.own_mb > 1
    assert usage_of(2**22 + 1, "nobody") is None


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python -m services.features worker", "worker"),
        ("python -m services.features", "features"),
        ("python -m services.recommender", "recommender"),
        ("python -m services.recommender.training.learning /tmp/x", "training"),
        ("python -m gateway", "gateway"),
        ("postgres: features features 127.0.0.1(4711) idle", "postgres features"),
        ("postgres: checkpointer", "postgres itself"),
        ("/x/valkey-server 127.0.0.1:6380", "valkey"),
        ("bash", "other"),
    ],
)
def test_processes_have_names(command: str, name: str) -> None:
    assert name_of(command) == name


def test_cost_of_a_page_counts_the_driver() -> None:
    assert cost_of_page({"gateway": 0.5, "idle": 0.0}, 0.1, 1_000) == {"gateway": 0.5, "driver": 0.1, "all": 0.6}


@asynccontextmanager
async def shop(asked: list[str], answer: dict[str, Any]) -> AsyncIterator[int]:
    """Recommends `answer` to everyone and takes events."""

    async def recommend(request: web.Request) -> web.Response:
        asked.append(request.match_info["id"])
        return web.json_response(answer)

    async def write(request: web.Request) -> web.Response:
        events = (await request.json())["events"]
        asked.append(f"views {len(events)}")
        return web.json_response({"accepted": len(events)})

    app = web.Application()
    app.router.add_get("/v1/users/{id}/recommendations", recommend)
    app.router.add_post("/v1/events:write", write)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def never_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommend_driver, "EXPLAINED", 10**9)


async def test_the_open_loop_asks_at_its_rate_and_writes_views_before() -> None:
    asked: list[str] = []
    async with shop(asked, GOOD) as port:
        outcome = await measure(Task(port, 2_520, 400, seconds=0.5, connections=2, name="t", rate=200.0))
    assert outcome.requests == 100
    assert outcome.errors == {}
    assert outcome.writes == 2
    assert asked.count("views 10") == 2
    assert outcome.p50_ms_viewed > 0


async def closed_loop(driver: str, port: int, folder: Path) -> tuple[float, dict[str, int]]:
    """Pages a second, and what was wrong."""
    if driver == "python":
        outcome = await measure(Task(port, 2_520, 400, seconds=0.2, connections=2, name="t"))
        return outcome.per_second, outcome.errors
    file = folder / "requests"
    file.write_bytes(b"\n".join(islice(request_lines(WORLD, "w"), 2 * BLOCK)) + b"\n")
    found = await asyncio.wait_for(wrk.closed_loop(port, 2, 1, SCRIPT, str(file)), 20)
    assert found.writes
    return found.per_second, found.errors


DRIVERS = ["python", *(["wrk"] if wrk.installed() else [])]


@pytest.mark.parametrize("driver", DRIVERS)
async def test_the_closed_loop_counts_pages(driver: str, tmp_path: Path) -> None:
    asked: list[str] = []
    async with shop(asked, GOOD) as port:
        per_second, errors = await closed_loop(driver, port, tmp_path)
    assert per_second > 10
    assert errors == {}
    assert "views 10" in asked


@pytest.mark.parametrize("driver", DRIVERS)
async def test_the_closed_loop_finds_short_pages(driver: str, tmp_path: Path) -> None:
    async with shop([], page([IN_STOCK[0]])) as port:
        _, errors = await closed_loop(driver, port, tmp_path)
    assert len(errors) == 1
    assert "result" in next(iter(errors))


def test_requests_of_a_block_follow_its_write() -> None:
    lines = list(islice(request_lines(WORLD, "w"), BLOCK + 2))
    assert lines[0].startswith(b"P /v1/events:write {")
    assert all(line.startswith(b"G /v1/users/user_") for line in lines[1 : BLOCK + 1])
    assert lines[BLOCK + 1].startswith(b"P ")
    assert json.loads(lines[0].split(b" ", 2)[2])["events"][0]["eventId"] == "w.0.0"
    assert body(next(blocks(WORLD, "w")), "w.0") == lines[0].split(b" ", 2)[2]


def test_tables_for_the_documents() -> None:
    cost = {"gateway": 0.5, "all": 0.5}
    step = {
        "products": 10_000, "rate": 100.0, "p50_ms": 3.0, "p99_ms": 9.5, "cpu_ms_per_request": cost,
        "rps": 300.0, "p50_ms_half": 4.0, "p99_ms_half": 12.0,
    }  # fmt: skip
    sizes = {"memory_mb": {"gateway": 80.0}, "stored_mb": {"valkey": 1_500.0}}
    result = {
        "products": 10_000, "users": 20_000, "seconds": 15.0, "rounds_rps": [400.0], "rps": 400.0, "rps_100k": 412.3,
        "machine": {"load_1m_before": 0.1}, "half": {"cpu_ms_per_request": cost}, "cpu_ms_per_request": cost,
        "cpu_ms_per_second_at_rest": {"gateway": 12.5}, **sizes,
    }  # fmt: skip
    text = "\n".join([*markdown.of_recommend(result), *markdown.of_growth({"growth": [{**step, **sizes}]})])
    assert "| `rps_100k` | recommendations a second | 412 | at least 400 |" in text
    assert "| gateway | 0.50 | 0.50 | 12.5 | 80 |" in text
    assert "| p50 / p99 at 100 a second, ms | 3.00 / 9.50 |" in text
    assert "| stored of valkey, MB | 1,500 |" in text
