"""What happens behind the reads: events, stock and prices show in the features by themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from windowshop.features.v1 import features_pb2 as pb
from windowshop.recommender.v1 import catalog_pb2

from tests.support.features import FeatureServer, event, running_worker
from tests.support.stack import ValkeyServer
from tests.support.streamed_catalogue import StreamedCatalogue, running_catalogue, signal
from tests.support.waiting import eventually

LEVEL, POPULARITY, CATEGORY = "product_inventory_level", "product_popularity_score", "user_browsing_category"
SENSITIVITY, BRANDS = "user_price_sensitivity", "user_brand_affinity"


@pytest.fixture
async def catalogue() -> AsyncIterator[StreamedCatalogue]:
    async with running_catalogue() as running:
        yield running


@pytest.fixture
async def worker(server: FeatureServer, valkey: ValkeyServer, catalogue: StreamedCatalogue) -> AsyncIterator[None]:
    async with running_worker(server.dsn, valkey.url, catalogue.address):
        yield


async def product(server: FeatureServer, product_id: str, feature: str) -> pb.FeatureValue:
    column = (await server.batch("Product", [product_id], feature)).columns[0]
    text = column.string_values[0] if column.string_values else ""
    number = column.double_values[0] if column.double_values else 0.0
    return pb.FeatureValue(status=column.statuses[0], **({"string_value": text} if text else {"double_value": number}))


async def level_is(server: FeatureServer, product_id: str, level: str) -> bool:
    return (await product(server, product_id, LEVEL)).string_value == level


@pytest.mark.usefixtures("worker")
async def test_stock_changes_show(server: FeatureServer, catalogue: StreamedCatalogue) -> None:
    await catalogue.put(signal("p1", quantity=6), signal("p2", quantity=5))
    await eventually(lambda: level_is(server, "p1", "in_stock"))
    await eventually(lambda: level_is(server, "p2", "low_stock"))
    await catalogue.put(signal("p1", quantity=0))
    await eventually(lambda: level_is(server, "p1", "out_of_stock"))


@pytest.mark.usefixtures("worker")
async def test_events_raise_popularity(server: FeatureServer, catalogue: StreamedCatalogue) -> None:
    await catalogue.put(signal("p1"), signal("p2"))
    await eventually(lambda: level_is(server, "p1", "in_stock"))
    assert (await product(server, "p1", POPULARITY)).status == pb.DEFAULT
    await server.write(event("detail-page-view", "u1", "p1"))

    async def leads() -> bool:
        return (await product(server, "p1", POPULARITY)).double_value == 100.0

    await eventually(leads)
    await server.write(event("purchase-complete", "u1", "p2"))

    async def overtaken() -> bool:
        return (await product(server, "p2", POPULARITY)).double_value == 100.0

    await eventually(overtaken)


@pytest.mark.usefixtures("worker")
async def test_loaded_history_corrects_the_scores_it_does_not_name(
    server: FeatureServer, catalogue: StreamedCatalogue
) -> None:
    """p1 was computed while it was the most popular product known; then older events made p2 so."""
    await catalogue.put(signal("p1"), signal("p2"))
    await eventually(lambda: level_is(server, "p1", "in_stock"))
    await server.write(event("detail-page-view", "u1", "p1", ago=30))

    async def leads() -> bool:
        return (await product(server, "p1", POPULARITY)).double_value == 100.0

    await eventually(leads)
    await server.write(*(event("purchase-complete", f"u{n}", "p2", ago=3_600) for n in range(5)))

    async def corrected() -> bool:
        return 0 < (await product(server, "p1", POPULARITY)).double_value < 50

    await eventually(corrected, timeout=20)


@pytest.mark.usefixtures("worker")
async def test_deleted_product_is_unknown(server: FeatureServer, catalogue: StreamedCatalogue) -> None:
    await catalogue.put(signal("p1"), signal("p2"))
    await eventually(lambda: level_is(server, "p1", "in_stock"))
    await server.write(event("detail-page-view", "u1", "p2"))
    await catalogue.put(*(catalog_pb2.ProductSignal(product_id=p, deleted=True) for p in ("p1", "p2")))

    async def gone() -> bool:
        statuses = [c.statuses[0] for c in (await server.batch("Product", ["p1"], LEVEL)).columns]
        return statuses == [pb.NOT_FOUND]

    await eventually(gone)

    async def null() -> bool:  # an event still names it
        return (await product(server, "p2", LEVEL)).status == pb.NULL

    await eventually(null)


@pytest.mark.usefixtures("worker")
async def test_restarted_stream_forgets_what_it_does_not_name(
    server: FeatureServer, catalogue: StreamedCatalogue
) -> None:
    await catalogue.put(signal("p1"), signal("p2"))
    await eventually(lambda: level_is(server, "p2", "in_stock"))
    await catalogue.replace(signal("p1", quantity=0))
    await eventually(lambda: level_is(server, "p1", "out_of_stock"))

    async def gone() -> bool:
        return (await product(server, "p2", LEVEL)).status == pb.NOT_FOUND

    await eventually(gone)


@pytest.mark.usefixtures("worker")
async def test_late_catalogue_corrects_user_features(server: FeatureServer, catalogue: StreamedCatalogue) -> None:
    written = await server.write(event("detail-page-view", "u1", "p1"))
    assert written.unknown_products == 1
    answer = await server.get("User", "u1", CATEGORY, SENSITIVITY)
    assert answer.features[CATEGORY].status == pb.NULL
    assert answer.features[SENSITIVITY].status == pb.DEFAULT
    await catalogue.put(signal("p1", "Toys", 99.0), *(signal(f"q{i}", "Toys", 1.0 + i) for i in range(9)))

    async def corrected() -> bool:
        now = (await server.get("User", "u1", CATEGORY, SENSITIVITY)).features
        return (now[CATEGORY].string_value, now[SENSITIVITY].string_value) == ("Toys", "low")

    await eventually(corrected)


@pytest.mark.usefixtures("worker")
async def test_a_change_of_brand_changes_whose_interest_it_was(
    server: FeatureServer, catalogue: StreamedCatalogue
) -> None:
    async def brands_are(*names: str) -> bool:
        return list((await server.get("User", "u1", BRANDS)).features[BRANDS].table_value.keys) == list(names)

    await server.write(event("add-to-cart", "u1", "p1", ago=100 * 86_400))
    assert await brands_are()
    for brand in ("Acme", "Bolt", ""):  # nothing but the brand changes
        await catalogue.put(signal("p1", brand=brand))
        await eventually(partial(brands_are, *([brand] if brand else [])))


async def test_worker_continues_the_stream_where_it_stood(
    server: FeatureServer, valkey: ValkeyServer, catalogue: StreamedCatalogue
) -> None:
    async with running_worker(server.dsn, valkey.url, catalogue.address):
        await catalogue.put(signal("p1"))
        await eventually(lambda: level_is(server, "p1", "in_stock"))
    async with running_worker(server.dsn, valkey.url, catalogue.address):
        await catalogue.put(signal("p1", quantity=0))
        await eventually(lambda: level_is(server, "p1", "out_of_stock"))
    assert catalogue.cursors == ["", "1:1"]


async def test_two_workers_share_the_queue(server: FeatureServer, valkey: ValkeyServer) -> None:
    def computed() -> float:
        labels = {"feature": "user_purchase_count_30d", "cause": "due"}
        return REGISTRY.get_sample_value("windowshop_feature_computations_total", labels) or 0.0

    async def all_stored() -> bool:
        async with Redis.from_url(valkey.url) as redis:
            lengths = [await redis.strlen(key) async for key in redis.scan_iter("ws:1:{User*")]
        return sum(length > 8 for length in lengths) == 1_200

    async with running_worker(server.dsn, valkey.url):
        # It has seen the empty log: all that is done from here on is due to the events.
        await eventually(lambda: cursor_is_set(valkey))
        async with running_worker(server.dsn, valkey.url):
            before = computed()
            for start in (0, 600):
                await server.write(*(event("purchase-complete", f"u{start + n}", "p1") for n in range(600)))
            await eventually(all_stored)
            assert computed() - before == 1_200


async def cursor_is_set(valkey: ValkeyServer) -> bool:
    async with Redis.from_url(valkey.url) as redis:
        return bool(await redis.exists("ws:1:marks:{marks}:cursor"))
