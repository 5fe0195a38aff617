"""Requests through a real gateway to real gRPC servers: what reaches the service, what comes back."""

import asyncio
import gzip
import io
import json
from typing import Any

import grpc
import pytest
from prometheus_client import REGISTRY, generate_latest
from windowshop.features.v1 import features_pb2 as features
from windowshop.recommender.v1 import catalog_pb2 as catalog

from services.runtime import errors
from tests.support.gateway import Gateway
from tests.support.waiting import eventually


async def test_the_documented_url_answers_as_documented(gateway: Gateway) -> None:
    status, body = await gateway.json(
        "GET", "/features/User/user_001?features=user_purchase_count_30d,user_browsing_category"
    )
    assert status == 200
    ages = [metadata["ageSeconds"] for metadata in body["metadata"].values()]
    assert all(isinstance(age, float) and age >= 0 for age in ages)
    assert json.dumps(body) == json.dumps(
        {
            "entity": "User",
            "id": "user_001",
            "features": {"user_purchase_count_30d": 4, "user_browsing_category": "electronics"},
            "metadata": {
                "user_purchase_count_30d": {
                    "status": "STALE",
                    "computedAt": "2026-11-23T12:00:00.250Z",
                    "ageSeconds": ages[0],
                    "refreshSeconds": 3600,
                },
                "user_browsing_category": {
                    "status": "PRESENT",
                    "computedAt": "2026-11-23T12:00:00.250Z",
                    "ageSeconds": ages[1],
                    "refreshSeconds": 300,
                },
            },
        }
    )


async def test_an_unknown_entity_is_a_problem(gateway: Gateway) -> None:
    async with gateway.http.get(gateway.url + "/features/User/nobody", headers={"X-Request-Id": "r-1"}) as answer:
        assert answer.status == 404
        assert answer.content_type == "application/problem+json"
        assert await answer.json(content_type=None) == {
            "type": "about:blank",
            "title": "Not Found",
            "status": 404,
            "detail": "User nobody is not known",
            "code": "NOT_FOUND",
            "reason": "ENTITY_NOT_FOUND",
            "requestId": "r-1",
            "errors": [],
        }


@pytest.mark.parametrize("given", ["abc.DEF_1-2", "a" * 64])
async def test_a_sane_request_id_goes_all_the_way(gateway: Gateway, given: str) -> None:
    async with gateway.http.get(gateway.url + "/features/User/u", headers={"X-Request-Id": given}) as answer:
        assert answer.headers["X-Request-Id"] == given
    assert gateway.backend.request_ids == [given]


@pytest.mark.parametrize("given", [None, "", "a b", "a" * 65, "é", "<script>"])
async def test_any_other_request_id_is_replaced(gateway: Gateway, given: str | None) -> None:
    headers = {} if given is None else {"X-Request-Id": given}
    async with gateway.http.get(gateway.url + "/features/User/u", headers=headers) as answer:
        made = answer.headers["X-Request-Id"]
    assert made != given
    assert len(made) == 32
    assert gateway.backend.request_ids == [made]


@pytest.mark.parametrize(
    ("path", "product_id"),
    [
        ("/v1/products/a:b:setInventory", "a:b"),
        ("/v1/products/a:setInventory:setInventory", "a:setInventory"),
        ("/v1/products/a%3Ab:setInventory", "a:b"),
        ("/v1/products/%61%40:setInventory", "a@"),
    ],
)
async def test_ids_may_hold_colons_before_a_verb(gateway: Gateway, path: str, product_id: str) -> None:
    status, _ = await gateway.json("POST", path, json={"availableQuantity": 0})
    assert status == 200
    assert gateway.backend.requests == [catalog.SetInventoryRequest(id=product_id, available_quantity=0)]


async def test_a_verb_belongs_to_its_method(gateway: Gateway) -> None:
    status, body = await gateway.json("GET", "/v1/products/a:setInventory")
    assert (status, body["id"]) == (200, "a:setInventory")


