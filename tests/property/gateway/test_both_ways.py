"""Whatever bytes a client sends, it gets the same answers with the fast way for plain requests as without it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from gateway.clients import FEATURES, RECOMMENDER
from services.runtime import errors
from tests.support.gateway import Backend, Gateway, plain_logs, running_backend, running_gateway
from tests.support.gateway_answers import answers, recommend
from tests.support.waiting import eventually

LAST = b"GET /livez HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
# A client that sends on after it was refused may not get to see the refusal.
RESET = b"reset"

IDS = [
    "u",
    "user_001",
    "nobody",
    "a:refresh",
    "a@b",
    ".",
    "..",
    "%75",
    "a%2Fb",
    "a b",
    "é",
    "x" * 128,
    "x" * 129,
    "",
    "a/b",
]
ENTITIES = ["User", "User", "User", "Shop", "user", "Us er", ""]
QUERIES = [
    "", "?features=user_browsing_category", "?features=user_purchase_count_30d,user_browsing_category",
    "?features=user_purchase_count_30d,user_purchase_count_30d", "?features=user_avg_order_value", "?features=",
    "?features=,", "?features=a,,b", "?features=unknown", "?features=a&features=b", "?Features=a", "?features=a%2Cb",
    "?features=user_browsing_category#top", "?", "?features=user-x", "?features=a;b",
]  # fmt: skip
HEADERS = [
    "Host: h", "Host: localhost:8000", "Host: ", "Host: a b", "host: h", "Connection: keep-alive", "Connection: close",
    "Connection: Keep-Alive", "Connection: upgrade", "Upgrade: websocket", "X-Request-Id: abc.1", "X-Request-Id: a b",
    "X-REQUEST-ID: r-2", "X-Request-Id: ", "Accept: */*", "Accept-Encoding: gzip", "User-Agent: a (b; c) é",
    "Cookie: a=b", "Expect: 100-continue", "Expect: tea", "Content-Length: 0", "TE: trailers", "Bad Name: x", "NoColon",
    "X-Tab:\tv",
    "X-Space: v ", "X-Empty:", "Transfer-Encoding: identity", "Content-Encoding: gzip", "X_Under: 1",
    "If-None-Match: *", "Range: bytes=0-1", "Content-Type: application/json", "Content-Type: text/plain",
    "\r\n".join(f"X-{place}: 1" for place in range(150)),
]  # fmt: skip
USUAL = ["X-Request-Id: abc.1", "Accept: */*", "Accept-Encoding: gzip", "Cookie: a=b", "Connection: keep-alive"]
MATTER = [
    "Connection: close", "Connection: Keep-Alive", "Expect: 100-continue", "Expect: tea", "Content-Length: 0",
    "Upgrade: websocket", "Host: h", "Transfer-Encoding: identity", "x-request-id: r-2",
]  # fmt: skip
BODIES = [
    b"Content-Length: 2\r\n\r\n{}", b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"Content-Length: 60\r\n\r\nGET /features/User/u HTTP/1.1\r\nHost: smuggled\r\nX: 123456\r\n\r\n",
]  # fmt: skip


@st.composite
def plain(draw: st.DrawFn) -> bytes:
    """What the fast way is for, often but for one thing."""
    query = draw(st.sampled_from(QUERIES[:5]))
    headers = ["Host: h", *draw(st.lists(st.sampled_from(USUAL), max_size=2, unique_by=str.lower))]
    if draw(st.booleans()):
        headers.insert(draw(st.integers(0, len(headers))), draw(st.sampled_from([*MATTER, *MATTER, *HEADERS])))
    lines = [f"GET /features/User/{draw(st.sampled_from(IDS[:5]))}{query} HTTP/1.1", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


ASKED = [
    b'{"ids":["a","b"]}', b'{"ids":["a"],"features":["product_rating"]}', b'{"ids":["nobody"]}', b'{"ids":[]}', b"{}",
    b'{"ids":["a"],"colour":1}', b'{"ids":[1]}', b"{", b'{"ids":["a"],"entity":"Shop"}', b'{"ids":["a"]}   ', b"[]",
    b'{"ids":["\xff"]}',
]  # fmt: skip
TYPES = [
    "Content-Type: application/json", "content-type: application/json", "Content-Type: application/json; charset=utf-8",
    "Content-Type: text/plain", "X: y",
]  # fmt: skip


@st.composite
def many(draw: st.DrawFn) -> bytes:
    """The other route of the fast way, often but for one thing."""
    body = draw(st.sampled_from([*ASKED[:3], *ASKED]))
    of_type = draw(st.sampled_from([TYPES[0], *TYPES]))
    headers = ["Host: h", of_type, f"Content-Length: {len(body)}"]
    if draw(st.booleans()):
        headers.insert(draw(st.integers(0, len(headers))), draw(st.sampled_from([*USUAL, *MATTER, *HEADERS])))
    entity = draw(st.sampled_from(["Product", "User", "Shop", "a:batchGet", "Pro%64uct", ""]))
    query = draw(st.sampled_from(["", "", "?", "?features=a"]))
    lines = [f"POST /v1/features/{entity}:batchGet{query} HTTP/1.1", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


USERS = ["u", "busy", "nobody", "bug", "wrong", "poor", "a@b", "a:recommend", ".", "..", "%75", "é", "x" * 129, ""]
PARAMETERS = [
    "", "?pageSize=3", "?pageSize=3&explain=true", "?device=mobile",
    "?servingConfig=discover&productId=a&productId=b:1", "?pageToken=aZ0-_", "?pageToken=a=b",
    "?pageToken=" + "t" * 3_400, "?pageToken=" + "t" * 9_000, "?device=", "?device=a%20b", "?device=a+b",
    "?device=a,b~c", "?pageSize=x", "?pageSize=", "?pageSize", "?pageSize=-1", "?pageSize=99999999999",
    "?explain=yes", "?explain=false", "?colour=red", "?pageSize=1&pageSize=2", "?&&explain=true&", "?=", "?=3", "?",
    "?explain=true#top", "?explain=true;pageSize=3", "?PageSize=3", "?page_size=3",
]  # fmt: skip
PATHS = ["/v1/users/{}/recommendations"] * 3 + ["/v1/products/{}/similar", "/v1/products/{}", "/v1/users/{}"]
TOLD = [
    ("/v1/servingConfigs/discover:recommend", b'{"userId":"u","pageSize":3,"device":"a b"}'),
    ("/v1/servingConfigs/discover:recommend", b'{"userId":"busy"}'),
    ("/v1/servingConfigs/a:recommend:recommend", b"{}"),
    ("/v1/servingConfigs/discover:recommend", b'{"servingConfig":"other"}'),
    ("/v1/servingConfigs/discover:recommend", b'{"colour":1}'),
    ("/v1/servingConfigs/discover:recommend", b""),
    ("/v1/servingConfigs/discover:recommend?pageSize=3", b"{}"),
    ("/v1/events:write", b'{"events":[{"eventId":"e1","eventType":"detail-page-view"},{"eventId":"e2"}]}'),
    ("/v1/events:write", b'{"events":[{"eventId":1}]}'),
    ("/v1/events:write", b"["),
    ("/v1/events:write", b""),
    ("/v1/events:write?", b'{"events":[]}'),
]


def page(request: Any) -> Any:
    """What the recommender answers, by user."""
    name = getattr(request, "user_id", "")
    if name == "busy":
        raise errors.resource_exhausted("OVERLOADED", "too many requests at once", retry_after=2.5)
    if name == "nobody":
        raise errors.not_found("SERVING_CONFIG_NOT_FOUND", "there is no such config")
    if name == "wrong":
        raise errors.invalid_field("pageToken", "is of another page", reason="INVALID_PAGE_TOKEN")
    if name == "bug":
        raise RuntimeError("not told")
    answer = recommend(request)
    if name == "poor":
        answer.degraded.append("features")
    return answer


def get(path: str, *headers: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: h", *headers, "", ""]).encode()


def post(path: str, of_type: str, body: bytes, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: h", of_type, f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


@st.composite
def calls(draw: st.DrawFn) -> bytes:
    """The routes that are calls, often but for one thing."""
    headers = draw(st.lists(st.sampled_from([*USUAL, *USUAL, *MATTER, *HEADERS]), max_size=2, unique_by=str.lower))
    if draw(st.integers(0, 3)) == 0:
        path, body = draw(st.sampled_from(TOLD))
        return post(path, draw(st.sampled_from([TYPES[0], *TYPES])), body, *headers)
    path = draw(st.sampled_from(PATHS)).format(draw(st.sampled_from([*USERS[:2], *USERS])))
    return get(path + draw(st.sampled_from([*PARAMETERS[:4], *PARAMETERS])), *headers)


@st.composite
def odd(draw: st.DrawFn) -> bytes:
    """What it must leave alone, most of it."""
    method = draw(st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "get", "PUT"]))
    path = f"/features/{draw(st.sampled_from(ENTITIES))}/{draw(st.sampled_from(IDS))}{draw(st.sampled_from(QUERIES))}"
    version = draw(st.sampled_from(["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/2.0"]))
    headers = draw(st.lists(st.sampled_from(HEADERS), max_size=5))
    if draw(st.integers(0, 4)):
        headers.insert(0, "Host: h")
    return "\r\n".join([f"{method} {path} {version}", *headers, "", ""]).encode()


@st.composite
def with_body(draw: st.DrawFn) -> bytes:
    return b"POST /v1/features/User/u:refresh HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n" + draw(
        st.sampled_from(BODIES)
    )


@st.composite
def sendings(draw: st.DrawFn) -> list[bytes]:
    """The bytes of some requests, in the pieces in which they are sent."""
    requests = draw(st.lists(st.one_of(plain(), calls(), calls(), many(), odd(), with_body()), min_size=1, max_size=4))
    if draw(st.booleans()):
        return [*requests, LAST]
    whole = b"".join([*requests, LAST])
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    return [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


async def talk(gateway: Gateway, pieces: Sequence[bytes]) -> bytes:
    """All that comes back; what differs from answer to answer is made equal."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    reading = asyncio.create_task(reader.read(-1))
    try:
        for piece in pieces:
            if reading.done():
                break
            writer.write(piece)
            await asyncio.sleep(0.002)  # pieces arrive as pieces, most of the time
        answer = await asyncio.wait_for(reading, 10)
    except ConnectionError:  # refused in the middle of what was still being sent
        return RESET
    finally:
        reading.cancel()
        writer.close()
    answer = re.sub(rb"Date: [^\r]+", b"Date: now", answer)
    answer = re.sub(rb'"ageSeconds":[0-9.]+', b'"ageSeconds":0', answer)
    answer = re.sub(rb"Content-Length: (\d+)", b"Content-Length: n", answer)
    return re.sub(rb"[0-9a-f]{32}", b"made", answer)


