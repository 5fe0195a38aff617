"""What a soak makes of what it saw: stalls by who had the processor, memory that grows."""

import pytest
from click.testing import CliRunner

from bench import markdown, recommend
from bench.lags import Lags, samples, since, slope
from bench.soak import growth
from bench.soak_beside import Look


def test_stalls_since_the_beginning() -> None:
    text = "\n".join(
        [
            'windowshop_loop_lag_seconds_bucket{le="0.01"} 90.0',
            'windowshop_loop_lag_seconds_bucket{le="0.05"} 100.0',
            'windowshop_loop_lag_seconds_bucket{le="+Inf"} 100.0',
        ]
    )
    found = {float(bound): count for bound, count in samples(text, "windowshop_loop_lag_seconds_bucket", "le").items()}
    before = Lags({0.01: 80.0, 0.05: 85.0, float("inf"): 85.0}, {"loop": 1.0})
    assert since(before, Lags(found, {"loop": 3.0})) == {
        "looks": 15,
        "stalls": {"loop": 2},
        "greatest_ms_at_most": 50.0,
    }
    assert since(Lags({}, {}), Lags({}, {})) == {"looks": 0, "stalls": {}, "greatest_ms_at_most": 0.0}


def test_a_bump_is_no_slope() -> None:
    steady = [(float(second), 2.0 * second) for second in range(20)]
    assert slope(steady) == 2.0
    assert slope([(second, value + (500.0 if 5 < second < 9 else 0.0)) for second, value in steady]) == pytest.approx(
        2.0, abs=0.01
    )
    assert slope(steady[:1]) == slope([]) == 0.0


def test_growth_is_of_own_memory_by_the_minute_once_it_had_time_to_settle() -> None:
    looks = [Look(second, {"gateway": 50.0 + max(second, 150.0) / 60}, {}) for second in (0.0, 150.0, 300.0, 600.0)]
    looks[2].own_mb["training"] = 900.0
    assert growth(looks) == {"gateway": 1.0}
    looks.insert(3, Look(570.0, {"gateway": 60.0}, {}))
    assert growth(looks, 0.9) == {"gateway": 0.0}
    assert growth([]) == {}


def test_what_is_only_loaded_must_be_kept() -> None:
    outcome = CliRunner().invoke(recommend.command, ["--load-only"])
    assert outcome.exit_code == 2
    assert "--data" in outcome.stderr


def test_a_soak_tells_own_stalls_from_those_of_others() -> None:
    lag = {"looks": 9, "stalls": {"loop": 1, "threads": 2, "outside": 7}, "greatest_ms_at_most": 50.0}
    traffic = {"requests": 9, "p50_ms": 1.0, "p99_ms": 2.0, "degraded": 0}
    result = {
        "seconds": 60.0, "traffic": traffic, "imports": [], "trainings": [], "indexes": [], "loops": {"gateway": lag},
        "looks": [{"memory_mb": {"gateway": size}} for size in (70.0, 71.0)], "mb_per_minute": {"gateway": 0.5},
        "machine": {"load_1m_before": 0.1}, "rate": 60.0, "most_per_second": 120.0,
    }  # fmt: skip
    assert "| gateway | 1 | 2 | 7 | 50 | 70 | 71 | +0.50 |" in "\n".join(markdown.of_soak(result))
