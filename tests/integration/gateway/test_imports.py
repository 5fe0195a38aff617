"""Bulk routes: lines of any number, in chunks, with their refusals."""

import io
import json
from collections.abc import AsyncIterator

import pytest
from windowshop.recommender.v1 import catalog_pb2 as catalog

from gateway.transcoding.lines import LINE_LIMIT
from services.recommender.domain import product as bounds
from services.recommender.servicer.products import read_product
from tests.support.gateway import Gateway
from tests.support.waiting import eventually

NDJSON = {"Content-Type": "application/x-ndjson"}


async def imported(gateway: Gateway, path: str, body: bytes | AsyncIterator[bytes]) -> tuple[int, dict[str, object]]:
    data = io.BytesIO(body) if isinstance(body, bytes) else body
    return await gateway.json("POST", path, data=data, headers=NDJSON)


async def test_events_arrive_in_chunks_of_a_thousand(gateway: Gateway) -> None:
    async def lines() -> AsyncIterator[bytes]:
        for number in range(2500):
            yield b'{"eventId": "e%d"}\n' % number

    status, answer = await imported(gateway, "/v1/events:import", lines())
    assert (status, answer["accepted"]) == (200, 2500)
    assert [len(request.events) for request in gateway.backend.requests] == [1000, 1000, 500]
    ids = [event.event_id for request in gateway.backend.requests for event in request.events]
    assert ids == [f"e{number}" for number in range(2500)]


async def test_bad_lines_are_named_by_their_place_in_the_body(gateway: Gateway) -> None:
    body = b"\n".join(
        [
            b"",
            b'{"eventId": "good"}\r',
            b"not json",
            b"",
            b'{"eventId": "x", "colour": 1}',
            b'{"eventType": "home-page-view"}',
            b'{"eventId": "' + b"x" * LINE_LIMIT + b'"}',
            b'{"eventId": "good too"}',
            b"",
            b"",
        ]
    )
    status, answer = await imported(gateway, "/v1/events:import", body)
    assert (status, answer["accepted"], answer["rejected"]) == (200, 2, 4)
    samples = answer["rejectedSamples"]
    assert isinstance(samples, list)
    assert [(sample["index"], sample["reason"], sample["field"]) for sample in samples] == [
        (2, "MALFORMED_JSON", ""),
        (4, "UNKNOWN_FIELD", "colour"),
        (5, "EVENT_ID_MISSING", "eventId"),
        (6, "LINE_TOO_LONG", ""),
    ]


async def test_only_the_first_hundred_refusals_are_told(gateway: Gateway) -> None:
    status, answer = await imported(gateway, "/v1/events:import", b"nonsense\n" * 300)
    samples = answer["rejectedSamples"]
    assert isinstance(samples, list)
    assert (status, answer["rejected"], len(samples)) == (200, 300, 100)
    assert {sample["reason"] for sample in samples} == {"MALFORMED_JSON"}


async def test_long_lines_make_chunks_that_grpc_takes(gateway: Gateway) -> None:
    line = json.dumps({"id": "p", "title": "t", "description": "x" * 60_000}).encode() + b"\n"

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(1500):
            yield line

    status, answer = await imported(gateway, "/v1/products:import", chunks())
    assert (status, answer["created"]) == (200, 1500)
    assert max(request.ByteSize() for request in gateway.backend.requests) < 5 * 1024 * 1024


def largest_product(number: int) -> dict[str, object]:
    """Every text as long as the catalogue allows, each character as long as a character gets."""

    def text(length: int) -> str:
        return "\U0001f600" * length

    return {
        "id": f"{number:0>128}",
        "title": text(bounds.MAX_TITLE),
        "description": text(bounds.MAX_DESCRIPTION),
        "categories": [text(bounds.MAX_NAME)] * bounds.MAX_CATEGORIES,
        "brand": text(bounds.MAX_NAME),
        "price": 1.7976931348623157e308,
        "currencyCode": "EUR",
        "availableQuantity": bounds.MAX_COUNT,
        "lowStockThreshold": bounds.MAX_COUNT,
        "ratingAverage": 4.999999999999999,
        "ratingCount": bounds.MAX_COUNT,
        "tags": [text(bounds.MAX_NAME)] * bounds.MAX_TAGS,
        "attributes": {
            f"{key:02}" + text(bounds.MAX_ATTRIBUTE_KEY - 2): text(bounds.MAX_ATTRIBUTE_VALUE)
            for key in range(bounds.MAX_ATTRIBUTES)
        },
        "availableTime": "2026-11-23T12:00:00.123456789Z",
        "expireTime": "2027-11-23T12:00:00.123456789Z",
    }