def recorded() -> dict[tuple[str, ...], float]:
    """Requests by method, route and status."""
    return {
        (sample.labels["method"], sample.labels["route"], sample.labels["status"]): sample.value
        for metric in REGISTRY.collect()
        if metric.name == "http_request_duration_seconds"
        for sample in metric.samples
        if sample.name.endswith("_count")
    }


async def outcome(gateway: Gateway, pieces: Sequence[bytes]) -> tuple[bytes, dict[tuple[str, ...], float]]:
    for _ in range(10):
        before = recorded()
        answer = await talk(gateway, pieces)
        after = recorded()
        if answer != RESET:
            break
    return answer, {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}


@pytest.fixture
async def gateways() -> AsyncIterator[tuple[Gateway, Gateway]]:
    """One with the fast way and one without."""
    backend = Backend({**answers(), "Recommend": page, "ListSimilarProducts": page})
    with plain_logs():
        async with AsyncExitStack() as stack:
            features = await stack.enter_async_context(running_backend(backend, FEATURES))
            recommender = await stack.enter_async_context(running_backend(backend, RECOMMENDER))
            fast, slow = [
                await stack.enter_async_context(running_gateway(backend, features, recommender, fast=is_fast))
                for is_fast in (True, False)
            ]
            for gateway in (fast, slow):
                await eventually(gateway.readiness.ready)
            yield fast, slow


