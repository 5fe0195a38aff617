"""The documented URLs, exactly as written, and the same values through the gRPC door."""

from datetime import UTC, datetime, timedelta

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from windowshop.features.v1 import features_pb2 as pb
from windowshop.features.v1 import features_pb2_grpc

from tests.support.shop import Rest, Shop

pytestmark = pytest.mark.timeout(300)

REFRESH = {
    "user_browsing_category": 300,
    "user_purchase_count_30d": 3600,
    "user_avg_order_value": 86_400,
    "user_price_sensitivity": 1800,
    "product_popularity_score": 3600,
    "product_inventory_level": 21_600,
    "product_rating": 86_400,
}


def check_metadata(answer: dict[str, dict[str, dict[str, object]]], names: list[str]) -> None:
    assert list(answer["features"]) == names
    assert list(answer["metadata"]) == names
    for name in names:
        meta = answer["metadata"][name]
        assert set(meta) == {"status", "computedAt", "ageSeconds", "refreshSeconds"}
        assert meta["status"] == "PRESENT", (name, meta)
        assert meta["refreshSeconds"] == REFRESH[name]
        age = datetime.now(UTC) - datetime.fromisoformat(str(meta["computedAt"]))
        # the age was taken at the answer: a moment before now
        assert (
            timedelta(seconds=-0.01) <= age - timedelta(seconds=float(str(meta["ageSeconds"]))) < timedelta(seconds=5)
        )
        assert str(meta["computedAt"]).endswith("Z")


async def test_the_documented_user_url_answers_with_status_and_age(
    rest: Rest, catalogue: dict[str, dict[str, list[str]]]
) -> None:
    names = ["user_browsing_category", "user_purchase_count_30d"]
    answer = await rest.get("/features/User/user_001?features=user_browsing_category,user_purchase_count_30d")

    assert (answer["entity"], answer["id"]) == ("User", "user_001")
    check_metadata(answer, names)
    top_categories = {product["categories"][0].split(" > ")[0] for product in catalogue.values()}
    assert len(top_categories) >= 12
    assert answer["features"]["user_browsing_category"] in top_categories
    count = answer["features"]["user_purchase_count_30d"]
    assert isinstance(count, int)
    assert count > 0


async def test_the_documented_product_url_answers_with_status_and_age(rest: Rest) -> None:
    names = ["product_popularity_score", "product_rating"]
    answer = await rest.get("/features/Product/prod_100?features=product_popularity_score,product_rating")

    assert (answer["entity"], answer["id"]) == ("Product", "prod_100")
    check_metadata(answer, names)
    assert 0 < answer["features"]["product_popularity_score"] <= 100
    assert 1 <= answer["features"]["product_rating"] <= 5


async def test_without_names_all_documented_features_of_the_entity_come(rest: Rest) -> None:
    user = await rest.get("/features/User/user_001")
    product = await rest.get("/features/Product/prod_100")

    assert set(user["features"]) | set(product["features"]) == set(REFRESH)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/features/User/nobody_ever", "ENTITY_NOT_FOUND"),
        ("/features/Product/nothing_ever", "ENTITY_NOT_FOUND"),
        ("/features/User/user_001?features=user_shoe_size", "FEATURE_NOT_FOUND"),
        ("/features/Planet/earth", "ENTITY_TYPE_NOT_FOUND"),
    ],
)
async def test_what_is_unknown_is_a_problem_document_and_never_invented(rest: Rest, path: str, reason: str) -> None:
    reply = await rest.send("GET", path)

    assert reply.status == 404, reply.text
    assert reply.headers["Content-Type"].startswith("application/problem+json")
    assert (reply.json["code"], reply.json["reason"]) == ("NOT_FOUND", reason)
    assert reply.json["requestId"] == reply.headers["X-Request-Id"]


async def test_both_doors_tell_the_same(shop: Shop, rest: Rest) -> None:
    over_rest = await rest.get("/features/User/user_001?features=user_avg_order_value,user_price_sensitivity")
    async with grpc.aio.insecure_channel(shop.features_address) as channel:
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
        over_grpc = await features_pb2_grpc.FeatureServiceStub(channel).GetFeatures(
            pb.GetFeaturesRequest(
                entity="User", id="user_001", features=["user_avg_order_value", "user_price_sensitivity"]
            ),
            timeout=5,
        )

    assert health.status == health_pb2.HealthCheckResponse.SERVING
    features = over_grpc.features
    assert features["user_avg_order_value"].double_value == over_rest["features"]["user_avg_order_value"]
    assert features["user_price_sensitivity"].string_value == over_rest["features"]["user_price_sensitivity"]
    assert all(value.status == pb.PRESENT for value in features.values())


async def test_the_operators_doors_answer(shop: Shop, rest: Rest) -> None:
    assert (await rest.send("GET", "/livez")).status == 200
    assert (await rest.send("GET", "/readyz")).status == 200
    assert (await rest.get("/openapi.json"))["openapi"].startswith("3.1")
    for name in ("GATEWAY", "FEATURES", "RECOMMENDER"):
        async with Rest(f"http://localhost:{shop.ports[name + '_OPS_PORT']}") as ops:
            metrics = await ops.send("GET", "/metrics")
        assert metrics.status == 200
        assert "# HELP" in metrics.text, name
