"""All benches in one go."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import __main__ as every


@pytest.mark.parametrize(("code", "exits"), [(0, 0), (1, 1)])
def test_each_runs_and_all_their_figures_are_the_last_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, exits: int
) -> None:
    asked = []

    def run(name: str) -> tuple[str, int]:
        asked.append(name)
        return (json.dumps({"figure": name}) + "\n", code) if name != "quality" else ("it broke", 0)

    monkeypatch.setattr(every, "run", run)
    monkeypatch.setattr(every, "FOLDER", tmp_path)
    outcome = CliRunner().invoke(every.main, [])
    assert outcome.exit_code == exits
    results = json.loads(outcome.stdout.splitlines()[-1])
    assert json.loads((tmp_path / "bench.json").read_text()) == results
    assert list(results) == asked == ["features", "reads", "recommend", "ingest", "refresh", "quality"]
    assert results["features"] == {"figure": "features"}
    assert results["quality"] is None


def test_a_bench_runs_in_a_process_of_its_own() -> None:
    last, code = every.run("no-such-bench")
    assert (last, code) == ("", 2)
