"""Connections below every middleware: bytes that are no HTTP, such as a raw é in a path, heads that do not come, plain
requests that are answered without aiohttp.

aiohttp answers the former in plain text that repeats the bytes, and logs each with a stack; for heads it waits an hour.
It has no setting for either. The underscored names used here are why its version is pinned to one minor.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import uuid
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError

from gateway import edge, problems
from gateway.fast_way import Asked, FastWay
from services.runtime.logs import get_logger

# From the connection, or the first byte of a later request, to the end of the head. A phone needs one or two;
# whoever is slower holds a place for nothing.
HEAD_SECONDS = 10.0

# Where an application keeps what answers its plain requests.
FAST_WAY = web.AppKey("fast_way", FastWay)

_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]{1,9})\r\n")

log = get_logger(__name__)


class _Protocol(web.RequestHandler):
    __slots__ = ("_answered", "_answering", "_asked", "_fast", "_head_timer", "_held", "_tried", "_whole")
    _head_timer: asyncio.TimerHandle | None

    def __init__(self, manager: web.Server, fast: FastWay | None, **options: Any) -> None:
        super().__init__(manager, **options)
        self._fast = fast
        # What goes the fast way at the moment, and what came after it.
        self._asked: Asked | None = None
        self._answering: asyncio.Task[None] | None = None
        self._held = b""
        # Whether aiohttp's parser stands between two requests whenever it has nothing to do: it does as long as what it
        # got was whole requests.
        self._whole = True
        # Whom a shutdown waits for.
        self._answered: asyncio.Future[None] | None = None
        # What became of the request that aiohttp handles, if it was tried the fast way.
        self._tried: edge.Tried | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._head_timer = self._loop.call_later(HEAD_SECONDS, self.force_close)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._asked is not None:
            self._hold(data)
            return
        # aiohttp's task may not have begun when the first bytes are there already.
        waits = self._waiter is not None and not self._waiter.done()
        idle = waits or not (self._request_count or self._messages)
        if idle and self._whole and self._fast is not None and not (self._paused or self._close or self._force_close):
            asked = self._fast.recognise(data)
            if asked is not None:
                self._begin(self._fast, asked)
                return
        self._take(data, idle)

    def _take(self, data: bytes, idle: bool) -> None:
        """The long way."""
        heads = self._request_count
        self._whole = self._whole and _is_whole(data)
        super().data_received(data)
        if self._request_count > heads:
            self._stop_head_timer()
        elif idle and self._head_timer is None:  # a later request begins; else it is a part of a body
            self._head_timer = self._loop.call_later(HEAD_SECONDS, self.force_close)

    def _begin(self, fast: FastWay, asked: Asked) -> None:
        self._stop_head_timer()
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        self._asked = asked
        self._answering = fast.begin(asked, self._told)

    def _hold(self, data: bytes) -> None:
        """What a client sends on before it has its answer."""
        if not self._held and self.transport is not None:
            self.transport.pause_reading()
        self._held += data

    def _told(self, body: bytes | None, error: Exception | None = None) -> None:
        """The answer to what goes the fast way; None: it takes the long way, on which ``error`` becomes a problem."""
        asked, fast, transport = self._asked, self._fast, self.transport
        if asked is None or fast is None or transport is None:
            return  # the client left
        self._asked = self._answering = None
        held, self._held = self._held, b""
        if held:
            transport.resume_reading()  # before aiohttp may pause it for reasons of its own
        if body is None:
            fast.end(asked, None)
            self._tried = edge.Tried(asked.started, asked.request_id, error)
            # Told to close meanwhile, aiohttp would not take it.
            closing, self._close = self._close, False
            self._take(asked.data, True)
            self._close = closing
        else:
            close = self._close or fast.draining()
            transport.write(fast.answer(asked, body, close))
            fast.end(asked, 200)
            if close:
                self.force_close()
        if self._answered is not None and not self._answered.done():
            self._answered.set_result(None)
        if held and self.transport is not None:
            self.data_received(held)

    def tried(self) -> edge.Tried | None:
        """What became of the request that comes now on the fast way; once."""
        tried, self._tried = self._tried, None
        return tried

    def close(self) -> None:
        """As aiohttp's own, which lets a connection live on without its task: for the answer of the fast way."""
        if self._asked is not None:
            self._close = True
        else:
            super().close()

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """As aiohttp's own: waits for the answer under way."""
        if self._asked is not None:
            self._answered = self._loop.create_future()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._answered
        await super().shutdown(timeout)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_head_timer()
        if self._asked is not None and self._fast is not None:
            self._fast.end(self._asked, edge.CLIENT_LEFT)
            self._asked = None
            if self._answering is not None:
                self._answering.cancel()
            if self._answered is not None and not self._answered.done():
                self._answered.set_result(None)
        super().connection_lost(exc)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """As aiohttp's own: answers and closes, or only closes when an answer has begun."""
        request_id = uuid.uuid4().hex
        if isinstance(exc, HttpProcessingError):
            problem = problems.malformed_request()
            log.info("http", route=edge.UNMATCHED, status=problem.status, reason=problem.reason, request_id=request_id)
        else:
            problem = problems.from_exception(exc if isinstance(exc, Exception) else RuntimeError(message))
            log.error("http", status=problem.status, error_hash=problem.error_hash, request_id=request_id, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun; it cannot become a problem")
        response = problem.response(request_id)
        edge.sign(response, request_id)
        response.force_close()
        return response


def _is_whole(data: bytes) -> bool:
    """Whether this is surely one request from its first byte to its last. False may be one, too."""
    head, end, body = data.partition(b"\r\n\r\n")
    lower = head.lower()
    if not end or b"transfer" in lower or b"upgrade" in lower or lower.startswith(b"connect"):
        return False
    length = _LENGTH.search(lower + b"\r\n")
    if length is None:
        return not body and b"length" not in lower
    return len(body) == int(length[1])


class _Server(web.Server):
    def __init__(self, fast: FastWay | None, handler: Any, **options: Any) -> None:
        super().__init__(handler, **options)
        self._fast = fast

    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, self._fast, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """aiohttp's runner of an application, with the protocol above."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        options: dict[str, Any] = made._kwargs
        return _Server(
            self.app.get(FAST_WAY),
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **options,
        )
