"""`python -m bench ingest`: how fast events become durable, how soon they are visible, what a user costs in Redis."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import click
from redis.asyncio import Redis
from rich.console import Console
from windowshop.features.v1 import features_pb2 as f
from windowshop.features.v1.features_pb2_grpc import FeatureServiceStub
from windowshop_client.client import connect

from bench import shopping
from bench.loops import paced
from bench.results import FOLDER, circumstances, percentile, publish
from services.runtime.client import channel
from tests.support.shop import Shop, running_shop

if TYPE_CHECKING:  # the stub of asynchronous calls is known to type checkers alone
    from windowshop.features.v1.features_pb2_grpc import FeatureServiceAsyncStub

RATE = 2_000
"""Events a second that are offered while visibility is measured."""
OPEN_BATCH = 20
"""Events of a request then: such as a shop's front end collects in a moment."""
SAMPLE_EVERY = 5
"""Requests; one event of each fifth is looked for."""
VISIBLE_WITHIN = 10.0
"""Seconds, after which an event counts as lost."""
_PAGE = 500
_TIMEOUT = 30.0

say = Console(stderr=True).print


@dataclass(frozen=True, slots=True)
class Plan:
    """Sizes of a run."""

    users: int
    products: int
    callers: int
    batch: int
    seconds: float
    """Of the measurement of visibility."""


@dataclass(slots=True)
class Visibility:
    """Of the open loop. Milliseconds; `acknowledged` from the appointed time, `visible` from the acknowledgement."""

    acknowledged: list[float] = field(default_factory=list)
    visible: list[float] = field(default_factory=list)
    reads: Counter[int] = field(default_factory=Counter)
    """How many reads it took to see an event -> how often."""
    errors: Counter[str] = field(default_factory=Counter)


@click.command()
@click.option("--users", default=20_000, show_default=True)
@click.option("--products", default=2_000, show_default=True)
@click.option("--callers", default=16, show_default=True, help="Calls of WriteEvents in flight.")
@click.option("--batch", default=100, show_default=True, help="Events of a call.")
@click.option("--seconds", default=20.0, show_default=True, help="Of the measurement of visibility.")
@click.option("--output", default=FOLDER / "ingest.json", show_default=True, type=click.Path(path_type=Path))
def command(users: int, products: int, callers: int, batch: int, seconds: float, output: Path) -> None:
    """Measures the event log through gRPC on a shop of its own, started for it and stopped."""
    result = asyncio.run(run(Plan(users, products, callers, batch, seconds)))
    publish(result, output)
    if result["errors"]:
        raise click.ClickException(f"figures of a bad run: {result['errors']}")


async def run(plan: Plan) -> dict[str, Any]:
    about = circumstances()
    say("starting a shop ...")
    async with (
        running_shop(demo=False) as shop,
        channel(shop.features_address) as connection,
        Redis(port=shop.ports["REDIS_PORT"]) as redis,
    ):
        stub: FeatureServiceAsyncStub = FeatureServiceStub(connection)
        say(f"{plan.products:,} products ...")
        await _fill_catalogue(shop, stub, plan)
        empty = await _settled_memory(redis)
        say(f"writing {plan.users * shopping.EVENTS_PER_USER:,} events, {plan.callers} callers ...")
        per_second = await _write_history(stub, plan)
        say(f"{per_second:,.0f} events a second; reading all users ...")
        errors = await _read_all(stub, plan.users)
        bytes_per_user = (await _settled_memory(redis) - empty) / plan.users
        say(f"{bytes_per_user:.0f} bytes a user; offering {RATE:,} events a second ...")
        seen = await _visibility(stub, plan)
    return {
        "events_per_second": round(per_second),
        "visible_p99_ms": percentile(seen.visible, 99),
        "bytes_per_user": round(bytes_per_user),
        "visible_p50_ms": percentile(seen.visible, 50),
        "visible_samples": len(seen.visible),
        "reads_until_visible": dict(seen.reads),
        "acknowledged_p50_ms": percentile(seen.acknowledged, 50),
        "acknowledged_p99_ms": percentile(seen.acknowledged, 99),
        "offered_per_second": RATE,
        "users": plan.users,
        "products": plan.products,
        "callers": plan.callers,
        "batch": plan.batch,
        "errors": dict(errors + seen.errors),
        **about,
    }


async def _fill_catalogue(shop: Shop, stub: "FeatureServiceAsyncStub", plan: Plan) -> None:
    """Products, and one event of each: what Redis keeps of products is there before users are counted."""
    products = shopping.catalogue(plan.products)
    async with connect(features=shop.features_address, recommender=shop.recommender_address) as client:
        await client.import_products(products[start : start + _PAGE] for start in range(0, len(products), _PAGE))
    touches = [shopping.event(f"w{n}", "detail-page-view", "warm-up", n) for n in range(plan.products)]
    for request in shopping.batches(touches, plan.batch):
        await stub.WriteEvents(request, timeout=_TIMEOUT)
    ids = [product.id for product in products]
    for start in range(0, len(ids), _PAGE):
        await stub.BatchGetFeatures(
            f.BatchGetFeaturesRequest(entity="Product", ids=ids[start : start + _PAGE]), timeout=_TIMEOUT
        )


