"""When requests start, and over which connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from time import perf_counter, sleep

import pytest

from bench import wire
from bench.loops import closed, paced
from bench.wire import Pool, WireError, request
from tests.support.waiting import eventually

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


async def test_a_stall_counts_for_every_request_that_it_delays() -> None:
    late: list[float] = []

    async def ask(number: int, start: float) -> None:
        if number == 0:
            sleep(0.3)  # noqa: ASYNC251 - nobody in this process goes on meanwhile
        late.append(perf_counter() - start)

    took = await paced(100.0, 20, ask)
    assert took >= 0.3
    assert len(late) == 20
    assert min(late) > 0.05  # the last was due 190 ms after the first


async def test_requests_do_not_wait_for_the_answers_of_others() -> None:
    everyone = asyncio.Event()
    asked: list[int] = []

    async def ask(number: int, start: float) -> None:
        asked.append(number)
        if number == 9:
            everyone.set()
        await everyone.wait()

    async with asyncio.timeout(10):
        await paced(1_000.0, 10, ask)
    assert asked == list(range(10))


async def test_nothing_starts_much_before_it_is_due_nor_looks_faster_than_it_was() -> None:
    started: list[tuple[float, float]] = []

    async def ask(number: int, start: float) -> None:
        started.append((start, perf_counter()))

    begin = perf_counter()
    await paced(100.0, 10, ask)
    for number, (start, now) in enumerate(started):
        assert start <= now
        assert now >= begin + number / 100 - 0.002


async def test_a_closed_loop_has_as_many_requests_open_as_askers_and_goes_on() -> None:
    now = most = count = 0

    async def ask(start: float) -> None:
        nonlocal now, most, count
        now, count = now + 1, count + 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    assert await closed(3, 0.05, ask) >= 0.05
    assert most == 3
    assert count > 3


@asynccontextmanager
async def server(opened: list[int], let_go: asyncio.Event) -> AsyncIterator[int]:
    """Answers when it is let go."""

    serving = set[asyncio.Task[None] | None]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(1)
        serving.add(asyncio.current_task())
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await let_go.wait()
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as running:
        yield running.sockets[0].getsockname()[1]
        let_go.set()
        await asyncio.gather(*(task for task in serving if task))


async def test_beyond_a_pools_connections_new_ones_are_opened_and_kept() -> None:
    opened, let_go = list[int](), asyncio.Event()
    async with server(opened, let_go) as port, Pool.opened(port, 2) as pool:
        asked = [asyncio.create_task(pool.ask(request("GET", "/"))) for _ in range(3)]
        await eventually(lambda: len(opened) == 3)
        let_go.set()
        async with asyncio.timeout(10):
            assert [await one for one in asked] == [(200, b"ok")] * 3
            for _ in range(3):
                await pool.ask(request("GET", "/"))
        assert len(opened) == 3


async def test_an_answer_that_does_not_come_and_a_port_of_nobody_are_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "PATIENCE", 0.05)
    async with server([], asyncio.Event()) as port, Pool.opened(port, 1) as pool:
        with pytest.raises(WireError, match="timeout"):
            await pool.ask(request("GET", "/"))
    with pytest.raises(WireError, match="no connection"):
        await pool.ask(request("GET", "/"))


async def test_a_connection_that_the_server_closed_meanwhile_is_replaced() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(ANSWER)
        writer.close()

    async with (
        asyncio.timeout(10),
        await asyncio.start_server(serve, "127.0.0.1", 0) as running,
        Pool.opened(running.sockets[0].getsockname()[1], 1) as pool,
    ):
        for _ in range(3):
            assert await pool.ask(request("GET", "/")) == (200, b"ok")
            (connection,) = pool._free
            await eventually(lambda: connection.closed)  # noqa: B023 - awaited before the next turn
