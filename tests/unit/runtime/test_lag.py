"""How late the loop is, and whose doing that was."""

import time

import pytest
from prometheus_client import REGISTRY

from services.runtime import lag
from services.runtime.lag import Moment, holder
from services.runtime.lifecycle import background
from tests.support.waiting import eventually


@pytest.mark.parametrize(
    ("expected", "wall", "loop", "process"),
    [
        ("loop", 0.080, 0.062, 0.064),  # a computation of 60 ms
        ("loop", 0.200, 0.045, 0.050),  # others took the processor away, but 40 ms are more than fit before the look
        ("threads", 0.080, 0.003, 0.075),  # one that holds the interpreter
        ("outside", 0.080, 0.015, 0.020),  # busy before it lost the processor, for 60 ms
        ("outside", 0.500, 0.001, 0.001),  # stopped, or a blocking call
    ],
)
def test_a_stall_is_ascribed_to_who_had_the_processor(expected: str, wall: float, loop: float, process: float) -> None:
    before = Moment(100.0, 7.0, 9.0)

    assert holder(before, Moment(100.0 + wall, 7.0 + loop, 9.0 + process)) == expected


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
        time.sleep(0.1)  # noqa: ASYNC251 - what must not happen
        await eventually(lambda: stalls() > before[0])

    assert late() - before[1] >= 0.08
