"""The demo shop's raw events, found again: generated anew, and proven to be the ones in the event log."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import grpc
from windowshop.features.v1 import features_pb2 as pb
from windowshop.features.v1 import features_pb2_grpc
from windowshop_client.demo.generator import Shop as DemoShop
from windowshop_client.demo.generator import generate_shop

from tests.support.oracle import RawEvent, RawProduct

INTERACTIONS = {"detail-page-view", "add-to-cart", "purchase-complete", "rate"}
Row = tuple[str, str, str, int]

WITNESS = "user_002"
"""A user who browsed just before the demo was loaded and for whom no test writes events."""


async def find_demo(features_address: str) -> DemoShop:
    """The demo as it was loaded.

    Its instant is not stored anywhere, but it shifts every event of the last hour alike: the distance
    between the witness's newest event here and there gives it, and then every row must agree.
    """
    log = await read_log(features_address)
    guess = datetime.now(UTC).replace(microsecond=0)
    newest_guessed = max(row[3] for row in interactions(generate_shop(now=guess)) if row[0] == WITNESS)
    newest = max(row[3] for row in log if row[0] == WITNESS)
    anchor = guess + timedelta(milliseconds=newest - newest_guessed)
    demo = generate_shop(now=anchor)

    generated = interactions(demo)
    missing = generated - log
    assert not missing, f"{missing.total()} rows of the demo are not in the log, as {next(iter(missing))}"
    users = {row[0] for row in generated}
    extra = [row for row in log - generated if row[0] in users and row[3] <= anchor.timestamp() * 1000]
    assert not extra, f"{len(extra)} rows of the log are not in the demo, as {extra[0]}"
    return demo


async def read_log(features_address: str) -> Counter[Row]:
    """Every (user, product, event type, milliseconds) of the log, through ReadTrainingRows."""
    rows: Counter[Row] = Counter()
    async with grpc.aio.insecure_channel(features_address) as channel:
        stub = features_pb2_grpc.FeatureServiceStub(channel)
        async for chunk in stub.ReadTrainingRows(pb.ReadTrainingRowsRequest(), timeout=60):
            rows.update(zip(chunk.user_ids, chunk.product_ids, chunk.event_types, chunk.event_times_ms, strict=True))
    return rows


def interactions(demo: DemoShop) -> Counter[Row]:
    """The same of a generated demo."""
    return Counter(
        (event.user_id, line.product_id, event.event_type, round(event.event_time.timestamp() * 1000))
        for event in demo.events
        if event.event_type in INTERACTIONS
        for line in event.lines
    )


def raw_events(demo: DemoShop) -> list[RawEvent]:
    """The demo's events for the oracle; amounts as the decimals they were written as."""
    return [
        RawEvent(
            kind=event.event_type,
            user=event.user_id,
            time=event.event_time,
            products=tuple(line.product_id for line in event.lines),
            revenue=None if event.revenue is None else Decimal(repr(event.revenue)),
            rating=None if event.rating is None else Decimal(repr(event.rating)),
        )
        for event in demo.events
    ]


def raw_products(demo: DemoShop) -> list[RawProduct]:
    """The demo's catalogue for the oracle."""
    return [
        RawProduct(
            id=product.id,
            category=product.categories[0].split(" > ")[0],
            price=Decimal(repr(product.price)),
            quantity=product.available_quantity,
            rating_average=None if product.rating_average is None else Decimal(repr(product.rating_average)),
            rating_count=product.rating_count,
        )
        for product in demo.products
    ]
