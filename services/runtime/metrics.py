"""Metrics that every process has, under their ecosystem names, and the one bucket set."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from prometheus_client import Counter, Gauge, Histogram

# Seconds. The 50 ms promise lies on an edge, so the share of requests that keep it is exact.
BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)


class _Number:
    """In the place of one that the library guards with a lock."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def get(self) -> float:
        return self.value

    def set(self, value: float, timestamp: float | None = None) -> None:
        """``timestamp``: of no use here."""
        self.value = value

    def get_exemplar(self) -> None:
        """None is kept."""


class LoopCounter(Counter):
    """Counted by the event loop's thread alone, many times a request: without locks and checks, most of the cost."""

    def _metric_init(self) -> None:
        super()._metric_init()
        self._value = self._number = _Number()

    def inc(self, amount: float = 1.0, _: Mapping[str, str] | None = None) -> None:
        """Only upwards, and only one that has its labels."""
        self._number.value += amount


class LoopGauge(Gauge):
    """The same of what comes and goes."""

    def _metric_init(self) -> None:
        super()._metric_init()
        self._value = self._number = _Number()

    def inc(self, amount: float = 1.0) -> None:
        """Of one that has its labels."""
        self._number.value += amount

    def dec(self, amount: float = 1.0) -> None:
        """The same, downwards."""
        self._number.value -= amount


class LoopHistogram(Histogram):
    """The same of one that is observed."""

    def _metric_init(self) -> None:
        super()._metric_init()
        self._sum = self._total = _Number()
        self._buckets = self._counts = [_Number() for _ in self._upper_bounds]

    def observe(self, amount: float, _: Mapping[str, str] | None = None) -> None:
        """Any number; of one that has its labels."""
        self._total.value += amount
        self._counts[bisect_left(self._upper_bounds, amount)].value += 1.0


GRPC_STARTED = LoopCounter(
    "grpc_server_started_total",
    "RPCs started; far above handled means calls are stuck.",
    ["grpc_service", "grpc_method"],
)
GRPC_HANDLED = LoopCounter(
    "grpc_server_handled_total",
    "RPCs finished by status; INTERNAL above 0 is a bug, UNAVAILABLE a dependency.",
    ["grpc_service", "grpc_method", "grpc_code"],
)
GRPC_SECONDS = LoopHistogram(
    "grpc_server_handling_seconds",
    "Time from the start of an RPC to its end; 99 % should stay below 0.05.",
    ["grpc_service", "grpc_method"],
    buckets=BUCKETS,
)
GRPC_IN_FLIGHT = LoopGauge(
    "windowshop_grpc_in_flight",
    "RPCs being handled; at the limit new ones are refused with RESOURCE_EXHAUSTED.",
)
DEPENDENCY_UP = Gauge(
    "windowshop_dependency_up",
    "1 when the dependency answered last time it was asked, 0 when not; 0 means degraded answers.",
    ["dependency"],
)