async def _write_history(stub: "FeatureServiceAsyncStub", plan: Plan) -> float:
    """Acknowledged, so durable, events a second."""
    events = shopping.history(plan.users, plan.products, datetime.now(UTC))
    requests = iter(shopping.batches(events, plan.batch))
    accepted = 0

    async def caller() -> None:
        nonlocal accepted
        for request in requests:
            written = await stub.WriteEvents(request, timeout=_TIMEOUT)
            accepted += written.accepted  # read after the wait: others count meanwhile

    begin = perf_counter()
    await asyncio.gather(*(caller() for _ in range(plan.callers)))
    took = perf_counter() - begin
    if accepted != len(events):
        raise click.ClickException(f"{accepted} of {len(events)} events were accepted")
    return accepted / took


async def _read_all(stub: "FeatureServiceAsyncStub", users: int) -> Counter[str]:
    """Reads every user, so that Redis holds what can be held; gives what was not computed from evidence."""
    errors: Counter[str] = Counter()
    for start in range(0, users, _PAGE):
        ids = [shopping.user_id(number) for number in range(start, min(start + _PAGE, users))]
        answer = await stub.BatchGetFeatures(
            f.BatchGetFeaturesRequest(entity="User", ids=ids, features=shopping.KEPT_FEATURES),
            timeout=_TIMEOUT,
        )
        for column in answer.columns:
            for status in column.statuses:
                if status not in (f.PRESENT, f.STALE):
                    errors[f"{column.feature} {f.FeatureStatus.Name(status)}"] += 1
    return errors


async def _settled_memory(redis: Redis) -> float:
    """Bytes of data once they have not changed by 0.2 % for two seconds: until then the worker is at work."""
    last, calm = 0.0, 0
    for _ in range(600):
        info = await redis.info("memory")
        now = float(info["used_memory"] - info["mem_clients_normal"] - info["mem_aof_buffer"])
        calm = calm + 1 if abs(now - last) <= 0.002 * now else 0
        if calm == 8:
            return now
        last = now
        await asyncio.sleep(0.25)
    raise click.ClickException("the memory of Redis does not settle")


async def _visibility(stub: "FeatureServiceAsyncStub", plan: Plan) -> Visibility:
    """An open loop."""
    seen = Visibility()
    requests = list(open_requests(plan))
    await paced(RATE / OPEN_BATCH, len(requests), lambda n, start: _write_and_look(stub, *requests[n], start, seen))
    return seen


def open_requests(plan: Plan) -> Iterator[tuple[f.WriteEventsRequest, str]]:
    """Each with the user whose order is to be looked for, or none. Nobody is looked for twice, and the other events
    are of users who never are: every sampled user has one order more than before.
    """
    samples = int(plan.seconds * RATE / OPEN_BATCH / SAMPLE_EVERY) + 1
    if samples >= plan.users:
        raise click.ClickException("not enough users to look for")
    others = plan.users - samples
    for number in range(int(plan.seconds * RATE / OPEN_BATCH)):
        sample = shopping.user_id(others + number // SAMPLE_EVERY) if number % SAMPLE_EVERY == 0 else ""
        place = number * OPEN_BATCH
        events = [
            shopping.event(f"o{n}", "detail-page-view", shopping.user_id(n * 7 % others), n % plan.products)
            for n in range(place, place + OPEN_BATCH)
        ]
        if sample:
            events[0] = shopping.event(f"o{place}", "purchase-complete", sample, place % plan.products)
        yield f.WriteEventsRequest(events=events), sample


async def _write_and_look(
    stub: "FeatureServiceAsyncStub", request: f.WriteEventsRequest, sample: str, appointed: float, seen: Visibility
) -> None:
    try:
        written = await stub.WriteEvents(request, timeout=_TIMEOUT)
        acknowledged = perf_counter()
        seen.acknowledged.append((acknowledged - appointed) * 1000)
        if written.accepted != len(request.events):
            seen.errors[f"{written.accepted} of {len(request.events)} accepted"] += 1
        if not sample:
            return
        name = "user_purchase_count_30d"
        read = f.GetFeaturesRequest(entity="User", id=sample, features=[name])
        reads = 0
        while perf_counter() < acknowledged + VISIBLE_WITHIN:
            answer = await stub.GetFeatures(read, timeout=_TIMEOUT)
            reads += 1
            if answer.features[name].int_value == shopping.ORDERS + 1:
                seen.visible.append((perf_counter() - acknowledged) * 1000)
                seen.reads[reads] += 1
                return
        seen.errors["not visible"] += 1
    except Exception as error:  # counted, the other requests go on
        seen.errors[f"{type(error).__name__} {getattr(error, 'details', str)()}"] += 1
