"""The Redis client and its failures; the one importer of its driver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from services.features.ports import ONLINE_STORE, StoreDownError
from services.features.stores.breaker import Breaker

T = TypeVar("T")

_MOMENT = 0.005
_OUTAGE = (RedisError, OSError, TimeoutError)


class RedisStore:
    """One Redis server. No answer in time is a StoreDownError, raised at once while the server is known to be down."""

    def __init__(self, client: Redis, breaker: Breaker, timeout: float) -> None:
        self.client = client
        self._breaker = breaker
        self._timeout = timeout

    async def run(self, call: Callable[[], Awaitable[T]], extra: float = 0.0) -> T:
        """The result of ``call()`` within the store's own time, or ``extra`` seconds more for a large one."""
        self._breaker.check()
        try:
            result = await _within(self._timeout + extra, call)
        except ResponseError as error:
            if not _temporary(error):
                raise  # a wrong command: a bug
            self._breaker.failed(str(error)[:40])
            raise StoreDownError(ONLINE_STORE, type(error).__name__) from error
        except _OUTAGE as error:
            self._breaker.failed(type(error).__name__)
            raise StoreDownError(ONLINE_STORE, type(error).__name__) from error
        self._breaker.succeeded()
        return result

    async def execute(self, *command: Any, extra: float = 0.0) -> Any:
        """One command's answer, raw: bytes, numbers, lists of them."""
        return await self.run(lambda: self._client_call(*command), extra)

    def _client_call(self, *command: Any) -> Awaitable[Any]:
        call: Awaitable[Any] = self.client.execute_command(*command)  # type: ignore[no-untyped-call]  # redis publishes no types for it
        return call

    async def ping(self) -> bool:
        """Whether it answers, past the breaker."""
        try:
            await _within(self._timeout, lambda: self._client_call("PING"))
        except _OUTAGE:
            return False
        return True

    def script(self, source: str) -> Callable[..., Awaitable[Any]]:
        """A Lua script as a function of ``keys`` and ``args``; sent once to each server, by hash afterwards."""
        return self.client.register_script(source)


async def _within(seconds: float, call: Callable[[], Awaitable[T]]) -> T:
    """The result of ``call()``; TimeoutError when it takes longer.

    When time is up the loop gets a moment more to read what has arrived: after a busy spell of our own the timer fires
    before the socket is looked at, and a store that answered in time would be taken for slow.
    """
    task = asyncio.ensure_future(call())
    try:
        await asyncio.wait((task,), timeout=seconds)
        if not task.done():
            await asyncio.wait((task,), timeout=_MOMENT)
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        task.cancel()


def _temporary(error: ResponseError) -> bool:
    """Whether a refusal passes: loading its data, out of memory, a replica after a failover."""
    return str(error).startswith(
        ("LOADING", "BUSY", "OOM", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "MISCONF", "TRYAGAIN")
    )


@asynccontextmanager
async def connect(url: str, connections: int, timeout: float) -> AsyncIterator[RedisStore]:
    """A client of up to ``connections``, none opened before it is needed. ``timeout``: seconds for each call."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=timeout,  # waiting for a free connection
        socket_timeout=5.0,  # the timeout of each call is what counts: see run
        socket_connect_timeout=max(timeout, 0.25),
        # A retry of a hung server costs the same time again; the answer comes from the log meanwhile.
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    client = Redis(connection_pool=pool)
    breaker = Breaker(ONLINE_STORE)
    store = RedisStore(client, breaker, timeout)
    try:
        async with breaker.probing(store.ping):
            yield store
    finally:
        await client.aclose()
        await pool.disconnect()
