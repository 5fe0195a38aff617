"""What a storefront gets: ten products in stock, with reasons, fit for the user."""

import grpc
import pytest
from windowshop.recommender.v1 import recommendation_pb2 as pb
from windowshop.recommender.v1 import recommendation_pb2_grpc

from tests.support.shop import Rest, Shop
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(300)

CONFIGS = (
    "recommended-for-you",
    "discover",
    "similar-items",
    "frequently-bought-together",
    "buy-it-again",
    "recently-viewed",
    "trending",
)


async def recommend(rest: Rest, user: str, query: str = "pageSize=10") -> list[str]:
    """The user's page when nothing was missing: on a busy machine a source may be late now and then."""

    async def whole() -> list[str]:
        answer = await rest.get(f"/v1/users/{user}/recommendations?{query}")
        assert not answer["degraded"], answer["degraded"]
        return [result["id"] for result in answer["results"]]

    return await eventually(whole, timeout=10)


async def test_the_documented_url_gives_ten_products_in_stock_with_reasons(rest: Rest) -> None:
    answer = await rest.get("/v1/users/user_001/recommendations?pageSize=10")

    results = answer["results"]
    assert len({result["id"] for result in results}) == 10
    assert [result["reasons"] for result in results if not any(result["reasons"])] == []
    for result in results:
        product = await rest.get(f"/v1/products/{result['id']}")
        assert product["availableQuantity"] > 0, product
        assert product["title"] == result["product"]["title"]
    assert answer["servingConfig"] == "recommended-for-you"
    assert answer["attributionToken"]
    assert answer["modelVersion"], "the demo ends with a trained model"


async def test_user_002_gets_others(rest: Rest) -> None:
    first, second = await recommend(rest, "user_001"), await recommend(rest, "user_002")

    assert len(set(first) & set(second)) <= 5, "two users of different taste share most of their page"


async def test_recommendations_fit_the_user(rest: Rest, catalogue: dict[str, dict[str, list[str]]]) -> None:
    """Of the users who are browsing now, most see the category they look at."""
    users = [f"user_{number:03}" for number in range(1, 501)]
    answer = await rest.post("/v1/features/User:batchGet", {"ids": users, "features": ["user_browsing_category"]})
    categories = answer["columns"]["user_browsing_category"]["values"]
    browsing = [(user, category) for user, category in zip(users, categories, strict=True) if category][:30]
    assert len(browsing) >= 20

    misses = []
    for user, category in browsing:
        page = await recommend(rest, user)
        if not any(catalogue[product]["categories"][0].split(" > ")[0] == category for product in page):
            misses.append((user, category, page))
    assert len(misses) <= 0.1 * len(browsing), misses


@pytest.mark.parametrize("user", ["nobody_ever", "@"])
async def test_a_never_seen_user_gets_popular_products(rest: Rest, user: str) -> None:
    page = await recommend(rest, user)

    assert len(page) == 10
    scores = await rest.post("/v1/features/Product:batchGet", {"ids": page, "features": ["product_popularity_score"]})
    # "popular" leaves room for the ranking: no product nobody looks at
    assert min(scores["columns"]["product_popularity_score"]["values"]) > 20


@pytest.mark.parametrize("config", CONFIGS)
async def test_every_serving_config_answers(rest: Rest, config: str) -> None:
    answer = await rest.get(f"/v1/users/user_001/recommendations?servingConfig={config}&productId=prod_100&pageSize=5")

    assert answer["servingConfig"] == config
    assert len(answer["results"]) == 5
    assert "prod_100" not in [result["id"] for result in answer["results"]] or config != "similar-items"


