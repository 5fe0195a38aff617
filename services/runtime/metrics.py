"""Metrics that every process has, under their ecosystem names, and the one bucket set."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

# Seconds. The 50 ms promise lies on an edge, so the share of requests that keep it is exact.
BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)

GRPC_STARTED = Counter(
    "grpc_server_started_total",
    "RPCs started; far above handled means calls are stuck.",
    ["grpc_service", "grpc_method"],
)
GRPC_HANDLED = Counter(
    "grpc_server_handled_total",
    "RPCs finished by status; INTERNAL above 0 is a bug, UNAVAILABLE a dependency.",
    ["grpc_service", "grpc_method", "grpc_code"],
)
GRPC_SECONDS = Histogram(
    "grpc_server_handling_seconds",
    "Time from the start of an RPC to its end; 99 % should stay below 0.05.",
    ["grpc_service", "grpc_method"],
    buckets=BUCKETS,
)
GRPC_IN_FLIGHT = Gauge(
    "windowshop_grpc_in_flight",
    "RPCs being handled; at the limit new ones are refused with RESOURCE_EXHAUSTED.",
)
DEPENDENCY_UP = Gauge(
    "windowshop_dependency_up",
    "1 when the dependency answered last time it was asked, 0 when not; 0 means degraded answers.",
    ["dependency"],
)
