"""Problem documents for what never becomes a request: bytes that are no HTTP, such as a raw é in a path.

aiohttp answers those below every middleware, in plain text that repeats the bytes, and logs each with a stack.
It has no setting for that. The two underscored names used here are why its version is pinned to one minor.
"""

from __future__ import annotations

import uuid
from typing import Any

from aiohttp import web
from aiohttp.http import HttpProcessingError

from gateway import edge, problems
from services.runtime.logs import get_logger

log = get_logger(__name__)


class _Protocol(web.RequestHandler):
    __slots__ = ()

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
