"""The served document against the routes, its own standard and real answers."""

import json
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from windowshop.recommender.v1.catalog_pb2 import Product
from windowshop.recommender.v1.serving_config_pb2 import CandidateSource, ServingConfig

from gateway.clients import RPCS
from gateway.openapi import document
from gateway.routes import PAGES, ROUTES, Page, Route
from gateway.schemas import _BOUNDS, _NEEDED
from services.features import questions
from services.features import servicer as features
from services.recommender.domain import product as products
from services.recommender.domain import serving
from services.recommender.servicer import catalog, model, recommendation, serving_config
from tests.support.gateway import Gateway

DOCUMENT = json.loads(json.dumps(document("1")))
ROWS: tuple[Route | Page, ...] = (*ROUTES, *PAGES)
IMPORTS = {"content-type": "application/x-ndjson"}

# A request of each operation that the services of the test answer with 200.
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "GetFeatures": ("/features/User/user_001", {}),
    "BatchGetFeatures": ("/v1/features/Product:batchGet", {"json": {"ids": ["a", "nobody"]}}),
    "ListFeatureDefinitions": ("/v1/featureDefinitions", {}),
    "RefreshFeatures": ("/v1/features/User/user_001:refresh", {}),
    "WriteEvents": ("/v1/events:write", {"json": {"events": [{"eventId": "e"}]}}),
    "ImportEvents": ("/v1/events:import", {"data": b'{"eventId": "e"}\nx\n', "headers": IMPORTS}),
    "EraseUser": ("/v1/users/user_001", {}),
    "EraseVisitor": ("/v1/visitors/v1", {}),
    "MergeVisitor": ("/v1/visitors/v1:merge", {"json": {"userId": "user_001"}}),
    "RecommendForUser": ("/v1/users/user_001/recommendations?explain=true", {}),
    "Recommend": ("/v1/servingConfigs/trending:recommend", {"json": {"userId": "u"}}),
    "ListServingConfigs": ("/v1/servingConfigs", {}),
    "CreateServingConfig": (
        "/v1/servingConfigs",
        {"json": {"id": "mine", "sources": [{"name": "popular", "limit": 9}]}},
    ),
    "GetServingConfig": ("/v1/servingConfigs/discover", {}),
    "UpdateServingConfig": ("/v1/servingConfigs/discover", {"json": {"diversity": {"mmrLambda": 0.7}}}),
    "DeleteServingConfig": ("/v1/servingConfigs/discover?etag=ab12", {}),
    "ListSimilarProducts": ("/v1/products/prod_100/similar", {}),
    "GetProduct": ("/v1/products/prod_100", {}),
    "ListProducts": ("/v1/products", {}),
    "UpdateProduct": ("/v1/products/prod_100", {"json": {"title": "t"}}),
    "DeleteProduct": ("/v1/products/prod_100", {}),
    "ImportProducts": ("/v1/products:import", {"data": b'{"id": "a", "title": "t"}\n{"id": "b"}', "headers": IMPORTS}),
    "SetInventory": ("/v1/products/prod_100:setInventory", {"json": {"availableQuantity": 0}}),
    "ListModels": ("/v1/models", {}),
    "GetModel": ("/v1/models/m1", {}),
    "TrainModel": ("/v1/models:train", {}),
    "ActivateModel": ("/v1/models/m1:activate", {}),
    "GetOpenApi": ("/openapi.json", {}),
    "GetReference": ("/docs", {}),
    "GetLiveness": ("/livez", {}),
    "GetReadiness": ("/readyz", {}),
}


def validate(schema: dict[str, Any], value: Any) -> None:
    whole = {**schema, "components": DOCUMENT["components"]}
    OAS31Validator(whole, format_checker=OAS31Validator.FORMAT_CHECKER).validate(value)


def operation_of(row: Route | Page) -> dict[str, Any]:
    operation: dict[str, Any] = DOCUMENT["paths"][row.path][row.method.lower()]
    return operation


def body_of(row: Route | Page) -> dict[str, Any]:
    body: dict[str, Any] = operation_of(row)["requestBody"]
    return body


