"""The connection pool that all stores share: bounded waits, and every failure of the server as one designed error."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeAlias

import asyncpg
from pgvector.asyncpg import register_vector

from services.runtime.errors import unavailable
from services.runtime.lending import MOST_STATEMENTS, Lender
from services.runtime.lifecycle import cancellation_first
from services.runtime.logs import get_logger
from services.runtime.metrics import DEPENDENCY_UP

log = get_logger(__name__)

# A pooled or a dedicated connection; asyncpg publishes no types.
Connection: TypeAlias = Any

# A healthy local server accepts within milliseconds; a dead one must not hold a request for longer.
CONNECT_SECONDS = 2.0
ACQUIRE_SECONDS = 2.0
# The longest statement of a request is the upsert of 1,000 products, well below a second; past this the server hangs.
STATEMENT_SECONDS = 5.0

_CLOSE_SECONDS = 2.0

# A plan is kept where the server finds that parameters do not matter: planning the last check of a page took twice as
# long as running it. But not for long: one that was made for an empty table must not outlive an import.
PLAN_SECONDS = 60

_SERVER_SETTINGS = {
    "application_name": "windowshop-recommender",
    # Compilation costs more than any of these short statements.
    "jit": "off",
    # A writer that stands still must not hold the catalogue's lock for the others.
    "lock_timeout": "3s",
    "idle_in_transaction_session_timeout": "15s",
    # A filtered vector search goes on until it has enough rows, instead of filtering its first few away.
    "hnsw.iterative_scan": "relaxed_order",
    # Neighbours looked at in one go: more than most searches ask for, 1 ms in 100,000 products.
    "hnsw.ef_search": "80",
}

# What a server that is away, starting, stopping, full or stuck looks like.
_SERVER_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    # A connection that was lost while a call on it was being cancelled.
    asyncpg.InternalClientError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.LockNotAvailableError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.DeadlockDetectedError,
    asyncpg.QueryCanceledError,
    asyncpg.DiskFullError,
    asyncpg.OutOfMemoryError,
    asyncpg.ReadOnlySQLTransactionError,
)


_UP = DEPENDENCY_UP.labels("postgres")


class Database:
    """Connections with the vector types registered; every caller shares one instance."""

    def __init__(self, pool: asyncpg.Pool, dsn: str) -> None:
        self._lender = Lender(pool, ACQUIRE_SECONDS, _is_fit)
        self._dsn = dsn
        self._away = False
        # What the metric says.
        self._up = False

    @classmethod
    async def connect(cls, dsn: str, pool_size: int) -> Database:
        """A pool on a migrated database."""
        pool = await asyncpg.create_pool(
            dsn,
            min_size=2,
            max_size=pool_size,
            timeout=CONNECT_SECONDS,
            command_timeout=STATEMENT_SECONDS,
            max_cached_statement_lifetime=PLAN_SECONDS,
            max_queries=MOST_STATEMENTS,
            server_settings=_SERVER_SETTINGS,
            init=register_vector,
            reset=_keep_session,
        )
        return cls(pool, dsn)

    async def close(self) -> None:
        """Waits briefly for borrowed connections, then closes all of them."""
        await self._lender.close(_CLOSE_SECONDS)

    @contextlib.asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for statements that each commit by themselves; raises UNAVAILABLE when the server is away."""
        with self.errors():
            connection = await self._lender.borrow()
            try:
                yield connection
            except BaseException:
                await self._lender.give_back(connection, failed=True)
                raise
            await self._lender.give_back(connection)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A connection inside one transaction."""
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def dedicated(self) -> asyncpg.Connection:
        """A connection outside the pool, for LISTEN; the caller closes it. Raises UNAVAILABLE."""
        with self.errors():
            return await asyncpg.connect(
                self._dsn,
                timeout=CONNECT_SECONDS,
                command_timeout=STATEMENT_SECONDS,
                server_settings=_SERVER_SETTINGS,
            )

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turns "the server is away" in all its forms into one UNAVAILABLE and leaves bugs as they are.

        Logs when the server goes and when it is back, not what every request meets in between.
        """
        try:
            yield
        except asyncpg.DataError:  # an InterfaceError by birth, but it is the arguments that are wrong
            raise
        except _SERVER_AWAY as error:
            cancellation_first(error)
            _UP.set(0)
            self._up = False
            if not self._away:
                log.warning("database away", kind=type(error).__name__, error=str(error))
            self._away = True
            raise unavailable("DATABASE_UNAVAILABLE", "the catalogue's database does not answer") from error
        if not self._up:
            _UP.set(1)
            self._up = True
        if self._away:
            log.info("database back")
        self._away = False


async def _keep_session(_: Connection) -> None:
    """Nothing here changes a session (``SET LOCAL`` ends with its transaction); the driver's own reset is a statement
    after each borrowing, which doubles the number of round trips."""


def _is_fit(connection: Connection) -> bool:
    try:
        return not connection.is_closed() and not connection.is_in_transaction()
    except asyncpg.InterfaceError:  # it broke, and the pool has taken it back
        return False


async def wait_until_reachable(dsn: str, patience_seconds: float) -> None:
    """Returns once the server accepts; raises RuntimeError, without the password, after ``patience_seconds``."""
    last = "no answer"
    try:
        async with asyncio.timeout(patience_seconds):
            while True:
                try:
                    connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
                except (*_SERVER_AWAY, asyncpg.PostgresError) as error:
                    last = f"{type(error).__name__}: {error}"
                    log.warning("waiting for the database", error=last)
                    await asyncio.sleep(0.5)
                else:
                    await connection.close()
                    return
    except TimeoutError:
        raise RuntimeError(f"the database did not answer within {patience_seconds:g} s ({last})") from None
