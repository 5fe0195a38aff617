"""Whatever bytes a client sends, it gets the same answers with the fast way for reads as without it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from gateway.clients import FEATURES, RECOMMENDER
from tests.support.gateway import Backend, Gateway, plain_logs, running_backend, running_gateway
from tests.support.gateway_answers import answers
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
    requests = draw(st.lists(st.one_of(plain(), plain(), many(), odd(), with_body()), min_size=1, max_size=4))
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
    backend = Backend(answers())
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


def batch(of_type: str, header: str, body: bytes) -> bytes:
    lines = ["POST /v1/features/Product:batchGet HTTP/1.1", "Host: h", of_type, f"Content-Length: {len(body)}", header]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def test_each_header_means_the_same_both_ways(gateways: tuple[Gateway, Gateway]) -> None:
    fast, slow = gateways
    for header in dict.fromkeys([*MATTER, *HEADERS]):
        one = f"GET /features/User/u HTTP/1.1\r\nHost: h\r\n{header}\r\n\r\n".encode()
        for read in (one, batch(TYPES[0], header, b'{"ids":["a"]}')):
            assert await outcome(fast, [read, LAST]) == await outcome(slow, [read, LAST]), header


async def test_each_body_means_the_same_both_ways(gateways: tuple[Gateway, Gateway]) -> None:
    fast, slow = gateways
    for body in ASKED:
        for of_type in TYPES:
            read = batch(of_type, "Accept: */*", body)
            assert await outcome(fast, [read, LAST]) == await outcome(slow, [read, LAST]), read
    assert fast.backend.in_rows, "one of the ways asks for rows"


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
