"""HTTP/1.1 with as little Python as a request can have: a driver that shares the cores must not be what is measured.

One request at a time on a connection; answers must have a Content-Length.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self, cast

PATIENCE = 10.0
"""Seconds that an answer may take."""

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class WireError(Exception):
    """The connection ended, or its bytes are no answer that we understand."""


def request(method: str, path: str, body: bytes = b"") -> bytes:
    """The bytes of a request."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


class Connection(asyncio.Protocol):
    """A kept-alive connection. Make it with `open_connection`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    async def ask(self, raw: bytes) -> tuple[int, bytes]:
        """Status and body. Raises WireError; the connection is of no use then."""
        if self._transport is None or self.closed:
            raise WireError("connection closed")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(raw)
        return await self._answer

    @property
    def closed(self) -> bool:
        """Whether either end has left."""
        return self._transport is None or self._transport.is_closing()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods alone

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        length = _LENGTH.search(self._buffer, 0, end)
        if length is None:
            self._fail("no Content-Length")
            return
        total = end + 4 + int(length[1])
        if len(self._buffer) < total:
            return
        status, body = int(self._buffer[9:12]), self._buffer[end + 4 : total]
        self._buffer = self._buffer[total:]
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((status, body))

    def connection_lost(self, _: Exception | None) -> None:
        self._fail("connection closed")

    def _fail(self, why: str) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(WireError(why))
        self.close()


async def open_connection(port: int) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(Connection, "127.0.0.1", port)
    return connection


class Pool:
    """Connections to one port. Beyond those that are free new ones are opened, and kept: nobody waits for the answers
    of others.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._free: list[Connection] = []

    @classmethod
    @asynccontextmanager
    async def opened(cls, port: int, count: int) -> AsyncIterator[Self]:
        """With `count` connections that are open already; none is left at the end."""
        pool = cls(port)
        try:
            for _ in range(count):
                pool._free.append(await open_connection(port))
            yield pool
        finally:
            for connection in pool._free:
                connection.close()

    async def ask(self, raw: bytes) -> tuple[int, bytes]:
        """Status and body. Raises WireError, also when no answer comes."""
        # A server may close a connection on which nothing was asked for some seconds.
        while self._free and self._free[-1].closed:
            self._free.pop()
        try:
            connection = self._free.pop() if self._free else await open_connection(self._port)
        except OSError as error:
            raise WireError(f"no connection: {error.strerror}") from error
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await connection.ask(raw)
        except (WireError, TimeoutError) as error:
            connection.close()
            raise WireError(str(error) or "timeout") from error
        self._free.append(connection)
        return answer
