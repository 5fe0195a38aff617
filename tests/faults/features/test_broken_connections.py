"""Connections to Redis break at every place: that is an outage by name, and the next call is served.

All calls share one: what comes too late for one of them is never taken for another's answer.

On both event loops: uvloop, which runs the service, says it in another way than asyncio.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop

from services.features.domain.features import NO_TOKEN, Entry
from services.features.ports import ONLINE_STORE, StoreDownError
from services.features.stores import redis_cluster
from services.features.stores.breaker import Breaker
from services.features.stores.online import RedisOnlineStore
from services.features.stores.redis import RedisServer, RedisStore, command
from services.features.stores.redis_link import Link
from tests.support.proxy import Proxy, running_proxy
from tests.support.stack import ValkeyServer
from tests.support.waiting import eventually

LOOPS: list[Callable[[Coroutine[Any, Any, None]], None]] = [asyncio.run, uvloop.run]
IDS = [f"u{n}" for n in range(5)]
# More than the answers of one call have.
_LONGEST = 120


@asynccontextmanager
async def store_behind_proxy(port: int, timeout: float = 5.0) -> AsyncIterator[tuple[Proxy, RedisStore]]:
    """A store whose connection the proxy can break."""
    async with (
        running_proxy(port) as proxy,
        redis_cluster.connect(f"redis://127.0.0.1:{proxy.port}/0", timeout) as store,
    ):
        yield proxy, store


async def works(store: RedisStore) -> bool:
    try:
        await store.execute("PING")
    except StoreDownError:
        return False
    return True


def noticed(store: Any) -> bool:
    """Whether the loop knows that the connection broke."""
    return not store._server.connected


async def reset_while_idle(port: int) -> None:
    async with store_behind_proxy(port) as (proxy, store):
        for _ in range(10):
            await eventually(lambda: works(store))
            proxy.cut()
            await eventually(lambda: noticed(store))
            # Twice in a row is a store that is down: its probe must survive it too.
            for _ in range(2):
                await works(store)
        await eventually(lambda: works(store))


async def cut_within_answers(port: int) -> None:
    async with store_behind_proxy(port) as (proxy, store):
        online = RedisOnlineStore(store, frozenset({"User"}))
        begun = dict(zip(IDS, await online.begin("User", IDS), strict=True))
        record = {i: (begun[i], {7: Entry(1, NO_TOKEN, "x" * 10)}) for i in IDS}
        broken = 0
        for count in range(_LONGEST):
            await eventually(lambda: works(store))
            proxy.cut_after(count)
            for call in (
                online.mark({"User": dict.fromkeys(IDS, ())}, 1, [1]),
                online.read("User", IDS),
                online.write("User", 60_000, record),
            ):
                try:
                    await call
                except StoreDownError:
                    broken += 1
        assert broken >= _LONGEST / 2


async def echoed(store: RedisStore, word: str) -> str:
    answer: bytes = await store.execute("ECHO", word)
    return answer.decode()


async def answered_late(port: int) -> None:
    async with store_behind_proxy(port, 0.5) as (proxy, store):
        for turn in range(2):
            words = [f"{turn}-{n}" for n in range(20)]
            assert await asyncio.gather(*(echoed(store, word) for word in words)) == words
            proxy.stall()
            waiting = [asyncio.create_task(echoed(store, f"late-{n}")) for n in range(20)]
            patient = asyncio.create_task(store.pipeline([command("ECHO", "patient")], 30.0))
            await asyncio.sleep(0)
            waiting[0].cancel()
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)
            assert {type(outcome) for outcome in outcomes} == {asyncio.CancelledError, StoreDownError}
            proxy.flow()
            assert await patient == [b"patient"]
            await eventually(lambda: works(store))


@pytest.mark.parametrize("scenario", [reset_while_idle, cut_within_answers, answered_late])
@pytest.mark.parametrize("run", LOOPS, ids=["asyncio", "uvloop"])
async def test_a_broken_connection_is_an_outage(
    valkey: ValkeyServer,
    run: Callable[[Coroutine[Any, Any, None]], None],
    scenario: Callable[[int], Coroutine[Any, Any, None]],
) -> None:
    await asyncio.to_thread(run, scenario(valkey.port))


async def test_what_opens_too_long_fails_in_silence() -> None:
    """A server behind a wall drops what is sent: each try ends when its callers are gone, three times a second."""
    gate, reported = asyncio.Event(), list[dict[str, Any]]()

    async def opened(seconds: float) -> Link:
        await gate.wait()
        raise TimeoutError

    gc.collect()  # what is left of other tests
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    server = RedisServer(opened, Breaker(ONLINE_STORE), 0.01)
    with pytest.raises(StoreDownError):
        await server.send([command("GET", "key")])
    gate.set()
    await eventually(lambda: server._opening is None)
    await asyncio.sleep(0)
    gc.collect()
    assert not reported