@pytest.mark.parametrize(
    "segment",
    ["a%20b", "a%2Fb", "a%252Fb", "a%2541", "%00", "a%0A", "%FF", "{id}", "%E2%82%AC", "a" * 129, "a;b", "a+b"],
)
@pytest.mark.parametrize("template", ["/v1/products/{}", "/features/User/{}", "/v1/products/{}/similar"])
async def test_ids_are_decoded_once_and_refused_outside_their_alphabet(
    gateway: Gateway, template: str, segment: str
) -> None:
    answer = await gateway.raw(
        f"GET {template.format(segment)} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode()
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 "), head
    assert json.loads(body)["reason"] == "INVALID_ID"
    assert gateway.backend.requests == []


@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/products/", "/features/User", "/features/User/u/", "//v1/products", "/v1//products",
     "/v1/products/a/b", "/V1/products", "/v1/products/../models", "/metrics", "/v1/recommendations?visitorId=v"],
)  # fmt: skip
async def test_any_other_path_is_a_404_problem(gateway: Gateway, path: str) -> None:
    answer = await gateway.raw(f"GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 404 "), head
    assert b"application/problem+json" in head
    assert json.loads(body)["reason"] == "ROUTE_NOT_FOUND"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/products/a", {"GET", "HEAD", "PATCH", "DELETE"}),
        ("OPTIONS", "/v1/products", {"GET", "HEAD"}),
        ("GET", "/v1/events:write", {"POST"}),
        ("PURGE", "/livez", {"GET", "HEAD"}),
    ],
)
async def test_another_method_is_a_405_problem(gateway: Gateway, method: str, path: str, allow: set[str]) -> None:
    async with gateway.http.request(method, gateway.url + path) as answer:
        assert answer.status == 405
        assert set(answer.headers["Allow"].replace(" ", "").split(",")) == allow
        assert (await answer.json(content_type=None))["reason"] == "METHOD_NOT_ALLOWED"


async def test_head_is_get_without_a_body(gateway: Gateway) -> None:
    async with gateway.http.get(gateway.url + "/v1/products/a") as got:
        length = got.headers["Content-Length"]
    async with gateway.http.head(gateway.url + "/v1/products/a") as answer:
        assert (answer.status, answer.headers["Content-Length"], await answer.read()) == (200, length, b"")


@pytest.mark.parametrize(
    ("body", "content_type", "status", "reason"),
    [
        (b"{", "application/json", 400, "MALFORMED_JSON"),
        (b"[" * 100_000, "application/json", 400, "MALFORMED_JSON"),
        (b'{"events": [{"colour": 1}]}', "application/json", 400, "UNKNOWN_FIELD"),
        (b'{"events": []}', "text/plain", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b'{"events": []}', "application/x-www-form-urlencoded", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (b'"' + b"x" * (1024 * 1024) + b'"', "application/json", 413, "BODY_TOO_LARGE"),
    ],
)
async def test_bodies_that_are_refused(
    gateway: Gateway, body: bytes, content_type: str, status: int, reason: str
) -> None:
    got, problem = await gateway.json(
        "POST", "/v1/events:write", data=io.BytesIO(body), headers={"Content-Type": content_type}
    )
    assert (got, problem["reason"]) == (status, reason)
    assert gateway.backend.requests == []


async def test_a_body_without_a_length_is_bounded_too(gateway: Gateway) -> None:
    async def endless() -> Any:
        for _ in range(64):
            yield b" " * 65536

    status, problem = await gateway.json(
        "POST", "/v1/events:write", data=endless(), headers={"Content-Type": "application/json"}
    )
    assert (status, problem["reason"]) == (413, "BODY_TOO_LARGE")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "GZIP", "gzip, br", "nonsense"])
@pytest.mark.parametrize(
    ("path", "content_type"),
    [("/v1/events:write", "application/json"), ("/v1/events:import", "application/x-ndjson")],
)
async def test_compressed_bodies_are_refused(gateway: Gateway, path: str, content_type: str, encoding: str) -> None:
    """Unread, whatever they hold: empty lines compress a thousandfold, and each takes its time."""
    headers = {"Content-Type": content_type, "Content-Encoding": encoding}
    data = gzip.compress(b"\n" * 1_000_000)
    async with gateway.http.post(gateway.url + path, data=data, headers=headers) as answer:
        assert answer.status == 415
        assert answer.headers["Accept-Encoding"] == "identity"
        assert (await answer.json(content_type=None))["reason"] == "UNSUPPORTED_CONTENT_ENCODING"
    assert gateway.backend.requests == []


async def test_the_encoding_that_is_none_is_taken(gateway: Gateway) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "identity"}
    status, _ = await gateway.json("POST", "/v1/events:write", data=b'{"events": []}', headers=headers)
    assert status == 200


async def test_a_thousand_long_ids_fit_a_batch(gateway: Gateway) -> None:
    ids = [f"{number:0>128}" for number in range(1000)]
    status, body = await gateway.json("POST", "/v1/features/Product:batchGet", json={"ids": ids})
    assert status == 200
    assert body["ids"] == ids
    assert len(body["columns"]["product_rating"]["values"]) == 1000


async def test_an_unknown_parameter_is_named(gateway: Gateway) -> None:
    status, problem = await gateway.json("GET", "/v1/products?page_size=3")
    assert (status, problem["errors"][0]["field"]) == (400, "page_size")


async def test_an_unmet_expectation_is_a_problem(gateway: Gateway) -> None:
    answer = await gateway.raw(
        b"POST /v1/models:train HTTP/1.1\r\nHost: h\r\nExpect: tea\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
    )
    assert answer.startswith(b"HTTP/1.1 417 ")
    assert b'"reason":"EXPECTATION_FAILED"' in answer