async def test_each_header_means_the_same_both_ways(gateways: tuple[Gateway, Gateway]) -> None:
    fast, slow = gateways
    for header in dict.fromkeys([*MATTER, *HEADERS]):
        for path in ("/features/User/u", "/v1/users/u/recommendations"):
            assert await outcome(fast, [get(path, header), LAST]) == await outcome(slow, [get(path, header), LAST]), (
                header
            )
        many = post("/v1/features/Product:batchGet", TYPES[0], b'{"ids":["a"]}', header)
        assert await outcome(fast, [many, LAST]) == await outcome(slow, [many, LAST]), header


async def test_each_body_means_the_same_both_ways(gateways: tuple[Gateway, Gateway]) -> None:
    fast, slow = gateways
    for body in ASKED:
        for of_type in TYPES:
            read = post("/v1/features/Product:batchGet", of_type, body, "Accept: */*")
            assert await outcome(fast, [read, LAST]) == await outcome(slow, [read, LAST]), read
    assert fast.backend.in_rows, "one of the ways asks for rows"


def told(events: Sequence[MutableMapping[str, Any]]) -> list[dict[str, Any]]:
    """Log events of requests, but for good reads, which are told of when they are slow, and bytes that are none, which
    are sent again when their sender did not get to see the refusal."""
    return [
        {name: value for name, value in event.items() if name not in ("seconds", "request_id", "exc_info")}
        for event in events
        if event["event"] == "http" and "method" in event and (event["method"] != "GET" or event["status"] >= 400)
    ]


