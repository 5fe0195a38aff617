"""The load driver against a server whose bad answers are known."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner

from bench import demo, driver
from bench.driver import Job, measure

USERS = tuple(f"u{number}" for number in range(1000))


@asynccontextmanager
async def shop(asked: list[str], **more: object) -> AsyncIterator[str]:
    """Answers feature reads rightly, with what is `more` in each answer."""

    async def read(request: web.Request) -> web.Response:
        user = request.match_info["id"]
        asked.append(user)
        names = request.query["features"].split(",")
        return web.json_response(
            {
                "id": user,
                "features": dict.fromkeys(names, 1),
                "metadata": {name: {"status": "PRESENT"} for name in names},
                **more,
            }
        )

    app = web.Application()
    app.router.add_get("/features/User/{id}", read)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "WARM_UP_SECONDS", 0.1)


def job(url: str, **more: Any) -> Job:
    return Job(url, "features", USERS, ("p",), 0.2, **more)


@pytest.mark.parametrize("rate", [None, 50.0])
async def test_degraded_answers_count_in_the_latencies_and_are_told_beside(rate: float | None) -> None:
    async with shop([], degraded=["online-store"]) as url:
        report = await measure(job(url, rate=rate))
    assert report.requests > 0
    assert report.degraded == report.requests
    assert report.wrong == {}
    assert 0 < report.p50_ms <= report.p99_ms
    assert report.per_second > 0


async def test_wrong_answers_are_not_right_ones() -> None:
    async with shop([], id="another") as url:
        report = await measure(job(url))
    assert sum(report.wrong.values()) == report.requests > 0
    assert (report.per_second, report.p99_ms, report.degraded) == (0, 0, 0)


async def test_what_is_measured_was_not_asked_while_warming_up() -> None:
    asked: dict[str, list[str]] = {}
    jobs: dict[str, dict[str, Any]] = {"alone": {}, "again": {}, "crowd": {"connections": 2}, "open": {"rate": 100.0}}
    for name, more in jobs.items():
        async with shop(asked.setdefault(name, [])) as url:
            await measure(job(url, **more))
    assert len({tuple(users[:10]) for users in asked.values()}) == 3
    assert asked["alone"][:10] == asked["again"][:10]
    for users in asked.values():
        start = users[:5]
        later = [tuple(users[place : place + 5]) for place in range(1, len(users) - 4)]
        assert tuple(start) not in later


@pytest.mark.parametrize(
    ("degraded", "wrong", "code"), [(0, {}, 0), (10, {}, 0), (11, {}, 1), (1000, {}, 1), (0, {"status 500": 1}, 1)]
)
def test_figures_of_a_bad_day_are_no_success(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, degraded: int, wrong: dict[str, int], code: int
) -> None:
    figures = {"p50_ms": 1.0, "p99_ms": 2.0, "per_second": 3.0, "rate": 4.0}
    scenario = {
        "title": "a read",
        **dict.fromkeys(("alone", "connections_16", "connections_64", "open_loop"), figures),
        "requests": 1000,
        "degraded": degraded,
        "wrong": wrong,
    }

    async def run(url: str | None, seconds: float) -> dict[str, Any]:
        return {"machine": {"cpus": 2}, "scenarios": {"features": scenario}}

    monkeypatch.setattr(demo, "run", run)
    outcome = CliRunner().invoke(demo.command, ["--output", str(tmp_path / "demo.json")])
    assert outcome.exit_code == code
    assert outcome.stdout.splitlines()[-1] == json.dumps(json.loads((tmp_path / "demo.json").read_text()))
    assert ("a read: " in outcome.stderr) == bool(code)
