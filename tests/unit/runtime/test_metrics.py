"""Counted without locks, and shown as by the library."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from services.runtime.metrics import BUCKETS, LoopCounter, LoopGauge, LoopHistogram


def shown(counter: type[Counter], gauge: type[Gauge], histogram: type[Histogram]) -> list[str]:
    """What is told of the same events, without when each series began."""
    registry = CollectorRegistry()
    counts = counter("counts", "help", ["kind"], registry=registry)
    counts.labels("a").inc()
    counts.labels("a").inc(2.5)
    counts.labels(kind="b").inc()
    present = gauge("present", "help", registry=registry)
    present.inc(3)
    present.dec()
    taken = histogram("taken", "help", ["stage"], buckets=BUCKETS, registry=registry)
    for seconds in (0.0, 0.0005, 0.00051, 0.05, 4.9, 5.0, 60.0):
        taken.labels("x").observe(seconds)
    lines = generate_latest(registry).decode().splitlines()
    return [line for line in lines if "_created" not in line]


def test_they_show_what_the_librarys_own_show() -> None:
    assert shown(LoopCounter, LoopGauge, LoopHistogram) == shown(Counter, Gauge, Histogram)


def test_what_is_set_is_shown() -> None:
    registry = CollectorRegistry()
    present = LoopGauge("present", "help", registry=registry)
    present.set(7)
    present.dec()
    assert registry.get_sample_value("present") == 6.0
