"""Requests that aiohttp never sees: that they are, what they leave to it, and the days on which they end otherwise."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from prometheus_client import REGISTRY

from gateway import protocol
from services.runtime import errors
from tests.support.gateway import Gateway
from tests.support.gateway_answers import get_features, recommend
from tests.support.waiting import eventually

READ = b"GET /features/User/u?features=user_purchase_count_30d HTTP/1.1\r\nHost: h\r\n\r\n"
BATCH = (
    b"POST /v1/features/Product:batchGet HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
    b'Content-Length: 17\r\n\r\n{"ids":["a","b"]}'
)
PAGE = b"GET /v1/users/u/recommendations?pageSize=3 HTTP/1.1\r\nHost: h\r\n\r\n"
BODY = b'{"events":[{"eventId":"e1"}]}'
CALLS = [
    BATCH,
    PAGE,
    b"GET /v1/users/u/recommendations?explain=true&device=mobile&productId=a&pageToken=t HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /v1/products/p/similar?pageSize=2 HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n\r\n",
    b"GET /v1/products/p HTTP/1.1\r\nHost: h\r\nAccept: */*\r\nConnection: keep-alive\r\n\r\n",
    b"POST /v1/servingConfigs/discover:recommend HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
    b'Content-Length: 14\r\n\r\n{"userId":"u"}',
    b"POST /v1/events:write HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    % (len(BODY), BODY),
]
LIVE = b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n"


class Client:
    """A connection that reads one answer at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def answer(self, *sent: bytes) -> bytes:
        self.writer.write(b"".join(sent))
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 10)
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        return head + await self.reader.readexactly(length)


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[Client]:
    made = Client(*await asyncio.open_connection("127.0.0.1", gateway.port))
    yield made
    made.writer.close()


def by_aiohttp(gateway: Gateway) -> int:
    """How many requests it handled."""
    server: Any = gateway.runner.server
    return int(server.requests_count)


async def goes_fast(gateway: Gateway, client: Client, request: bytes) -> bool:
    """Answered without aiohttp; on a machine that stood still for a moment reads go alone for a second."""
    before = by_aiohttp(gateway)
    assert (await client.answer(request)).startswith(b"HTTP/1.1 200 OK\r\n")
    return by_aiohttp(gateway) == before


def seconds(status: int) -> tuple[float, float]:
    """Count and sum of the route's answers."""
    labels = {"method": "GET", "route": "/features/{entity}/{id}", "status": str(status)}
    count, total = (
        REGISTRY.get_sample_value(f"http_request_duration_seconds_{name}", labels) for name in ("count", "sum")
    )
    return count or 0.0, total or 0.0


def in_flight() -> float:
    return REGISTRY.get_sample_value("http_requests_in_flight") or 0.0


class Gate:
    """Holds the service's answers back."""

    def __init__(self, gateway: Gateway) -> None:
        self.opened = asyncio.Event()
        self.asked = 0
        gateway.backend.answers["GetFeatures"] = self._answer

    async def _answer(self, request: Any) -> Any:
        self.asked += 1
        await self.opened.wait()
        return get_features(request)


async def test_plain_reads_never_reach_aiohttp(gateway: Gateway, client: Client) -> None:
    await eventually(lambda: goes_fast(gateway, client, READ))
    before = by_aiohttp(gateway)
    await client.answer(LIVE)
    assert by_aiohttp(gateway) == before + 1
    await eventually(lambda: goes_fast(gateway, client, READ))  # and again after one that did


async def test_reads_go_fast_again_however_soon_they_follow_others(gateway: Gateway, client: Client) -> None:
    """Also one that comes while aiohttp is still at its last request leaves nothing behind."""
    gate = Gate(gateway)
    client.writer.write(READ.replace(b"/u?", b"/%75?"))  # the long way
    await eventually(lambda: gate.asked)
    client.writer.write(LIVE)
    gate.opened.set()
    for _ in range(2):
        await client.answer()
    await eventually(lambda: goes_fast(gateway, client, READ))


