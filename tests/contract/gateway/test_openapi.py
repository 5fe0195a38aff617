"""The served document against the routes, its own standard and real answers."""

import json
from typing import Any

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from gateway.clients import RPCS
from gateway.openapi import document
from gateway.routes import PAGES, ROUTES, Page, Route
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
    "RecommendForUser": ("/v1/users/user_001/recommendations", {}),
    "Recommend": ("/v1/servingConfigs/trending:recommend", {"json": {"userId": "u"}}),
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
    assert {route.rpc for route in ROUTES} <= set(RPCS)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.operation)
async def test_a_real_answer_fits_its_schema(gateway: Gateway, row: Route | Page) -> None:
    path, arguments = REQUESTS[row.operation]
    async with gateway.http.request(row.method, gateway.url + path, **arguments) as answer:
        assert answer.status == 200, await answer.text()
        declared = DOCUMENT["paths"][row.path][row.method.lower()]["responses"]["200"]["content"]
        schema = declared[answer.content_type]["schema"]
        body = await answer.json() if answer.content_type == "application/json" else await answer.text()
        validate(schema, body)


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
