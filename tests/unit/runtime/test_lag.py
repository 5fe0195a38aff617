"""How late the loop is, and whose doing that was."""

import time

import pytest
from prometheus_client import REGISTRY

from services.runtime import lag
from services.runtime.lag import INTERVAL, REST_INTERVAL, Moment, holder, next_interval
from services.runtime.lifecycle import background
from tests.support.waiting import eventually


@pytest.mark.parametrize(
    ("expected", "wall", "loop", "process", "waited"),
    [
        ("loop", 0.080, 0.062, 0.064, 0.0),  # a computation of 60 ms
        ("loop", 0.200, 0.045, 0.050, 0.0),  # others took the processor away, but 40 ms more than fit before the look
        ("loop", 0.200, 0.045, 0.050, 0.150),  # the same, where the system tells
        ("loop", 0.120, 0.048, 0.050, 0.070),  # long enough without having waited
        ("outside", 0.045, 0.028, 0.028, 0.017),  # a stall only because it waited
        ("threads", 0.080, 0.003, 0.075, 0.0),  # one that holds the interpreter
        ("outside", 0.080, 0.003, 0.075, 0.050),  # another thread worked while this one waited for a processor
        ("outside", 0.080, 0.015, 0.020, 0.0),  # busy before it lost the processor, for 60 ms
        ("outside", 0.500, 0.001, 0.001, 0.0),  # stopped, or a blocking call
    ],
)
def test_a_stall_is_ascribed_to_who_had_the_processor(
    expected: str, wall: float, loop: float, process: float, waited: float
) -> None:
    before = Moment(100.0, 7.0, 9.0, 3.0)

    assert holder(before, Moment(100.0 + wall, 7.0 + loop, 9.0 + process, 3.0 + waited), INTERVAL) == expected


@pytest.mark.parametrize(
    ("expected", "wall", "loop", "waited"),
    [
        ("loop", 0.180, 0.082, 0.0),  # held for all that it is late
        ("outside", 0.180, 0.070, 0.0),  # less than that
        ("loop", 0.400, 0.125, 0.0),  # more than fits before the look
        ("outside", 0.400, 0.115, 0.0),
        ("outside", 0.180, 0.082, 0.065),
    ],
)
def test_a_look_after_a_rest_tells_whose_doing_it_was(expected: str, wall: float, loop: float, waited: float) -> None:
    assert holder(Moment(0, 0, 0, 0), Moment(wall, loop, loop, waited), REST_INTERVAL) == expected


@pytest.mark.parametrize(
    ("expected", "wall", "process"),
    [
        (REST_INTERVAL, 0.02, 0.0002),  # nothing but the looks themselves
        (REST_INTERVAL, 0.1, 0.0015),  # and a poll
        (INTERVAL, 0.02, 0.001),
        (INTERVAL, 0.1, 0.003),
        (INTERVAL, 0.1, 0.2),  # several threads
    ],
)
def test_who_rests_is_looked_at_less(expected: float, wall: float, process: float) -> None:
    assert next_interval(Moment(5, 1, 2), Moment(5 + wall, 1, 2 + process)) == expected


@pytest.mark.parametrize("told", [True, False])
def test_clocks_go_on_also_where_nobody_tells_who_waited(monkeypatch: pytest.MonkeyPatch, told: bool) -> None:
    if not told:
        monkeypatch.setattr(lag, "_WAITS", "/nowhere/{thread}")

    with lag.clocks() as now:
        before, after = now(), now()

    assert after.wall > before.wall
    assert after.process >= before.process > 0
    assert after.waited >= before.waited >= 0


def looks() -> float:
    return REGISTRY.get_sample_value("windowshop_loop_lag_seconds_count") or 0.0


def late() -> float:
    return REGISTRY.get_sample_value("windowshop_loop_lag_seconds_sum") or 0.0


def stalls() -> float:
    return sum(sample.value for sample in next(iter(lag.STALLS.collect())).samples if sample.name.endswith("_total"))


async def test_a_blocked_loop_is_seen() -> None:
    began = looks()
    async with background("loop lag", lag.watch()):
        await eventually(lambda: looks() > began)
        before = stalls(), late()
        time.sleep(0.3)  # noqa: ASYNC251 - what must not happen; at rest a look is due after a third of it
        await eventually(lambda: stalls() > before[0])

    assert late() - before[1] >= 0.15