async def test_a_client_that_waits_to_send_is_told_to(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"POST /v1/events:write HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n"
    )
    assert (await reader.readline()) == b"HTTP/1.1 100 Continue\r\n"
    writer.write(b"{}")
    assert b"HTTP/1.1 200 OK" in await reader.read()
    writer.close()


@pytest.mark.parametrize(
    ("code", "status", "retry"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, 400, False),
        (grpc.StatusCode.FAILED_PRECONDITION, 400, False),
        (grpc.StatusCode.ABORTED, 409, False),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, 429, True),
        (grpc.StatusCode.UNAVAILABLE, 503, True),
    ],
)
async def test_errors_of_services_arrive_with_their_status(
    gateway: Gateway, code: grpc.StatusCode, status: int, retry: bool
) -> None:
    def answer(_: object) -> None:
        raise errors.ServiceError(code, "SOME_REASON", "some words", retry_after=2.0 if retry else None)

    gateway.backend.answers["GetProduct"] = answer
    async with gateway.http.get(gateway.url + "/v1/products/a") as got:
        problem = await got.json(content_type=None)
        assert (got.status, problem["code"], problem["reason"]) == (status, code.name, "SOME_REASON")
        assert got.headers.get("Retry-After") == ("2" if retry else None)


async def test_a_bug_of_a_service_is_masked_by_its_hash(gateway: Gateway) -> None:
    def answer(_: object) -> None:
        raise KeyError("secret")

    gateway.backend.answers["GetProduct"] = answer
    status, problem = await gateway.json("GET", "/v1/products/a")
    assert (status, problem["reason"]) == (500, "INTERNAL")
    assert "secret" not in json.dumps(problem)


async def test_a_bug_of_the_gateway_is_masked_by_a_hash(gateway: Gateway) -> None:
    # A column whose lists have different lengths breaks the contract; the gateway does not guess.
    gateway.backend.answers["BatchGetFeatures"] = lambda _: features.BatchGetFeaturesResponse(
        columns=[features.FeatureColumn(feature="f", type=features.INT, statuses=[features.PRESENT])]
    )
    status, problem = await gateway.json("POST", "/v1/features/Product:batchGet", json={"ids": ["a"]})
    assert (status, problem["code"], problem["reason"]) == (500, "INTERNAL", "INTERNAL")
    assert problem["detail"].startswith("internal error ")


async def test_metrics_know_routes_and_no_ids(gateway: Gateway) -> None:
    await gateway.json("GET", "/v1/products/very_special_id")
    await gateway.json("GET", "/very/special/path")
    async with gateway.http.request("PURGE", gateway.url + "/livez"):
        pass
    text = generate_latest(REGISTRY).decode()
    assert 'http_request_duration_seconds_count{method="GET",route="/v1/products/{id}",status="200"}' in text
    assert 'http_request_duration_seconds_count{method="OTHER",route="unmatched",status="405"}' in text
    assert "special" not in text.lower()
    await eventually(lambda: "http_requests_in_flight 0.0" in generate_latest(REGISTRY).decode())


@pytest.mark.parametrize(
    "head",
    ["GET /features/User/é HTTP/1.1", "GET /" + "a" * 20_000 + " HTTP/1.1", "VERYSPECIAL / HTTP/1.1", "GET / HTTP/9.9",
     "GET / HTTP/1.1\r\nBad Header: x", "nonsense", "GET / HTTP/1.1\r\nContent-Length: -1",
     "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked"],
)  # fmt: skip
async def test_what_is_no_http_is_a_problem_too(gateway: Gateway, head: str) -> None:
    answer = await gateway.raw(f"{head}\r\nHost: h\r\n\r\n".encode())
    start, _, body = answer.partition(b"\r\n\r\n")
    assert b" 400 " in start.split(b"\r\n")[0]
    assert b"aiohttp" not in start
    problem = json.loads(body)
    assert problem["reason"] == "MALFORMED_REQUEST"
    assert f"x-request-id: {problem['requestId']}".encode() in start.lower()


async def test_a_refresh_answers_in_the_shape_of_a_read(gateway: Gateway) -> None:
    gateway.backend.answers["RefreshFeatures"] = lambda request: features.RefreshFeaturesResponse(
        entity=request.entity,
        id=request.id,
        features={"user_purchase_count_30d": features.FeatureValue(int_value=4, status=features.PRESENT)},
    )
    status, body = await gateway.json("POST", "/v1/features/User/user_001:refresh", json={})
    assert status == 200
    assert body["features"] == {"user_purchase_count_30d": 4}
    assert body["metadata"]["user_purchase_count_30d"]["status"] == "PRESENT"
