"""What the refresh bench says of a histogram, and the definitions that it runs with."""

from pathlib import Path

import pytest

from bench.crowd import hurried
from bench.refresh import quantile
from services.features.definitions import load

INF = float("inf")


@pytest.mark.parametrize(
    ("cumulative", "share", "expected"),
    [
        ({0.1: 0, 1.0: 0, INF: 0}, 0.99, 0.0),
        ({0.1: 10, 1.0: 10, INF: 10}, 0.5, 0.05),
        ({0.1: 50, 1.0: 100, INF: 100}, 0.99, 0.982),
        ({0.1: 50, 1.0: 60, INF: 100}, 0.99, 1.0),
    ],
)
def test_quantiles_are_those_of_prometheus(cumulative: dict[float, float], share: float, expected: float) -> None:
    assert quantile(cumulative, share) == pytest.approx(expected)


def test_hurried_definitions_differ_in_their_refresh_alone(tmp_path: Path) -> None:
    bundled, quick = load(), load(hurried(tmp_path, 5))
    assert [f.number for f in quick.features] == [f.number for f in bundled.features]
    assert {f.name: f.refresh_ms for f in quick.features} == {f.name: f.refresh_ms // 5 for f in bundled.features}
