"""A TCP proxy that a test can cut, also in the middle of an answer, or let hang."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator


class Proxy:
    """Passes bytes on to a port of this machine until it is told not to."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._pipes: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        # Bytes of answers that still come through; None: all.
        self._left: int | None = None
        self.port = 0

    def cut(self) -> None:
        """Resets every connection; new ones are served."""
        for writer in self._writers:
            _reset(writer)
        self._writers.clear()

    def cut_after(self, count: int) -> None:
        """Lets ``count`` more bytes of answers through, then cuts, once."""
        self._left = count

    def stall(self) -> None:
        """From now on nothing comes through; connections stay open, new ones are accepted."""
        self._flowing.clear()

    def flow(self) -> None:
        """Goes on after ``stall``: what was kept comes through."""
        self._flowing.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, up_writer}
        for pipe in (self._pipe(reader, up_writer, False), self._pipe(up_reader, writer, True)):
            task = asyncio.create_task(pipe)
            self._pipes.add(task)
            task.add_done_callback(self._pipes.discard)

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flowing.wait()
                if answers and self._left is not None:
                    data, self._left = data[: self._left], self._left - len(data)
                writer.write(data)
                await writer.drain()
                if answers and self._left is not None and self._left <= 0:
                    self._left = None
                    self.cut()
        writer.close()

    async def close(self) -> None:
        """Ends everything."""
        self.cut()
        pipes = list(self._pipes)
        for task in pipes:
            task.cancel()
        await asyncio.gather(*pipes, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    """As the system does for a process that is killed with something unread."""
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:  # not closed already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.asynccontextmanager
async def running_proxy(target: int) -> AsyncIterator[Proxy]:
    """A proxy on a free port in front of ``target``."""
    proxy = Proxy(target)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    async with server:
        try:
            yield proxy
        finally:
            await proxy.close()