@pytest.mark.parametrize("escaped", [True, False])
async def test_every_product_that_the_catalogue_takes_fits_a_line(gateway: Gateway, escaped: bool) -> None:
    lines = [json.dumps(largest_product(number), ensure_ascii=escaped).encode() for number in range(50)]
    status, answer = await imported(gateway, "/v1/products:import?mode=FULL", b"\n".join(lines))
    assert (status, answer["created"], answer["rejected"]) == (200, 50, 0)
    assert max(request.ByteSize() for request in gateway.backend.requests) < 8 * 1024 * 1024
    assert read_product(gateway.backend.requests[-1].products[-1])[1] == []


async def test_empty_lines_without_end_are_refused(gateway: Gateway) -> None:
    status, problem = await imported(gateway, "/v1/events:import", b'{"eventId": "e"}\n' + b"\n" * 1_000_000)
    assert (status, problem["reason"]) == (400, "TOO_MANY_EMPTY_LINES")
    assert gateway.backend.completed == []


async def test_the_mode_is_said_once(gateway: Gateway) -> None:
    status, _ = await imported(gateway, "/v1/products:import?mode=FULL", b'{"id": "p", "title": "t"}\n' * 1001)
    assert status == 200
    assert [request.mode for request in gateway.backend.requests] == [catalog.FULL, catalog.IMPORT_MODE_UNSPECIFIED]


async def test_an_empty_full_import_is_the_services_to_refuse(gateway: Gateway) -> None:
    status, _ = await imported(gateway, "/v1/products:import?mode=FULL", b"\n")
    assert status == 200
    assert gateway.backend.requests == [catalog.ImportProductsRequest(mode=catalog.FULL)]


async def test_a_refused_product_is_still_named_in_a_full_import(gateway: Gateway) -> None:
    body = b'{"id": "a", "title": "t"}\n{"id": "b", "title": "t", "colour": "red"}\n'
    status, answer = await imported(gateway, "/v1/products:import?mode=FULL", body)
    assert status == 200
    assert answer["errorSamples"] == [
        {"index": 1, "id": "b", "reason": "UNKNOWN_FIELD", "field": "colour", "message": "there is no such field"}
    ]
    assert [product.id for product in gateway.backend.requests[0].products] == ["a", "b"]


async def test_a_refused_product_is_named_as_far_as_it_can_be_read(gateway: Gateway) -> None:
    body = b'{"id": "b", "colour": "red"}\n{"id": 5, "title": "t"}\n{"id": "c", "titl'
    status, answer = await imported(gateway, "/v1/products:import", body)
    samples = answer["errorSamples"]
    assert isinstance(samples, list)
    assert status == 200
    assert [(sample["id"], sample["reason"]) for sample in samples] == [
        ("b", "UNKNOWN_FIELD"),
        ("", "INVALID_VALUE"),
        ("", "MALFORMED_JSON"),
    ]


@pytest.mark.parametrize("line", [b'{"id": "b", "titl', b'{"id": 5}', b"[]", b'{"id": "' + b"b" * LINE_LIMIT + b'"}'])
async def test_a_full_import_stops_at_a_line_that_names_nothing(gateway: Gateway, line: bytes) -> None:
    status, problem = await imported(
        gateway, "/v1/products:import?mode=FULL", b'{"id": "a", "title": "t"}\n' * 1000 + line
    )
    assert (status, problem["reason"]) == (400, "UNREADABLE_LINE")
    await eventually(lambda: gateway.backend.cancelled == ["ImportProducts"])
    assert gateway.backend.completed == []


async def test_the_query_and_the_content_type_are_checked_before_the_body(gateway: Gateway) -> None:
    status, problem = await imported(gateway, "/v1/products:import?mode=ALL", b"")
    assert (status, problem["reason"]) == (400, "INVALID_VALUE")
    status, problem = await gateway.json("POST", "/v1/events:import", json={})
    assert (status, problem["reason"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert gateway.backend.requests == []


async def test_request_ids_reach_the_service(gateway: Gateway) -> None:
    async with gateway.http.post(
        gateway.url + "/v1/events:import", data=b"{}\n", headers={**NDJSON, "X-Request-Id": "r-1"}
    ) as answer:
        assert answer.status == 200
    assert gateway.backend.request_ids == ["r-1"]


async def test_nothing_is_imported_from_nothing(gateway: Gateway) -> None:
    status, answer = await imported(gateway, "/v1/events:import", b"")
    assert (status, answer["accepted"], answer["rejectedSamples"]) == (200, 0, [])