async def test_each_call_means_the_same_both_ways(gateways: tuple[Gateway, Gateway]) -> None:
    """Also to the service, which neither way asks more than the other, and in the log."""
    fast, slow = gateways
    paths = [f"/v1/users/u/recommendations{query}" for query in PARAMETERS]
    paths += [path.format(user) for path in dict.fromkeys(PATHS) for user in USERS]
    requests = [get(path, "X-Request-Id: r") for path in paths]
    requests += [post(path, of_type, body) for path, body in TOLD for of_type in TYPES]
    requests += [get("/v1/users/u/recommendations").replace(b"GET", method) for method in (b"HEAD", b"POST", b"get")]
    asked = fast.backend.requests
    for request in requests:
        made = []
        for gateway in (fast, slow):
            asked.clear()
            with structlog.testing.capture_logs() as events:
                answer = await outcome(gateway, [request, LAST])
            made.append((answer, list(asked), told(events)))
        assert made[0] == made[1], request


async def test_answers_are_the_same_both_ways(gateways: tuple[Gateway, Gateway]) -> None:
    loop = asyncio.get_running_loop()
    fast, slow = gateways

    async def both(pieces: Sequence[bytes]) -> None:
        assert await outcome(fast, pieces) == await outcome(slow, pieces)

    @settings(deadline=None, database=None, derandomize=True, max_examples=60, suppress_health_check=list(HealthCheck))
    @given(sendings())
    def same(pieces: list[bytes]) -> None:
        asyncio.run_coroutine_threadsafe(both(pieces), loop).result(30)

    await asyncio.to_thread(same)
