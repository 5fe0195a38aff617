"""What happens around every RPC: request id, metrics, one wide log event, load shedding, errors masked once."""

from __future__ import annotations

import functools
import hashlib
import re
import secrets
import time
import traceback
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, NoReturn

import grpc
import structlog

from services.runtime import errors, metrics
from services.runtime.exchanges import Connection
from services.runtime.logs import get_logger
from services.runtime.pipes import Listener

REQUEST_ID_HEADER = "x-request-id"
# By this a stream that stays open tells its client which of several servers has it.
SERVER_HEADER = "x-server"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Health checks and reflection answer even when the service sheds load.
_EXEMPT = ("/grpc.health.", "/grpc.reflection.")

log = get_logger(__name__)

# The stubs describe the synchronous handlers only; those of grpc.aio have the same fields.
Handler = Any
Context = grpc.aio.ServicerContext[Any, Any]


def error_hash(error: BaseException) -> str:
    """Eight hex digits that name a bug: equal for equal stacks, so that one log search finds them all."""
    frames = [f"{f.name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)]
    text = type(error).__name__ + "|".join(frames)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


class ServerInterceptor(grpc.aio.ServerInterceptor):
    """Wraps each handler; the only place where an exception becomes a status."""

    def __init__(self, max_in_flight: int, pipes: Listener) -> None:
        self._max_in_flight = max_in_flight
        self._pipes = pipes
        self._name = secrets.token_hex(8)
        self._in_flight = 0
        self._connections: set[Connection] = set()
        self._leaving = False

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(_EXEMPT):
            return handler
        if handler.request_streaming and handler.response_streaming:
            return self._connection(handler, method)
        if handler.response_streaming:
            return self._streaming(handler, method)
        return self._unary(handler, method)

    def _unary(self, handler: Handler, method: str) -> Handler:
        behaviour = handler.stream_unary if handler.request_streaming else handler.unary_unary
        wrap = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )

        async def call(request: Any, context: Context) -> Any:
            async with _Call(self, method, context):
                return await behaviour(request, context)

        return wrap(call, handler.request_deserializer, handler.response_serializer)

    def _streaming(self, handler: Handler, method: str) -> Handler:
        behaviour = handler.unary_stream

        async def call(request: Any, context: Context) -> AsyncIterator[Any]:
            async with _Call(self, method, context):
                async for response in behaviour(request, context):
                    yield response

        return grpc.unary_stream_rpc_method_handler(call, handler.request_deserializer, handler.response_serializer)

    def _connection(self, handler: Handler, method: str) -> Handler:
        """With streams both ways: no call, but a way for many."""
        behaviour = handler.stream_stream
        _, service, name = method.split("/", 2)

        async def call(requests: AsyncIterator[Any], context: Context) -> AsyncIterator[Any]:
            connection = Connection(
                lambda request_id: Observation(self, service, name, request_id),
                handler.request_deserializer,
                handler.response_serializer,
            )
            connection.enter()
            self._connections.add(connection)
            if self._leaving:
                connection.leaving.set()
            try:
                with self._pipes.offered(connection.reached) as metadata:
                    # Tells the client that the stream is there.
                    await context.send_initial_metadata(((SERVER_HEADER, self._name), *metadata))
                    async for response in behaviour(requests, context):
                        yield response
            finally:
                self._connections.discard(connection)

        return grpc.stream_stream_rpc_method_handler(call, handler.request_deserializer, handler.response_serializer)

    def end_connections(self) -> None:
        """Streams that stay open end as soon as what was taken from them is answered."""
        self._leaving = True
        for connection in self._connections:
            connection.leaving.set()

    def enter(self) -> None:
        """Admits a call; raises RESOURCE_EXHAUSTED at the limit."""
        if self._in_flight >= self._max_in_flight:
            raise errors.resource_exhausted("OVERLOADED", "too many requests at once", retry_after=0.1)
        self._in_flight += 1
        metrics.GRPC_IN_FLIGHT.inc()

    def leave(self) -> None:
        """Gives the place of an admitted call back."""
        self._in_flight -= 1
        metrics.GRPC_IN_FLIGHT.dec()


