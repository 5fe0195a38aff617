"""Connections below every middleware: bytes that are no HTTP, such as a raw é in a path, and heads that do not come.

aiohttp answers the former in plain text that repeats the bytes, and logs each with a stack; for the latter it
waits an hour. It has no setting for either. The underscored names used here are why its version is pinned to
one minor.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError

from gateway import edge, problems
from services.runtime.logs import get_logger

# From the connection, or the first byte of a later request, to the end of the head. A phone needs one or two;
# whoever is slower holds a place for nothing.
HEAD_SECONDS = 10.0

log = get_logger(__name__)


class _Protocol(web.RequestHandler):
    __slots__ = ("_head_timer",)
    _head_timer: asyncio.TimerHandle | None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._head_timer = self._loop.call_later(HEAD_SECONDS, self.force_close)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        heads = self._request_count
        idle = self._waiter is not None and not self._waiter.done()
        super().data_received(data)
        if self._request_count > heads:
            self._stop_head_timer()
        elif idle and self._head_timer is None:  # a later request begins; else it is a part of a body
            self._head_timer = self._loop.call_later(HEAD_SECONDS, self.force_close)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._stop_head_timer()
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


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Protocol(self, loop=self._loop, **self._kwargs)


class Runner(web.AppRunner):
    """aiohttp's runner of an application, with the protocol above."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        options: dict[str, Any] = made._kwargs
        return _Server(
            made.request_handler,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **options,
        )
