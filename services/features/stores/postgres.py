"""The PostgreSQL pool and its failures; the one importer of its driver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from services.features.ports import EVENT_LOG, StoreDownError
from services.features.stores.breaker import Breaker
from services.runtime.logs import get_logger

log = get_logger(__name__)

_CLOSE_SECONDS = 5.0

# Of a bug in a statement, of bad input: retrying will not help, and it is no outage.
_NOT_AN_OUTAGE = (
    asyncpg.exceptions.DataError,
    asyncpg.exceptions.SyntaxOrAccessError,
    asyncpg.exceptions.IntegrityConstraintViolationError,
)
# InternalClientError: how the driver reports the use of a connection that the server has just cut.
_OUTAGE = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.exceptions.InternalClientError,
    OSError,
    TimeoutError,
)

DeadlockError = asyncpg.exceptions.DeadlockDetectedError


class Database:
    """Connections to one database. Every failure to get an answer in time is a StoreDownError."""

    def __init__(self, pool: Any, breaker: Breaker) -> None:
        self._pool = pool
        self._breaker = breaker

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection for the block; DeadlockError passes, for its transaction may be tried again."""
        self._breaker.check()
        try:
            async with self._pool.acquire(timeout=2.0) as connection:
                yield connection
        except (*_NOT_AN_OUTAGE, DeadlockError):
            raise
        except _OUTAGE as error:
            self._breaker.failed(type(error).__name__)
            raise StoreDownError(EVENT_LOG, type(error).__name__) from error
        self._breaker.succeeded()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """A connection in a transaction that commits at the end of the block."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        """All rows of a statement."""
        async with self.connection() as connection:
            rows: list[Any] = await connection.fetch(query, *arguments)
            return rows

    async def wait(self, seconds: float) -> None:
        """Returns when the server answers; raises StoreDownError when it does not within ``seconds``."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        if not await self.ping():
            log.warning("waiting for the database", seconds=seconds)
            while not await self.ping():
                if loop.time() > deadline:
                    raise StoreDownError(EVENT_LOG, f"no answer within {seconds:g} seconds of starting")
                await asyncio.sleep(0.5)

    async def ping(self) -> bool:
        """Whether the server answers, past the breaker."""
        try:
            async with asyncio.timeout(1.0), self._pool.acquire() as connection:
                await connection.fetchval("SELECT 1")
        except _OUTAGE:
            return False
        return True


@asynccontextmanager
async def connect(dsn: str, size: int, command_timeout: float) -> AsyncIterator[Database]:
    """A pool of up to ``size`` connections. None is opened before it is needed: we may start before the database."""
    pool = asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=size,
        command_timeout=command_timeout,
        timeout=2.0,  # seconds to connect; a hung server must not hang us
        max_inactive_connection_lifetime=60.0,
        statement_cache_size=200,
        # Statements are a few milliseconds long: compiling them costs more than it saves.
        server_settings={
            "application_name": "windowshop-features",
            "timezone": "UTC",
            "jit": "off",
            # A plan that was kept from when a table was small reads all of it after an import. Planning anew: 0.3 ms.
            "plan_cache_mode": "force_custom_plan",
        },
    )
    await pool
    breaker = Breaker(EVENT_LOG)
    database = Database(pool, breaker)
    try:
        async with breaker.probing(database.ping):
            yield database
    finally:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await pool.close()
        except TimeoutError:  # a hung server
            pool.terminate()