class _Series:
    """The metrics of one method: looking them up takes longer than counting."""

    def __init__(self, service: str, method: str) -> None:
        self.method = method
        self.started = metrics.GRPC_STARTED.labels(service, method)
        self.seconds = metrics.GRPC_SECONDS.labels(service, method)
        self.handled = functools.cache(functools.partial(metrics.GRPC_HANDLED.labels, service, method))


# Of the methods that there are.
_series = functools.cache(_Series)


class Observation:
    """One request from admission to its log event."""

    __slots__ = ("_admitted", "_interceptor", "_request_id", "_series", "_started")

    def __init__(self, interceptor: ServerInterceptor, service: str, method: str, request_id: str | None) -> None:
        self._interceptor = interceptor
        self._series = _series(service, method)
        self._request_id = request_id
        self._admitted = False

    def begin(self) -> None:
        """Binds the request id to the running task; raises RESOURCE_EXHAUSTED when there is no room."""
        self._started = time.perf_counter()
        given = self._request_id
        sane = given is not None and _REQUEST_ID.fullmatch(given)
        structlog.contextvars.bind_contextvars(request_id=given if sane else uuid.uuid4().hex)
        self._series.started.inc()
        self._interceptor.enter()
        self._admitted = True

    def end(self, error: BaseException | None, code: str = "UNKNOWN") -> errors.ServiceError | None:
        """Records the outcome; what the caller is told of ``error``. ``code``: of one that gRPC was told already."""
        if self._admitted:
            self._interceptor.leave()
        if error is None:
            self._record("OK")
        elif isinstance(error, errors.ServiceError):
            self._record(error.code.name, reason=error.reason)
            return error
        elif isinstance(error, grpc.aio.AbortError):
            self._record(code)
        elif isinstance(error, Exception):
            name = error_hash(error)
            self._record("INTERNAL", error_hash=name, exc_info=error)
            return errors.ServiceError(
                grpc.StatusCode.INTERNAL, "INTERNAL", f"internal error {name}", {"errorHash": name}
            )
        else:  # cancelled: the client gave up or the server stops
            self._record("CANCELLED")
        return None

    def _record(self, code: str, exc_info: BaseException | None = None, **fields: str) -> None:
        seconds = time.perf_counter() - self._started
        self._series.handled(code).inc()
        self._series.seconds.observe(seconds)
        bug = code in {"INTERNAL", "UNKNOWN"}
        write = log.error if bug else log.debug if code == "OK" else log.info
        write("rpc", method=self._series.method, code=code, seconds=round(seconds, 6), exc_info=exc_info, **fields)


class _Call:
    """The observation of a call: what is told of its errors is its status."""

    def __init__(self, interceptor: ServerInterceptor, method: str, context: Context) -> None:
        _, service, name = method.split("/", 2)
        self._observation = Observation(interceptor, service, name, _request_id(context))
        self._context = context

    async def __aenter__(self) -> None:
        try:
            self._observation.begin()
        except errors.ServiceError as error:
            self._observation.end(error)
            await _abort(self._context, error)

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        code = self._context.code()
        told = self._observation.end(error, code.name if code else "UNKNOWN")
        if told is not None:
            await _abort(self._context, told)


async def _abort(context: Context, error: errors.ServiceError) -> NoReturn:
    status = errors.to_status(error)
    # abort_with_status of grpc.aio is not implemented; code, text and details are what it would send.
    await context.abort(status.code, status.details, tuple(status.trailing_metadata))
    raise AssertionError("abort raises")


def _request_id(context: Context) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == REQUEST_ID_HEADER and isinstance(value, str):
            return value
    return None


def current_request_id() -> str | None:
    """The id of the request being handled, for onward calls."""
    value = structlog.contextvars.get_contextvars().get("request_id")
    return value if isinstance(value, str) else None
