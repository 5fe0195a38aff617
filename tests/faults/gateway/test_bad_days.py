"""Services that are down, hang or die; clients that leave, cut or crawl."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from windowshop.recommender.v1 import recommendation_pb2

from gateway import calls, imports, protocol
from gateway.clients import FEATURES, RECOMMENDER
from services.runtime.errors import unavailable
from tests.support.gateway import Backend, Gateway, running_backend, running_gateway
from tests.support.gateway_answers import answers
from tests.support.waiting import eventually

NDJSON = {"Content-Type": "application/x-ndjson"}
PRODUCT = b'{"id": "p", "title": "t"}\n'


async def test_one_service_down_is_503_at_once_and_heals_by_itself() -> None:
    backend = Backend(answers())
    async with running_backend(backend, RECOMMENDER) as recommender:
        async with running_backend(backend, FEATURES) as features:
            pass
        async with running_gateway(backend, features, recommender) as gateway:
            await eventually(gateway.readiness.ready)
            started = time.monotonic()
            async with gateway.http.get(gateway.url + "/features/User/u") as answer:
                problem = await answer.json(content_type=None)
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert time.monotonic() - started < 1
            assert problem["code"] == "UNAVAILABLE"
            assert str(features) not in problem["detail"]
            assert (await gateway.json("GET", "/v1/products/a"))[0] == 200
            async with running_backend(backend, FEATURES, features):

                async def answered() -> bool:
                    return (await gateway.json("GET", "/features/User/u"))[0] == 200

                await eventually(answered)


async def test_a_gateway_that_reaches_no_service_is_alive_and_not_ready() -> None:
    backend = Backend(answers())
    async with running_backend(backend, RECOMMENDER) as closed:
        pass
    async with running_gateway(backend, closed, closed) as gateway:
        async with gateway.http.get(gateway.url + "/readyz") as answer:
            assert answer.status == 503
        async with gateway.http.get(gateway.url + "/livez") as answer:
            assert answer.status == 200
        async with running_backend(backend, RECOMMENDER, closed):
            await eventually(gateway.readiness.ready)
        await eventually(lambda: not gateway.readiness.ready())


async def hang(_: object) -> None:
    await asyncio.Event().wait()


async def test_a_hung_service_is_504_when_its_time_is_up(gateway: Gateway) -> None:
    gateway.backend.answers["GetFeatures"] = hang
    started = time.monotonic()
    status, problem = await gateway.json("GET", "/features/User/u")
    assert (status, problem["code"]) == (504, "DEADLINE_EXCEEDED")
    assert 0.9 < time.monotonic() - started < 3
    await eventually(lambda: "GetFeatures" in gateway.backend.cancelled)


async def test_a_client_that_leaves_takes_its_page_along_over_the_stream(gateway: Gateway) -> None:
    gateway.backend.answers["Recommend"] = lambda _: recommendation_pb2.RecommendResponse()

    async def streamed() -> int:
        assert (await gateway.json("GET", "/v1/users/u/recommendations"))[0] == 200
        return gateway.backend.streamed

    await eventually(streamed)
    gateway.backend.answers["Recommend"] = hang
    gateway.backend.requests.clear()
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /v1/users/u/recommendations HTTP/1.1\r\nHost: h\r\n\r\n")
    await eventually(lambda: gateway.backend.requests)
    writer.close()
    await eventually(lambda: gateway.backend.cancelled == ["Recommend"], timeout=3)


async def test_a_client_that_leaves_takes_its_call_along(gateway: Gateway) -> None:
    gateway.backend.answers["TrainModel"] = hang
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"POST /v1/models:train HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
    await eventually(lambda: gateway.backend.requests)
    writer.close()
    await eventually(lambda: gateway.backend.cancelled == ["TrainModel"], timeout=3)


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 1000000\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nffffff\r\n"],
    ids=["length", "chunked"],
)
@pytest.mark.parametrize("abort", [True, False], ids=["reset", "closed"])
async def test_a_body_cut_short_is_no_complete_import(gateway: Gateway, head: bytes, abort: bool) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(
        b"POST /v1/products:import?mode=FULL HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-ndjson\r\n"
        + head
        + PRODUCT * 1000
    )
    await eventually(lambda: gateway.backend.requests)
    if abort:
        writer.transport.abort()
    else:
        writer.close()
    await eventually(lambda: gateway.backend.cancelled == ["ImportProducts"], timeout=3)
    assert gateway.backend.completed == []


async def test_a_body_that_crawls_is_given_up(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "BODY_SECONDS", 0.2)
    answer = await gateway.raw(
        b"POST /v1/events:write HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
    )
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b'"reason":"BODY_TOO_SLOW"' in answer


@pytest.mark.parametrize("sent", [b"", b"G", b"GET /livez HTTP/1.1\r\nHost: h\r\n", b"\r\n"])
@pytest.mark.parametrize("requests", [0, 2], ids=["first", "later"])
async def test_a_head_that_does_not_come_closes_the_connection(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, requests: int, sent: bytes
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    for _ in range(requests):
        writer.write(b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n")
        assert b"200 OK" in await reader.readuntil(b"live\n")
    if requests and not sent:  # a connection that waits for its next request is a good one
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(), 1)
    else:
        writer.write(sent)
        assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def test_only_heads_are_hurried(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield PRODUCT
            await asyncio.sleep(0.1)  # the body takes longer than a head may

    for _ in range(2):
        status, answer = await gateway.json("POST", "/v1/products:import", data=slow(), headers=NDJSON)
        assert (status, answer["created"]) == (200, 10)


async def test_an_import_that_stands_still_is_given_up(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "BODY_IDLE_SECONDS", 0.2)
    answer = await gateway.raw(
        b"POST /v1/products:import?mode=FULL HTTP/1.1\r\nHost: h\r\nContent-Type: application/x-ndjson\r\n"
        b"Content-Length: 99999\r\n\r\n" + PRODUCT * 1000
    )
    assert answer.startswith(b"HTTP/1.1 408 ")
    await eventually(lambda: gateway.backend.cancelled == ["ImportProducts"])
    assert gateway.backend.completed == []


async def test_a_service_that_does_not_take_an_import_is_504(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "SERVICE_IDLE_SECONDS", 0.3)
    gateway.backend.answers["ImportProducts"] = hang
    status, problem = await gateway.json("POST", "/v1/products:import", data=PRODUCT, headers=NDJSON)
    assert (status, problem["code"]) == (504, "DEADLINE_EXCEEDED")


async def test_a_refusal_in_the_middle_of_an_import_arrives(gateway: Gateway) -> None:
    async def refuse() -> None:
        raise unavailable("STORE_DOWN", "the event log cannot be written")

    gateway.backend.on_request = refuse
    answer = gateway.http.post(gateway.url + "/v1/products:import", data=endless(), headers=NDJSON)
    assert await status_and_reason(answer) == (503, "STORE_DOWN")


async def test_a_service_that_dies_in_the_middle_of_an_import_is_503() -> None:
    backend = Backend(answers())
    async with AsyncExitStack() as service, running_backend(backend, FEATURES) as features:
        recommender = await service.enter_async_context(running_backend(backend, RECOMMENDER))
        async with running_gateway(backend, features, recommender) as gateway:
            answer = gateway.http.post(gateway.url + "/v1/products:import", data=endless(), headers=NDJSON)
            uploading = asyncio.create_task(status_and_reason(answer))
            await eventually(lambda: backend.requests)
            await service.aclose()
            assert (await asyncio.wait_for(uploading, 10))[0] == 503


async def test_a_service_that_stands_still_stops_the_sender(gateway: Gateway) -> None:
    """What has not been taken is not read: memory does not grow with the body."""
    held = asyncio.Event()
    sent = 0

    async def large_lines() -> AsyncIterator[bytes]:
        nonlocal sent
        line = b'{"id": "p", "title": "t", "description": "' + b"x" * 60_000 + b'"}\n'
        while True:
            sent += len(line)
            yield line

    async def stopped() -> bool:
        before = sent
        await asyncio.sleep(1)  # what is waited for is that nothing happens for so long
        return sent == before

    async def hold() -> None:
        await held.wait()

    gateway.backend.on_request = hold
    answer = gateway.http.post(gateway.url + "/v1/products:import", data=large_lines(), headers=NDJSON)
    uploading = asyncio.create_task(status_and_reason(answer))
    await eventually(lambda: gateway.backend.requests)
    await eventually(stopped, timeout=60)
    # A chunk in each hand, and the windows of two connections; measured 16 to 46 MB.
    assert sent < 128 * 1024 * 1024
    # A sender that leaves meanwhile is noticed where the reading goes on, and the import is not a whole one.
    uploading.cancel()
    held.set()
    await eventually(lambda: gateway.backend.cancelled == ["ImportProducts"], timeout=30)
    assert gateway.backend.completed == []


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield PRODUCT * 1000
        await asyncio.sleep(0.01)  # a sender with an end to its speed


async def status_and_reason(request: Any) -> tuple[int, str]:
    async with request as answer:
        return answer.status, (await answer.json(content_type=None))["reason"]
