"""The RPCs as the contract states them: answers, limits and errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
import pytest
from windowshop.features.v1 import features_pb2 as pb

from services.features.definitions import load
from services.runtime.errors import ServiceError, from_bytes, from_rpc
from tests.support.columns import in_columns
from tests.support.features import FeatureServer, at, event

NAMES = ["user_browsing_category", "user_purchase_count_30d", "user_avg_order_value", "user_price_sensitivity"]


async def error_of(call: Awaitable[Any]) -> ServiceError:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return from_rpc(failure.value)


async def test_all_features_but_those_on_request(server: FeatureServer) -> None:
    await server.write(event("home-page-view", "u1"))
    answer = await server.get("User", "u1")
    assert sorted(answer.features) == sorted(NAMES)
    statuses = [answer.features[name].status for name in NAMES]
    assert statuses == [pb.NULL, pb.DEFAULT, pb.NULL, pb.DEFAULT]
    values = answer.features
    assert values["user_browsing_category"].WhichOneof("kind") is None
    assert values["user_purchase_count_30d"].int_value == 0
    assert values["user_price_sensitivity"].string_value == "medium"
    assert [values[name].refresh_seconds for name in NAMES] == [300, 3600, 86_400, 1800]
    assert all(v.age_seconds >= 0 and v.computed_at.seconds > 0 for v in values.values())


async def test_exactly_the_features_asked_for(server: FeatureServer) -> None:
    await server.write(event("detail-page-view", "u1", "p2"), event("detail-page-view", "u1", "p1"))
    answer = await server.get("User", "u1", "user_recent_views", "user_purchase_count_30d", "user_recent_views")
    assert sorted(answer.features) == ["user_purchase_count_30d", "user_recent_views"]
    assert list(answer.features["user_recent_views"].string_list_value.values) == ["p1", "p2"]


async def test_a_guest_is_served_under_the_visitor_id(server: FeatureServer) -> None:
    await server.write(event("purchase-complete", "", "p1", visitor_id="v1"))
    await server.write(event("purchase-complete", "u1", "p1", visitor_id="v2"))
    answer = await server.get("Visitor", "v1")
    assert (answer.entity, answer.id, answer.features["user_purchase_count_30d"].int_value) == ("Visitor", "v1", 1)
    for entity, entity_id in (("User", "v1"), ("Visitor", "v2")):
        assert (await error_of(server.get(entity, entity_id))).reason == "ENTITY_NOT_FOUND"


@pytest.mark.parametrize(
    ("entity", "entity_id", "features", "code", "reason"),
    [
        ("Shop", "u1", [], "NOT_FOUND", "ENTITY_TYPE_NOT_FOUND"),
        ("", "u1", [], "NOT_FOUND", "ENTITY_TYPE_NOT_FOUND"),
        ("User", "nobody", [], "NOT_FOUND", "ENTITY_NOT_FOUND"),
        ("Product", "nothing", [], "NOT_FOUND", "ENTITY_NOT_FOUND"),
        ("User", "u1", ["user_age"], "NOT_FOUND", "FEATURE_NOT_FOUND"),
        ("User", "u1", ["product_rating"], "NOT_FOUND", "FEATURE_NOT_FOUND"),
        ("User", "u1", ["<b>"], "INVALID_ARGUMENT", "INVALID_FEATURE_NAME"),
        ("User", "", [], "INVALID_ARGUMENT", "INVALID_ID"),
        ("User", "a b", [], "INVALID_ARGUMENT", "INVALID_ID"),
        ("User", "x" * 1_000_000, [], "INVALID_ARGUMENT", "INVALID_ID"),
        ("User", "u1", ["user_purchase_count_30d"] * 101, "INVALID_ARGUMENT", "INVALID_ARGUMENT"),
    ],
)
async def test_errors(
    server: FeatureServer, entity: str, entity_id: str, features: list[str], code: str, reason: str
) -> None:
    error = await error_of(server.get(entity, entity_id, *features))
    assert (error.code.name, error.reason) == (code, reason)
    assert len(error.message) < 300
    assert "<b>" not in error.message


async def test_batches_are_columns_in_the_order_asked(server: FeatureServer) -> None:
    await server.stock("p1", quantity=0, rating=4.5, ratings=2)
    await server.stock("p2", quantity=3)
    await server.write(event("detail-page-view", "u1", "p3"))
    answer = await server.batch("Product", ["p2", "nothing", "p1", "p3", "p2"])
    popularity, level, rating = answer.columns
    assert list(answer.ids) == ["p2", "nothing", "p1", "p3", "p2"]
    assert list(level.string_values) == ["low_stock", "", "out_of_stock", "", "low_stock"]
    assert list(level.statuses) == [pb.PRESENT, pb.NOT_FOUND, pb.PRESENT, pb.NULL, pb.PRESENT]
    assert list(popularity.double_values) == [0.0, 0.0, 0.0, 100.0, 0.0]
    assert list(popularity.statuses) == [pb.DEFAULT, pb.NOT_FOUND, pb.DEFAULT, pb.PRESENT, pb.DEFAULT]
    assert list(rating.double_values) == [0.0, 0.0, 4.5, 0.0, 0.0]
    assert list(rating.statuses) == [pb.NULL, pb.NOT_FOUND, pb.PRESENT, pb.NULL, pb.NULL]
    assert [ms > 0 for ms in rating.computed_at_ms] == [True, False, True, True, True]
    assert (rating.feature, rating.type, rating.refresh_seconds) == ("product_rating", pb.DOUBLE, 86_400)


async def test_batch_limits(server: FeatureServer) -> None:
    assert (await error_of(server.batch("User", []))).violations[0].field == "ids"
    assert (await error_of(server.batch("User", ["u"] * 1_001))).violations[0].field == "ids"
    error = await error_of(server.batch("User", ["a", "b", "c", "d e"]))
    assert (error.code.name, error.violations[0].field) == ("INVALID_ARGUMENT", "ids[3]")
    assert len((await server.batch("User", [f"u{n}" for n in range(1_000)])).ids) == 1_000


async def test_a_stream_of_reads_says_what_calls_say(server: FeatureServer) -> None:
    await server.stock("p1", quantity=3)
    stream = server.stub.ReadFeatures(timeout=10)
    asked = [
        pb.BatchGetFeaturesRequest(entity="Product", ids=["p1", "nothing"], features=["product_inventory_level"]),
        pb.BatchGetFeaturesRequest(entity="Shop", ids=["p1"]),
        pb.BatchGetFeaturesRequest(entity="User"),
    ]
    for number, read in enumerate(asked, 7):
        await stream.write(pb.ReadFeaturesRequest(number=number, read=read, timeout_ms=5_000))
    answers: dict[int, Any] = {}
    for _ in asked:
        answer: Any = await stream.read()
        answers[answer.number] = answer
    assert answers[7].answer == await server.stub.BatchGetFeatures(asked[0], timeout=10)
    for number, read in ((8, asked[1]), (9, asked[2])):
        told, call = from_rpc(from_bytes(answers[number].error)), server.stub.BatchGetFeatures(read, timeout=10)
        assert vars(told) == vars(await error_of(call))
        assert not answers[number].HasField("answer")
    await stream.done_writing()
    assert await stream.read() == grpc.aio.EOF
    assert await stream.code() is grpc.StatusCode.OK


async def test_an_answer_in_rows_says_what_columns_say(server: FeatureServer) -> None:
    await server.stock("p1", quantity=3, rating=4.5, ratings=2)
    await server.write(event("detail-page-view", "u1", "p1"), event("purchase-complete", "u1", "p1"))
    stream = server.stub.ReadFeatures(timeout=20)

    async def told(read: pb.BatchGetFeaturesRequest) -> Any:
        await stream.write(pb.ReadFeaturesRequest(read=read, sheet=True, timeout_ms=5_000))
        return await stream.read()

    every = [feature for feature in load().features if not feature.name.startswith("user_session")]
    asked = {entity: [feature.name for feature in every if feature.entity == entity] for entity in ("Product", "User")}
    for entity, features in asked.items():
        read = pb.BatchGetFeaturesRequest(entity=entity, ids=["p1", "u1", "nobody", "p1"], features=features)
        for _ in ("computed", "stored", "remembered"):
            answer = (await told(read)).answer
            columns = await server.stub.BatchGetFeatures(read, timeout=10)
            moving = [column for column in answer.columns if column.statuses]
            assert [column.feature for column in moving] == (
                ["product_popularity_score"] if entity == "Product" else []
            )
            for one in (
                *moving,
                *[column for column in columns.columns if column.feature in {m.feature for m in moving}],
            ):
                del one.computed_at_ms[:]  # of the moment
            assert in_columns(answer, read) == columns
    refused = await told(pb.BatchGetFeaturesRequest(entity="User", ids=[]))
    assert from_rpc(from_bytes(refused.error)).violations[0].field == "ids"


async def test_good_events_beside_bad_ones_are_kept(server: FeatureServer) -> None:
    answer = await server.write(
        event("nonsense", "u1"), event("purchase-complete", "u1", "p1"), event("rate", "u1", "p1", rating=9.0)
    )
    assert (answer.accepted, answer.duplicates, answer.unknown_products) == (1, 0, 1)
    assert [(r.index, r.reason, r.field) for r in answer.rejected] == [
        (0, "EVENT_TYPE_UNKNOWN", "eventType"),
        (2, "RATING_INVALID", "rating"),
    ]
    assert (await server.get("User", "u1")).features["user_purchase_count_30d"].int_value == 1


async def test_write_limits(server: FeatureServer) -> None:
    assert (await error_of(server.write())).violations[0].field == "events"
    many = [event("search", "u1") for _ in range(1_001)]
    assert (await error_of(server.write(*many))).violations[0].field == "events"
    assert (await server.write(*many[:1_000])).accepted == 1_000


async def test_events_of_the_future_do_not_count_yet(server: FeatureServer) -> None:
    await server.write(event("purchase-complete", "u1", "p1", ago=-200))
    value = (await server.get("User", "u1")).features["user_purchase_count_30d"]
    assert (value.int_value, value.status) == (0, pb.DEFAULT)
    assert (await server.write(event("purchase-complete", "u1", "p1", ago=-400))).rejected


async def test_late_events_count_by_their_time(server: FeatureServer) -> None:
    day = 86_400
    await server.write(event("purchase-complete", "u1", "p1", revenue=10.0))
    await server.write(event("purchase-complete", "u1", "p1", revenue=20.0, ago=40 * day))
    answer = (await server.get("User", "u1")).features
    assert (answer["user_purchase_count_30d"].int_value, answer["user_avg_order_value"].double_value) == (1, 15.0)


async def test_imports_sum_up_and_count_on(server: FeatureServer) -> None:
    async def chunks() -> AsyncIterator[pb.ImportEventsRequest]:
        for start in (0, 100):
            events = [event("search", "u1", event_id=f"i{start + n}") for n in range(100)]
            events[7].event_type = "nonsense"
            yield pb.ImportEventsRequest(events=events)
        yield pb.ImportEventsRequest(events=[event("search", "u1", event_id="i0")])

    summary = await server.stub.ImportEvents(chunks(), timeout=20)
    assert (summary.accepted, summary.duplicates, summary.rejected) == (198, 1, 2)
    assert [sample.index for sample in summary.rejected_samples] == [7, 107]


async def test_import_samples_are_bounded(server: FeatureServer) -> None:
    chunk = pb.ImportEventsRequest(events=[event("nonsense", "u1") for _ in range(300)])
    summary = await server.stub.ImportEvents(iter([chunk, chunk]), timeout=20)
    assert (summary.rejected, len(summary.rejected_samples)) == (600, 100)


async def test_refresh_computes_now(server: FeatureServer) -> None:
    await server.stock("p1", quantity=9)
    before = (await server.get("Product", "p1")).features["product_inventory_level"]
    await server.execute("UPDATE product_signals SET available_quantity = 0")
    stored = (await server.get("Product", "p1")).features["product_inventory_level"]
    assert (before.string_value, stored.string_value) == ("in_stock", "in_stock")
    request = pb.RefreshFeaturesRequest(entity="Product", id="p1", features=["product_inventory_level"])
    fresh = (await server.stub.RefreshFeatures(request, timeout=5)).features["product_inventory_level"]
    assert fresh.string_value == "out_of_stock"
    again = (await server.get("Product", "p1")).features["product_inventory_level"]
    assert (again.string_value, again.computed_at) == ("out_of_stock", fresh.computed_at)


async def test_definitions_come_in_pages(server: FeatureServer) -> None:
    names, token = [], ""
    while True:
        request = pb.ListFeatureDefinitionsRequest(page_size=4, page_token=token)
        answer = await server.stub.ListFeatureDefinitions(request, timeout=5)
        names += [d.name for d in answer.feature_definitions]
        token = answer.next_page_token
        if not token:
            break
    everything = await server.stub.ListFeatureDefinitions(pb.ListFeatureDefinitionsRequest(), timeout=5)
    assert names == [d.name for d in everything.feature_definitions]
    definitions = {d.name: d for d in everything.feature_definitions}
    sensitivity = definitions["user_price_sensitivity"]
    assert (sensitivity.default_value.string_value, sensitivity.refresh_seconds, sensitivity.type) == (
        "medium", 1800, pb.STRING,
    )  # fmt: skip
    assert not definitions["product_rating"].HasField("default_value")
    for request in (pb.ListFeatureDefinitionsRequest(page_size=-1), pb.ListFeatureDefinitionsRequest(page_token="x")):
        error = await error_of(server.stub.ListFeatureDefinitions(request, timeout=5))
        assert error.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_training_rows(server: FeatureServer) -> None:
    await server.write(
        event("detail-page-view", "u1", "p1", ago=30),
        event("add-to-cart", "u2", "p2", ago=20),
        event("impression", "u2", "p3", ago=10),
        event("detail-page-view", "", "p4", visitor_id="v1"),
    )
    chunks = [c async for c in server.stub.ReadTrainingRows(pb.ReadTrainingRowsRequest(), timeout=5)]
    assert [(list(c.user_ids), list(c.product_ids), list(c.quantities)) for c in chunks] == [
        (["u1", "u2"], ["p1", "p2"], [1, 1])
    ]
    assert not chunks[0].devices
    assert not chunks[0].ratings
    await server.write(
        event("rate", "u1", "p1", ago=5, rating=4.5, device="mobile"),
        event("purchase-complete", "u2", "p2", "p1", ago=4, device="desktop"),
        event("detail-page-view", "u3", "p2", ago=4),
    )
    (chunk,) = [c async for c in server.stub.ReadTrainingRows(pb.ReadTrainingRowsRequest(), timeout=5)]
    rows = set(zip(chunk.event_types, chunk.product_ids, chunk.devices, chunk.ratings, strict=True))
    assert rows == {
        ("detail-page-view", "p1", "", 0.0),
        ("add-to-cart", "p2", "", 0.0),
        ("rate", "p1", "mobile", 4.5),
        ("purchase-complete", "p2", "desktop", 0.0),
        ("purchase-complete", "p1", "desktop", 0.0),
        ("detail-page-view", "p2", "", 0.0),
    }
    only = pb.ReadTrainingRowsRequest(event_types=["impression"])
    assert [list(c.product_ids) async for c in server.stub.ReadTrainingRows(only, timeout=5)] == [["p3"]]
    for wrong in (
        pb.ReadTrainingRowsRequest(event_types=["view"]),
        pb.ReadTrainingRowsRequest(start_time=at(20), end_time=at(10)),
    ):
        call = server.stub.ReadTrainingRows(wrong, timeout=5)
        assert (await error_of(call.read())).code is grpc.StatusCode.INVALID_ARGUMENT


async def test_concurrent_writers_and_readers_agree(server: FeatureServer) -> None:
    async def customer(number: int) -> None:
        for count in range(1, 11):
            await server.write(event("purchase-complete", f"u{number}", "p1", revenue=float(count)))
            answer = await server.get("User", f"u{number}", "user_purchase_count_30d")
            assert answer.features["user_purchase_count_30d"].int_value == count

    await asyncio.gather(*(customer(number) for number in range(8)))