async def test_an_explanation_adds_up(rest: Rest) -> None:
    answer = await rest.get("/v1/users/user_001/recommendations?explain=true")

    for result in answer["results"]:
        parts = result["explanation"]["contributions"]
        assert sum(part["contribution"] for part in parts) == pytest.approx(result["score"], abs=1e-6)
        assert all(found["source"] and found["rank"] >= 1 for found in result["explanation"]["sources"])
    plain = await rest.get("/v1/users/user_001/recommendations")
    assert not any("explanation" in result for result in plain["results"])


async def test_five_hundred_products_page_by_page_and_none_twice(rest: Rest) -> None:
    seen: list[str] = []
    query = "pageSize=50"
    while True:
        answer = await rest.get(f"/v1/users/user_003/recommendations?{query}")
        seen += [result["id"] for result in answer["results"]]
        if not answer["nextPageToken"]:
            break
        query = f"pageSize=50&pageToken={answer['nextPageToken']}"
    assert len(seen) == len(set(seen)) == 500

    other = await rest.send("GET", f"/v1/users/user_004/recommendations?{query}")
    assert (other.status, other.json["reason"]) == (400, "INVALID_PAGE_TOKEN")


async def test_a_shop_that_was_loaded_at_once_has_no_new_arrivals(rest: Rest) -> None:
    answer = await rest.get("/v1/users/user_001/recommendations?servingConfig=new-arrivals")

    assert answer["results"] == []
    assert answer["emptyReason"] == "nothing new is in stock"


async def test_a_serving_config_is_edited_by_rest_while_it_serves(rest: Rest) -> None:
    path = "/v1/servingConfigs/discover"
    before = await rest.get(path)
    assert (before["origin"], before["neverBought"]) == ("BUNDLED", True)

    refused = await rest.send("PATCH", path, {"sources": [{"name": "magic", "limit": 9, "weight": 1}]})
    assert (refused.status, refused.json["reason"]) == (400, "UNKNOWN_SOURCE")
    assert [error["field"] for error in refused.json["errors"]] == ["sources[0].name"]

    edit = {"sources": [{"name": "popular", "limit": 20, "weight": 1}], "objective": "WEIGHTS", "etag": before["etag"]}
    edited = await rest.send("PATCH", path, edit)
    assert (edited.status, edited.json["origin"]) == (200, "EDITED")
    try:
        page = await rest.get("/v1/users/user_001/recommendations?servingConfig=discover&explain=true")
        found = {source["source"] for result in page["results"] for source in result["explanation"]["sources"]}
        assert found == {"popular"}
        stale = await rest.send("PATCH", path, edit)
        assert (stale.status, stale.json["reason"]) == (409, "SERVING_CONFIG_CHANGED")
    finally:
        restored = await rest.send("DELETE", path)
    assert restored.json["restored"] == before
    assert "discover" in [config["id"] for config in (await rest.get("/v1/servingConfigs"))["servingConfigs"]]


async def test_an_unknown_serving_config_is_not_found(rest: Rest) -> None:
    reply = await rest.send("GET", "/v1/users/user_001/recommendations?servingConfig=magic")

    assert reply.status == 404, reply.text
    assert reply.json["reason"] == "SERVING_CONFIG_NOT_FOUND"


async def test_similar_products_share_the_category(rest: Rest, catalogue: dict[str, dict[str, list[str]]]) -> None:
    answer = await rest.get("/v1/products/prod_100/similar?pageSize=8")

    similar = [result["id"] for result in answer["results"]]
    assert len(similar) == 8
    assert "prod_100" not in similar
    top = [catalogue[product]["categories"][0].split(" > ")[0] for product in ["prod_100", *similar]]
    assert top.count(top[0]) >= 5, top


async def test_the_grpc_door_recommends_too(shop: Shop) -> None:
    async with grpc.aio.insecure_channel(shop.recommender_address) as channel:
        stub = recommendation_pb2_grpc.RecommendationServiceStub(channel)
        answer = await stub.Recommend(pb.RecommendRequest(user_id="user_001"), timeout=5)

    assert len(answer.results) == 10
    assert all(result.reasons for result in answer.results)
