"""The catalogue's changes: read in pages by anyone, announced to all followers over one LISTEN connection."""

from __future__ import annotations

import asyncio
import contextlib

import asyncpg

from services.recommender.domain.change import ProductChange
from services.recommender.stores.postgres import Database
from services.runtime.errors import ServiceError, unavailable
from services.runtime.logs import get_logger

log = get_logger(__name__)

# One snapshot sees both tables; writers commit in the order of change_seq (see the migration), so nothing below
# the last row of a page can appear later.
_CHANGES = """
SELECT * FROM (
    (SELECT change_seq, id AS product_id, false AS deleted, top_category, price, available_quantity,
            low_stock_threshold, rating_average, rating_count, brand
     FROM products WHERE change_seq > $1 ORDER BY change_seq LIMIT $2)
    UNION ALL
    (SELECT change_seq, id, true, '', NULL, 0, 0, NULL, 0, ''
     FROM deleted_products WHERE change_seq > $1 ORDER BY change_seq LIMIT $2)
) AS c ORDER BY change_seq LIMIT $2
"""

# Of committed rows, not of the sequence: that one runs ahead of the commits.
_HEAD = """
SELECT greatest((SELECT max(change_seq) FROM products), (SELECT max(change_seq) FROM deleted_products), 0)
"""

# A notification that is lost (a proxy that does not pass them on, for example) delays followers by this at most.
POLL_SECONDS = 1.0
RECONNECT_SECONDS = 0.5
# Longer than any answer of a living server; shorter than a follower's patience of 10 s.
HEAD_SECONDS = 3.0


class PostgresChangeLog:
    """The :class:`~services.recommender.ports.ChangeLog`; ``run`` must be running for ``wait_past``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._head = 0
        self._moved = asyncio.Event()
        # Why waiting is no use at the moment.
        self._failure: ServiceError | None = None

    async def position(self) -> tuple[str, int]:
        """The name of this catalogue and its newest ``change_seq``."""
        async with self._database.connection() as connection:
            row = await connection.fetchrow(f"SELECT epoch, ({_HEAD}) AS head FROM catalogue_epoch")  # noqa: S608
        return row["epoch"].hex, row["head"]

    async def changes(self, after: int, limit: int) -> list[ProductChange]:
        """Up to ``limit`` changes with a ``change_seq`` above ``after``, ascending; no later commit is below them."""
        async with self._database.connection() as connection:
            return [ProductChange(*row) for row in await connection.fetch(_CHANGES, after, limit)]

    async def wait_past(self, change_seq: int, seconds: float) -> bool:
        """Returns True as soon as there is a newer change than ``change_seq``, False after ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                while self._head <= change_seq:
                    if self._failure is not None:
                        raise unavailable(self._failure.reason, self._failure.message)
                    await self._moved.wait()
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Follows the head for as long as the process lives; at its end every follower is let go."""
        try:
            while True:
                try:
                    await self._listen()
                except ServiceError as error:
                    self._fail(error)
                await asyncio.sleep(RECONNECT_SECONDS)
        finally:
            self._fail(unavailable("DRAINING", "this server is stopping; continue at another one"))

    async def _listen(self) -> None:
        connection = await self._database.dedicated()
        try:
            with self._database.errors():
                await self._follow_head(connection)
        finally:
            with contextlib.suppress(Exception):  # it may be the reason why we are here
                await connection.close(timeout=1)

    async def _follow_head(self, connection: asyncpg.Connection) -> None:
        woken = asyncio.Event()
        connection.add_termination_listener(lambda _: woken.set())
        await connection.add_listener("catalogue_changed", lambda *_: woken.set())
        while True:
            woken.clear()
            head = await connection.fetchval(_HEAD, timeout=HEAD_SECONDS)
            self._failure = None
            if head != self._head:
                self._head = head
                self._wake()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await woken.wait()

    def _fail(self, error: ServiceError) -> None:
        self._failure = error
        self._wake()

    def _wake(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()
