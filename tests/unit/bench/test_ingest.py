"""What the measurement of writing sends and how it counts."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import click
import pytest

from bench import shopping
from bench.ingest import OPEN_BATCH, RATE, SAMPLE_EVERY, Plan, open_requests
from bench.results import percentile

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def test_every_user_has_the_same_number_of_events_of_each_kind_in_the_windows_of_the_features() -> None:
    events = shopping.history(users=20, products=5, now=NOW)
    kinds = Counter((event.user_id, event.event_type) for event in events)
    assert len({event.event_id for event in events}) == len(events) == 20 * shopping.EVENTS_PER_USER
    assert set(kinds.values()) == {shopping.VIEWS, shopping.CARTS, shopping.ORDERS}
    assert len(kinds) == 60
    for event in events:
        window = timedelta(hours=1) if event.event_type == "detail-page-view" else timedelta(days=30)
        assert NOW - window < event.event_time.ToDatetime(UTC) <= NOW


def test_a_run_is_repeatable() -> None:
    assert shopping.history(3, 3, NOW) == shopping.history(3, 3, NOW)
    assert shopping.catalogue(9) == shopping.catalogue(9)


def test_batches_lose_nothing() -> None:
    events = shopping.history(users=3, products=2, now=NOW)
    requests = shopping.batches(events, 7)
    assert [len(request.events) for request in requests] == [7, 7, 7, 7, 2]
    assert [event for request in requests for event in request.events] == events


def test_who_is_looked_for_gets_one_order_and_nobody_is_looked_for_twice() -> None:
    plan = Plan(users=200, products=10, callers=1, batch=1, seconds=2.0)
    requests = list(open_requests(plan))
    samples = [sample for _, sample in requests if sample]
    assert len(requests) == 2 * RATE // OPEN_BATCH
    assert len(samples) == len(set(samples)) == len(requests) // SAMPLE_EVERY
    assert {len(request.events) for request, _ in requests} == {OPEN_BATCH}
    known = {shopping.user_id(number) for number in range(plan.users)}
    orders = Counter(e.user_id for r, _ in requests for e in r.events if e.event_type == "purchase-complete")
    assert orders == dict.fromkeys(samples, 1)
    assert {e.user_id for r, _ in requests for e in r.events} <= known
    others = {e.user_id for r, _ in requests for e in r.events if e.event_type != "purchase-complete"}
    assert not others & set(samples)


def test_too_few_users_to_look_for_are_refused() -> None:
    with pytest.raises(click.ClickException, match="not enough users"):
        next(open_requests(Plan(users=20, products=10, callers=1, batch=1, seconds=2.0)))


@pytest.mark.parametrize(
    ("sample", "percent", "value"),
    [([], 99, 0.0), ([3.0], 50, 3.0), ([2.0, 1.0], 50, 1.0), ([float(n) for n in range(1, 101)], 99, 99.0)],
)
def test_percentiles_are_values_that_were_seen(sample: list[float], percent: int, value: float) -> None:
    assert percentile(sample, percent) == value
