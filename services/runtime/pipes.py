"""A way beside gRPC for the messages of a stream that stays open, where both of its ends are on one machine.

gRPC hands a message from thread to thread, several times at each end: five times the cost of a socket that the event
loop reads by itself. So a server names, in the initial metadata of a stream, a socket of the machine and a key of that
stream. A client that reaches the socket sends its messages there, and their answers come there. The stream itself stays
and says all the rest: which server, for how long, that it leaves, that it is gone. A client elsewhere does not reach
the socket, and its messages go over the stream.

The socket has a name but no file (Linux's abstract ones): it is seen by processes of one network namespace only, as a
port of 127.0.0.1 is.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
import socket
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import cast

from services.runtime.logs import get_logger

log = get_logger(__name__)

# Bytes of a message, at most; as gRPC's of ours.
_LONGEST = 32 * 1024 * 1024
_HEAD = 4
# Seconds for the first message, which is the key.
_PATIENCE = 2.0
_METADATA = "x-pipe"
# Whether the system has such sockets.
_THERE = sys.platform == "linux"

# Takes a message, or says that there is no room for one.
Take = Callable[[bytes], bool]


def _unheard(*_: bytes) -> None:
    """Of an end that is gone."""


class Pipe(asyncio.Protocol):
    """One end: whole messages both ways."""

    def __init__(self, heard: Callable[[bytes], object], lost: Callable[[], object]) -> None:
        """``heard`` is called with each message, ``lost`` once, when the other end has gone."""
        self._heard = heard
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        # What came of messages that are not complete, and how many bytes there must be to look again.
        self._parts: list[bytes] = []
        self._missing = _HEAD
        # Whether the other end does not fetch what is sent.
        self.full = False
        self.gone = asyncio.Event()

    def send(self, message: bytes) -> None:
        """To an end that has gone: nowhere."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(len(message).to_bytes(_HEAD, "big") + message)

    def close(self) -> None:
        """When what was sent is written."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """At once: whatever is not written is nobody's any more."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self._parts.append(data)
        self._missing -= len(data)
        if self._missing > 0:
            return
        data = data if len(self._parts) == 1 else b"".join(self._parts)
        at, there = 0, len(data)
        while True:
            end = at + _HEAD
            if end <= there:
                end += int.from_bytes(data[at:end], "big")
            if end > there:
                break
            try:
                self._heard(data[at + _HEAD : end])
            except Exception as error:
                self._fail(error)
                return
            at = end
        self._parts, self._missing = [data[at:]] if at < there else [], end - there
        if end - at > _HEAD + _LONGEST:
            self._fail(ValueError("too long a message"))

    def _fail(self, error: Exception) -> None:
        """What came is not what the other end sends."""
        log.error("pipe failed", exc_info=error)
        self.abort()

    def pause_writing(self) -> None:
        """See asyncio.Protocol."""
        self.full = True

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        self.full = False

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.gone.set()
        lost = self._lost
        # What is called may be this end's own, and its transport holds it: only a collection would let go of them.
        self._transport, self._heard, self._lost = None, _unheard, _unheard
        lost()


class Intake(Pipe):
    """The server's end: messages wait while there is no room for them, and then the client does."""

    def __init__(self, welcome: Callable[[Intake, bytes], Take | None]) -> None:
        """``welcome``: by the key, what takes the messages."""
        super().__init__(self._hear, self._end)
        self._welcome = welcome
        self._take: Take | None = None
        self._waiting: deque[bytes] = deque()
        self._waiting_for_key: asyncio.TimerHandle | None = asyncio.get_running_loop().call_later(_PATIENCE, self.close)

    def _hear(self, message: bytes) -> None:
        if self._take is None:
            self._waits_no_more()
            self._take = self._welcome(self, message)
            if self._take is None:
                self.close()
        elif self.full or self._waiting or not self._taken(message):
            # Who does not fetch answers gets no more.
            self._wait(message)

    def _taken(self, message: bytes) -> bool:
        try:
            return self._take is not None and self._take(message)
        except Exception as error:
            self._fail(error)
            return True

    def _wait(self, message: bytes) -> None:
        if not self._waiting and self._transport is not None:
            self._transport.pause_reading()
        self._waiting.append(message)

    def go_on(self) -> None:
        """There may be room again."""
        if not self._waiting or self.full:
            return
        while self._waiting and self._taken(self._waiting[0]):
            self._waiting.popleft()
        if not self._waiting and self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def resume_writing(self) -> None:
        """See asyncio.Protocol."""
        super().resume_writing()
        self.go_on()

    def _waits_no_more(self) -> None:
        if self._waiting_for_key is not None:
            self._waiting_for_key.cancel()
            self._waiting_for_key = None

    def _end(self) -> None:
        self._waits_no_more()
        self._waiting.clear()
        self._take = None


class Listener:
    """A server's socket of the machine, and the keys of its streams."""

    def __init__(self) -> None:
        self._name = secrets.token_hex(16)
        self._server: asyncio.Server | None = None
        self._expected: dict[str, Callable[[Intake], Take]] = {}

    async def start(self) -> None:
        """Nothing happens where there are no such sockets."""
        if not _THERE:
            return
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(_address(self._name))
        self._server = await asyncio.get_running_loop().create_unix_server(
            lambda: Intake(self._reached), sock=listening
        )

    def stop(self) -> None:
        """Takes no new ones; those there are belong to their streams."""
        if self._server is not None:
            self._server.close()
            self._server = None

    @contextlib.contextmanager
    def offered(self, reached: Callable[[Intake], Take]) -> Iterator[tuple[tuple[str, str], ...]]:
        """The metadata by which the client of a stream finds here, once; ``reached`` when it does."""
        if self._server is None:
            yield ()
            return
        key = secrets.token_hex(16)
        self._expected[key] = reached
        try:
            yield ((_METADATA, f"{self._name} {key}"),)
        finally:
            self._expected.pop(key, None)

    def _reached(self, pipe: Intake, given: bytes) -> Take | None:
        for key in self._expected:
            if hmac.compare_digest(key.encode(), given):
                return self._expected.pop(key)(pipe)
        return None


async def reach(
    metadata: Iterable[tuple[str, str | bytes]] | None, heard: Callable[[bytes], object], lost: Callable[[], object]
) -> Pipe | None:
    """The way that a stream's initial metadata names; None: there is none, or not from here."""
    offer = next((value for name, value in metadata or () if name == _METADATA), None)
    if not isinstance(offer, str):
        return None
    name, _, key = offer.partition(" ")
    loop = asyncio.get_running_loop()
    connecting = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connecting.setblocking(False)
    try:
        await loop.sock_connect(connecting, _address(name))
        _, pipe = await loop.create_unix_connection(lambda: Pipe(heard, lost), sock=connecting)
    except BaseException as error:
        connecting.close()
        if isinstance(error, OSError):
            return None
        raise
    pipe.send(key.encode())
    return pipe


def _address(name: str) -> str:
    return f"\0windowshop-{name}"
