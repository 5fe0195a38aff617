"""The PostgreSQL pool and its failures; the one importer of its driver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg

from services.features.ports import EVENT_LOG, SlowStatementError, StoreDownError
from services.features.stores.breaker import Breaker
from services.runtime.coalescing import SingleFlight
from services.runtime.lending import MOST_STATEMENTS, Lender
from services.runtime.lifecycle import cancellation_first
from services.runtime.logs import get_logger

log = get_logger(__name__)

_CLOSE_SECONDS = 5.0
# Connections that plan anew: a worker keeps one for its lock on the catalogue's stream and now and then one for that on
# the log's days, and needs another for whatever else it does.
_FEWEST = 3
# Seconds: for a free connection, or to make one; a hung server must not hang us.
_CONNECT_SECONDS = 2.0
# Seconds for what a block leaves behind: a statement may have much longer, but who is stopped has no more than these.
_TIDY_SECONDS = 2.0
_PING_SECONDS = 1.0
# What only bursts need would be opened in a burst, of all moments: 10 to 30 ms with its first plans. Idle, it takes a
# few megabytes of the server, for as long as bursts may be apart.
_IDLE_SECONDS = 300.0
# The server gives a statement up before the client does: then it is the statement that is slow, not the server.
_SERVER_SHARE = 0.9

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

# A plan that was kept from when a table was small reads all of it after an import. Planning anew: 0.2 to 2 ms.
_PLANNED_ANEW = {"plan_cache_mode": "force_custom_plan"}
# For statements that find the few rows of given ids, which takes a tenth of planning it. The plan knows neither ids nor
# instants: between two of these lies, it supposes, half a percent of every month, and those lines are neighbours on
# disk. Only where reading a line costs far more than looking up an id are they looked up, in tables of any size; and by
# this process alone: to start others takes a hundred times as long.
_PLANNED = {
    "plan_cache_mode": "force_generic_plan",
    "cpu_tuple_cost": "10",
    "enable_seqscan": "off",
    "max_parallel_workers_per_gather": "0",
}
# For so long a plan is kept at most, should it have been a wrong one. The server itself plans anew when it has looked
# at a table. To plan takes 5 to 20 ms, which one of a hundred pages paid while this was a minute.
_PLAN_SECONDS = 300
# Statements that a connection keeps. The plan of a dozen features over years takes megabytes of the server, and callers
# make up which are asked together.
_STATEMENTS, _PLANS = 200, 100

DeadlockError = asyncpg.exceptions.DeadlockDetectedError
# The log holds no other check that a row could fail.
PartitionMissingError = asyncpg.exceptions.CheckViolationError
LockTimeoutError = asyncpg.exceptions.LockNotAvailableError
# A statement that the server does not accept.
StatementError = asyncpg.exceptions.SyntaxOrAccessError


class Database:
    """Connections to one database. Every failure to get an answer in time is a StoreDownError."""

    def __init__(self, dsn: str, lender: Lender, planned: Lender, breaker: Breaker) -> None:
        """``planned``: of connections that keep the plans of their statements."""
        self._dsn = dsn
        self._lender = lender
        self._planned = planned
        self._breaker = breaker
        self._pings: SingleFlight[bool] = SingleFlight()

    @asynccontextmanager
    async def connection(self, planned: bool = False) -> AsyncIterator[Any]:
        """A connection for the block, which must leave its session as it was; see ``session``.

        DeadlockError passes, for its transaction may be tried again.
        """
        self._breaker.check()
        lender = self._planned if planned else self._lender
        connection = await self._borrow(lender)
        failed = True
        try:
            try:
                yield connection
                failed = False
            except asyncpg.InterfaceError as error:
                if _is_lost(connection):
                    raise self._failed(error) from error
                raise  # the driver's refusal of a wrong call: a bug
            finally:
                await self._give_back(lender, connection, failed)
        except (*_NOT_AN_OUTAGE, DeadlockError):
            raise
        except asyncpg.exceptions.QueryCanceledError as error:
            raise _slow(error, "a statement took too long") from error
        except LockTimeoutError as error:
            raise _slow(error, "others hold a lock for too long") from error
        except asyncpg.InterfaceError:
            raise
        except _OUTAGE as error:
            raise self._failed(error) from error
        self._breaker.succeeded()

    async def _give_back(self, lender: Lender, connection: Any, failed: bool) -> None:
        """Its pool ends one that cannot be reset: cut amid a COPY, its driver takes it for busy."""
        try:
            await lender.give_back(connection, failed)
        except asyncpg.InterfaceError as error:
            raise self._failed(error) from error

    async def _borrow(self, lender: Lender) -> Any:
        try:
            return await lender.borrow()
        except TimeoutError as error:
            if await self._pings.run("", self.ping):  # all are in use, which is no outage
                raise StoreDownError(EVENT_LOG, "no free connection") from error
            raise self._failed(error) from error
        except _OUTAGE as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> StoreDownError:
        cancellation_first(error)
        self._breaker.failed(type(error).__name__)
        return StoreDownError(EVENT_LOG, type(error).__name__)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """A connection in a transaction that commits at the end of the block."""
        async with self.connection() as connection:
            transaction = connection.transaction()
            await transaction.start()
            try:
                yield connection
            except BaseException:
                await _tidy(connection, transaction.rollback())
                raise
            await transaction.commit()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Any]:
        """A connection for the block, which may set and lock for its whole session: in the end that is undone."""
        async with self.connection() as connection:
            try:
                yield connection
            finally:
                await _tidy(connection, connection.reset())

    @asynccontextmanager
    async def sole(self, lock: int) -> AsyncIterator[bool]:
        """Whether the caller is the only one to have a lock; it has it for the block, or until its connection ends."""
        async with self.session() as connection:
            yield await connection.fetchval("SELECT pg_try_advisory_lock($1)", lock)

    @asynccontextmanager
    async def patient(self) -> AsyncIterator[Any]:
        """A transaction whose statements take as long as their callers give them."""
        async with self.transaction() as connection:
            await connection.execute("SET LOCAL statement_timeout = 0")
            yield connection

    async def describe(self, statement: str) -> tuple[list[str], dict[str, str]]:
        """The types of a statement's parameters, and its columns with theirs; raises StatementError."""
        async with self.connection() as connection:
            prepared = await connection.prepare(statement)
            columns = {column.name: column.type.name for column in prepared.get_attributes()}
            return [kind.name for kind in prepared.get_parameters()], columns

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        """All rows of a statement."""
        async with self.connection() as connection:
            rows: list[Any] = await connection.fetch(query, *arguments)
            return rows

    async def fetch_planned(self, query: str, *arguments: Any) -> list[Any]:
        """The same, by the plan that was made when the connection saw the statement first: see ``_PLANNED``."""
        async with self.connection(planned=True) as connection:
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
        """Whether the server answers, past the breaker and the pool, which others may have used up."""
        try:
            async with asyncio.timeout(_PING_SECONDS):
                connection = await asyncpg.connect(self._dsn)
                try:
                    await connection.fetchval("SELECT 1")
                finally:
                    connection.terminate()
        except _OUTAGE:
            return False
        return True