@pytest.mark.parametrize("request_", CALLS)
async def test_plain_calls_never_reach_aiohttp(gateway: Gateway, client: Client, request_: bytes) -> None:
    before = by_aiohttp(gateway)
    for _ in range(2):
        assert (await client.answer(request_)).startswith(b"HTTP/1.1 200 OK\r\n")
    assert by_aiohttp(gateway) == before


async def test_a_batch_in_pieces_goes_the_long_way(gateway: Gateway, client: Client) -> None:
    before = by_aiohttp(gateway)
    client.writer.write(BATCH[:-5])
    await client.writer.drain()
    await asyncio.sleep(0.05)  # it is in two pieces then
    assert b'"ids":["a","b"]' in await client.answer(BATCH[-5:])
    assert by_aiohttp(gateway) == before + 1


@pytest.mark.parametrize(("request_", "name"), [(BATCH, "BatchGetFeatures"), (PAGE, "Recommend")])
async def test_who_leaves_takes_a_call_along(gateway: Gateway, client: Client, request_: bytes, name: str) -> None:
    asked = asyncio.Event()
    cancelled = gateway.backend.cancelled

    async def hang(_: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    gateway.backend.answers[name] = hang
    client.writer.write(request_)
    await asked.wait()
    assert in_flight() == 1
    client.writer.close()
    await eventually(lambda: in_flight() == 0)
    await eventually(lambda: cancelled)


@pytest.mark.parametrize(("request_", "name"), [(BATCH, "BatchGetFeatures"), (PAGE, "Recommend")])
async def test_a_call_that_hangs_is_504_when_its_time_is_up(
    gateway: Gateway, client: Client, request_: bytes, name: str
) -> None:
    async def hang(_: object) -> None:
        await asyncio.Event().wait()

    gateway.backend.answers[name] = hang
    started = time.perf_counter()
    assert (await client.answer(request_)).startswith(b"HTTP/1.1 504 ")
    assert 0.9 < time.perf_counter() - started < 1.8  # and not as long again


async def test_what_failed_is_not_asked_again(gateway: Gateway, client: Client) -> None:
    """When there is too much to do, a second try would be as much again. The log of the service has the same id."""

    def busy(_: object) -> None:
        raise errors.resource_exhausted("OVERLOADED", "too many requests at once", retry_after=3)

    gateway.backend.answers["Recommend"] = busy
    answer = await client.answer(PAGE)
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b"\r\nRetry-After: 3\r\n" in answer
    (request_id,) = gateway.backend.request_ids
    assert request_id is not None
    assert f"\r\nX-Request-Id: {request_id}\r\n".encode() in answer
    gateway.backend.answers["Recommend"] = recommend
    assert (await client.answer(PAGE)).startswith(b"HTTP/1.1 200 ")  # the error was that request's alone


async def test_what_the_batch_cannot_tell_takes_the_long_way(gateway: Gateway, client: Client) -> None:
    await eventually(lambda: goes_fast(gateway, client, READ))
    before = by_aiohttp(gateway)
    answer = await client.answer(READ.replace(b"/u?", b"/nobody?"))
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert by_aiohttp(gateway) == before + 1


async def test_what_is_sent_meanwhile_waits_for_its_turn(gateway: Gateway, client: Client) -> None:
    gate = Gate(gateway)
    client.writer.write(READ)
    await eventually(lambda: gate.asked)
    client.writer.write(LIVE)
    await client.writer.drain()
    client.writer.write(READ + LIVE)
    gate.opened.set()
    answers = [await client.answer() for _ in range(4)]
    assert [b"live" in answer for answer in answers] == [False, True, False, True]


async def test_the_rest_of_another_request_is_no_read(gateway: Gateway, client: Client) -> None:
    """However much its bytes look like one: what a proxy sends on behalf of one client is not taken for another's."""
    post = b"POST /v1/features/User/u:refresh HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
    assert b"200 OK" in await client.answer(post, b"GET /livez HTTP/1.1\r\nX-Rest: ")
    before = by_aiohttp(gateway)
    assert (await client.answer(READ)).endswith(b"live\n")
    assert by_aiohttp(gateway) == before + 1


async def test_a_client_that_leaves_is_recorded(gateway: Gateway, client: Client) -> None:
    gate = Gate(gateway)
    before, _ = seconds(499)
    client.writer.write(READ)
    await eventually(lambda: gate.asked)
    assert in_flight() == 1
    client.writer.close()
    await eventually(lambda: seconds(499)[0] == before + 1)
    assert in_flight() == 0
    gate.opened.set()


async def test_while_draining_an_answer_is_the_connections_last(gateway: Gateway, client: Client) -> None:
    await client.answer(READ)
    gateway.readiness.drain()
    assert b"\r\nConnection: close\r\n" in await client.answer(READ)
    assert await client.reader.read() == b""


@pytest.mark.parametrize("entity_id", ["u", "nobody"])
async def test_a_clean_up_waits_for_answers_under_way(gateway: Gateway, client: Client, entity_id: str) -> None:
    gate = Gate(gateway)
    client.writer.write(READ.replace(b"/u?", f"/{entity_id}?".encode()))
    await eventually(lambda: gate.asked)
    cleaning = asyncio.create_task(gateway.runner.cleanup())
    await asyncio.sleep(0.05)  # without an answer under way it is done by then
    assert not cleaning.done()
    gate.opened.set()
    assert (b" 200 " if entity_id == "u" else b" 404 ") in (await client.answer())[:20]
    assert await client.reader.read() == b""
    await asyncio.wait_for(cleaning, 5)


async def test_a_clean_up_waits_for_pages_under_way(gateway: Gateway, client: Client) -> None:
    asked, opened = asyncio.Event(), asyncio.Event()

    async def answer(request: Any) -> Any:
        asked.set()
        await opened.wait()
        return recommend(request)

    gateway.backend.answers["Recommend"] = answer
    client.writer.write(PAGE)
    await asked.wait()
    cleaning = asyncio.create_task(gateway.runner.cleanup())
    await asyncio.sleep(0.05)  # without an answer under way it is done by then
    assert not cleaning.done()
    opened.set()
    assert b"HTTP/1.1 200 OK" in await client.answer()
    await asyncio.wait_for(cleaning, 5)


async def test_time_counts_from_the_first_try(gateway: Gateway, client: Client) -> None:
    """A service that hangs: a share of the time in a batch, the rest alone, and the whole of it in the metric."""
    Gate(gateway)
    _, before = seconds(504)
    started = time.perf_counter()
    assert (await client.answer(READ)).startswith(b"HTTP/1.1 504 ")
    assert seconds(504)[1] - before > 0.9 * (time.perf_counter() - started)


async def test_an_idle_connection_lives_on_after_reads(
    gateway: Gateway, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    await client.answer(READ)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(client.reader.read(), 0.5)
    assert (await client.answer(READ)).startswith(b"HTTP/1.1 200 OK")


async def test_a_batch_that_comes_again_is_answered_as_the_first_time(client: Client) -> None:
    other = BATCH.replace(b'"b"]', b'"c"]')
    strange = BATCH.replace(b":batchGet", b":batchGet?page=1")
    for _ in range(4):
        for request, ids in ((BATCH, b'["a","b"]'), (other, b'["a","c"]')):
            assert b'{"entity":"Product","ids":' + ids in await client.answer(request)
        people = await client.answer(BATCH.replace(b"Product", b"User"))
        assert b'{"entity":"User"' in people
    assert (await client.answer(strange)).startswith(b"HTTP/1.1 400 ")