def schema_of(row: Route) -> dict[str, Any]:
    name = body_of(row)["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
    schema: dict[str, Any] = DOCUMENT["components"]["schemas"][name]
    return schema


def test_the_document_is_openapi() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_every_row_is_in_the_document_and_nothing_else() -> None:
    described = {
        (method.upper(), path, operation["operationId"])
        for path, operations in DOCUMENT["paths"].items()
        for method, operation in operations.items()
    }
    assert described == {(row.method, row.path, row.operation) for row in ROWS}


async def test_every_row_is_served_and_nothing_else(gateway: Gateway) -> None:
    served = {
        (route.method, route.resource.canonical if route.resource else "")
        for route in gateway.runner.app.router.routes()
        if route.method != "HEAD"
    }
    assert served == {(row.method, row.path) for row in ROWS}


def test_operations_and_rpcs_are_named_right() -> None:
    operations = [row.operation for row in ROWS]
    assert len(set(operations)) == len(operations)
    assert {rpc for route in ROUTES for rpc in (route.rpc, *route.also)} <= set(RPCS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.operation)
async def test_a_real_request_and_its_answer_fit_their_schemas(gateway: Gateway, row: Route | Page) -> None:
    path, arguments = REQUESTS[row.operation]
    if "json" in arguments:
        validate(body_of(row)["content"]["application/json"]["schema"], arguments["json"])
    async with gateway.http.request(row.method, gateway.url + path, **arguments) as answer:
        assert answer.status == 200, await answer.text()
        declared = DOCUMENT["paths"][row.path][row.method.lower()]["responses"]["200"]["content"]
        schema = declared[answer.content_type]["schema"]
        body = await answer.json() if answer.content_type == "application/json" else await answer.text()
        validate(schema, body)


@pytest.mark.parametrize("row", [row for row in ROUTES if row.request.body], ids=lambda row: row.operation)
async def test_a_body_is_required_where_the_document_says_so(gateway: Gateway, row: Route) -> None:
    path, _ = REQUESTS[row.operation]
    status, problem = await gateway.json(row.method, path)
    if body_of(row)["required"]:
        assert (status, problem["reason"]) == (400, "BODY_MISSING")
    else:
        assert status == 200
    assert body_of(row)["required"] == bool(schema_of(row).get("required"))


@pytest.mark.parametrize(
    ("operation", "body", "fits"),
    [
        ("BatchGetFeatures", {"ids": ["a"] * 1000}, True),
        ("BatchGetFeatures", {"ids": ["a"] * 1001}, False),
        ("BatchGetFeatures", {"ids": []}, False),
        ("BatchGetFeatures", {}, False),
        ("WriteEvents", {"events": []}, False),
        ("SetInventory", {"availableQuantity": None}, False),
        ("SetInventory", {"availableQuantity": -1}, False),
        ("Recommend", {"pageSize": 101}, False),
        ("UpdateProduct", {"price": None, "brand": "", "tags": [], "availableTime": None}, True),
        ("UpdateProduct", {"availableQuantity": -1}, False),
        ("UpdateProduct", {"colour": "red"}, False),
    ],
)
def test_a_schema_says_what_a_request_may_hold(operation: str, body: dict[str, Any], fits: bool) -> None:
    schema = schema_of(next(row for row in ROUTES if row.operation == operation))
    assert OAS31Validator({**schema, "components": DOCUMENT["components"]}).is_valid(body) == fits


def test_the_bounds_are_those_of_the_services() -> None:
    pages = {
        "ListFeatureDefinitions": features.MAX_PAGE,
        "RecommendForUser": recommendation.MAX_PAGE,
        "ListSimilarProducts": recommendation.MAX_PAGE,
        "ListProducts": catalog.MAX_PAGE,
        "ListModels": model.MAX_PAGE,
        "ListServingConfigs": serving_config.MAX_PAGE,
    }
    for row in ROUTES:
        parameters = {one["name"]: one["schema"] for one in operation_of(row)["parameters"]}
        if "pageSize" in parameters:
            assert parameters["pageSize"]["maximum"] == pages.pop(row.operation)
    assert pages == {}
    schemas = DOCUMENT["components"]["schemas"]
    batch, product = schemas["BatchGetFeaturesRequestInput"]["properties"], schemas["ProductInput"]["properties"]
    recommend = schemas["RecommendRequestInput"]["properties"]
    assert batch["ids"]["maxItems"] == questions.MAX_IDS
    assert batch["features"]["maxItems"] == questions.MAX_FEATURES
    assert schemas["WriteEventsRequestInput"]["properties"]["events"]["maxItems"] == features.MAX_EVENTS
    assert recommend["pageSize"]["maximum"] == recommendation.MAX_PAGE
    assert recommend["productIds"]["maxItems"] == recommendation.MAX_PRODUCTS
    assert recommend["excludeProductIds"]["maxItems"] == recommendation.MAX_EXCLUDED
    assert recommend["device"]["maxLength"] == recommendation.MAX_DEVICE
    config = schemas["ServingConfigInput"]["properties"]
    source = schemas["CandidateSourceInput"]["properties"]
    assert config["sources"]["maxItems"] == serving.MAX_SOURCES
    assert config["emptyReason"]["maxLength"] == serving.MAX_REASON
    assert source["limit"]["maximum"] == serving.MAX_LIMIT
    assert source["deadlineMs"]["maximum"] == serving.MAX_DEADLINE * 1000
    assert product["title"]["maxLength"] == products.MAX_TITLE
    assert product["description"]["maxLength"] == products.MAX_DESCRIPTION
    assert product["categories"]["maxItems"] == products.MAX_CATEGORIES
    assert product["tags"]["maxItems"] == products.MAX_TAGS
    assert product["attributes"]["maxProperties"] == products.MAX_ATTRIBUTES


def test_every_bound_and_need_is_of_a_field() -> None:
    named = {field.full_name for rpc in RPCS.values() for field in rpc.request.fields}
    for message in (Product, ServingConfig, CandidateSource):
        named |= {field.full_name for field in message.DESCRIPTOR.fields}
    assert set(_BOUNDS) | _NEEDED <= named


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/features/User/nobody"), ("GET", "/v1/products/a%20b"), ("GET", "/nowhere"), ("PUT", "/v1/products")],
)
async def test_a_real_problem_fits_its_schema(gateway: Gateway, method: str, path: str) -> None:
    async with gateway.http.request(method, gateway.url + path) as answer:
        assert answer.status >= 400
        content = DOCUMENT["components"]["responses"]["Problem"]["content"]
        validate(content[answer.content_type]["schema"], await answer.json(content_type=None))


def test_a_schema_refuses_what_it_does_not_know() -> None:
    schema = DOCUMENT["paths"]["/features/{entity}/{id}"]["get"]["responses"]["200"]["content"]
    with pytest.raises(Exception, match=r"[Aa]dditional"):
        validate(
            schema["application/json"]["schema"],
            {"entity": "User", "id": "u", "features": {}, "metadata": {}, "more": 1},
        )


async def test_the_page_for_people_needs_no_other_host(gateway: Gateway) -> None:
    async with gateway.http.get(gateway.url + "/docs") as answer:
        text = await answer.text()
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "://" not in text
    assert "<script" not in text
    for row in ROWS:
        assert f'id="{row.operation}"' in text