async def _tidy(connection: Any, work: Awaitable[None]) -> None:
    """Of a server that hangs whoever leaves does not wait for more: what a connection has locked goes with it."""
    try:
        async with asyncio.timeout(_TIDY_SECONDS):
            await work
    except BaseException:
        with suppress(asyncpg.InterfaceError):  # it was cut, and the pool has taken it back
            connection.terminate()
        raise


def _slow(error: Exception, why: str) -> SlowStatementError:
    cancellation_first(error)
    return SlowStatementError(EVENT_LOG, why)


def _is_fit(connection: Any) -> bool:
    return not _is_lost(connection) and not connection.is_in_transaction()


def _is_lost(connection: Any) -> bool:
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:  # the pool took it back when it was cut
        return True


@asynccontextmanager
async def connect(dsn: str, size: int, command_timeout: float) -> AsyncIterator[Database]:
    """Pools of up to ``size`` connections in all, which four are at least: see ``_FEWEST``.

    None is opened before it is needed: we may start before the database.
    """
    keeping = max(1, min(size // 2, size - _FEWEST))
    lender = await _lender(dsn, max(_FEWEST, size - keeping), command_timeout, _STATEMENTS, _PLANNED_ANEW)
    planned = await _lender(dsn, keeping, command_timeout, _PLANS, _PLANNED)
    breaker = Breaker(EVENT_LOG)
    database = Database(dsn, lender, planned, breaker)
    try:
        async with breaker.probing(database.ping):
            yield database
    finally:
        await asyncio.gather(lender.close(_CLOSE_SECONDS), planned.close(_CLOSE_SECONDS))


async def _lender(dsn: str, size: int, command_timeout: float, statements: int, settings: Mapping[str, str]) -> Lender:
    pool = await asyncpg.create_pool(
        dsn,
        min_size=0,
        max_size=size,
        command_timeout=command_timeout,
        timeout=_CONNECT_SECONDS,
        max_inactive_connection_lifetime=_IDLE_SECONDS,
        statement_cache_size=statements,
        max_cached_statement_lifetime=_PLAN_SECONDS,
        max_queries=MOST_STATEMENTS,
        # The driver's own is four statements more for each: half of the cost of a small one. See Database.session.
        reset=_as_it_is,
        server_settings={
            "application_name": "windowshop-features",
            "timezone": "UTC",
            # A machine that is gone says no goodbye: after a minute its locks (one follows the catalogue) are free.
            "tcp_keepalives_idle": "30",
            "tcp_keepalives_interval": "10",
            "tcp_keepalives_count": "3",
            # Statements are a few milliseconds long: compiling them costs more than it saves.
            "jit": "off",
            "statement_timeout": str(int(command_timeout * _SERVER_SHARE * 1_000)),
            **settings,
        },
    )
    return Lender(pool, _CONNECT_SECONDS, _is_fit)


async def _as_it_is(connection: Any) -> None:
    """Nothing is to be reset: whoever changes a session sees to it. The driver ends a transaction that was left."""
