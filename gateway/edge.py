"""What happens around every request: its id, its metrics, one wide log event, errors as problem documents."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import structlog
from aiohttp import HttpVersion11, hdrs, web
from aiohttp.typedefs import Handler, Middleware
from prometheus_client import Gauge

from gateway import problems
from services.runtime.interceptors import REQUEST_ID_HEADER
from services.runtime.logs import get_logger
from services.runtime.metrics import BUCKETS, LoopHistogram

SECONDS = LoopHistogram(
    "http_request_duration_seconds",
    "Time from a request's head to its answer; 99 % should stay below 0.05. Status 499: the client left.",
    ["method", "route", "status"],
    buckets=BUCKETS,
)
IN_FLIGHT = Gauge(
    "http_requests_in_flight",
    "Requests being handled; growing without an end means that the services behind do not answer.",
)


class _InFlight:
    """Counts them without the lock of a metric, which would cost each twice as much as being recognised."""

    count = 0


in_flight = _InFlight()
IN_FLIGHT.set_function(lambda: in_flight.count)

REQUEST_ID = "X-Request-Id"
REQUEST_ID_KEY = web.RequestKey("request_id", str)
SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# Anything can stand for a method in a request; a label must not grow with it.
_METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "DELETE", "PUT", "OPTIONS"})
# Asked every few seconds for ever.
_QUIET = frozenset({"/livez", "/readyz"})
# Reads are told of when they fail or take longer than this, in seconds: the promise. Thousands of good ones a second
# are debug; how many there were and how long they took, the metric says.
PROMISE = 0.05
_READS = ("GET", "HEAD")
_READ_VERB = ":batchGet"
UNMATCHED = "unmatched"
CLIENT_LEFT = 499

log = get_logger(__name__)


class Tried(NamedTuple):
    """What became of a request that was tried below aiohttp (see `fast_way`)."""

    # Of time.perf_counter: since when it has been waiting.
    since: float
    request_id: str
    # How its call ended; None: it was not made.
    error: Exception | None


TRIED_KEY = web.RequestKey("tried", Tried)


@runtime_checkable
class Trying(Protocol):
    """A connection that may have tried a request."""

    def tried(self) -> Tried | None:
        """Of the request that comes now; None: not at all."""


class Edge:
    """The one middleware. While ``draining()``, answers ask clients to open no further request here."""

    def __init__(self, draining: Callable[[], bool]) -> None:
        self._draining = draining

    def middleware(self) -> Middleware:
        """As aiohttp wants it."""

        @web.middleware
        async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._around(request, handler)

        return edge

    async def _around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        started = time.perf_counter()
        tried = request.protocol.tried() if isinstance(request.protocol, Trying) else None
        given = request.headers.get(REQUEST_ID)
        request_id = given if given is not None and SANE_ID.fullmatch(given) else uuid.uuid4().hex
        if tried is not None:
            request[TRIED_KEY] = tried
            started, request_id = tried.since, tried.request_id
        request[REQUEST_ID_KEY] = request_id
        # Each request is a task of its own: the binding ends with it.
        structlog.contextvars.bind_contextvars(request_id=request_id)
        problem: problems.Problem | None = None
        raised: Exception | None = None
        in_flight.count += 1
        try:
            if tried is not None and tried.error is not None:
                raise tried.error
            response = await handler(request)
        except asyncio.CancelledError:
            _record(request, CLIENT_LEFT, started, None, None)
            raise
        except Exception as error:
            raised, problem = error, problems.from_exception(error)
            response = problem.response(request_id)
        finally:
            in_flight.count -= 1
        sign(response, request_id)
        if self._draining():
            response.force_close()
        _record(request, response.status, started, problem, raised)
        if raised is not None:
            # Its stack begins here: a circle, in which the request and its body would stay until collections, rare as
            # they are (see `lifecycle`), come to them.
            raised.__traceback__ = None
        return response


def sign(response: web.StreamResponse, request_id: str) -> None:
    """Puts on a response what every one has."""
    response.headers[REQUEST_ID] = request_id
    response.headers[hdrs.SERVER] = "windowshop"  # and not which versions of what


def metadata(request: web.Request) -> tuple[tuple[str, str], ...]:
    """What a call on behalf of ``request`` carries."""
    return ((REQUEST_ID_HEADER, request[REQUEST_ID_KEY]),)


def check_encoding(request: web.Request) -> None:
    """Refuses compressed bodies: a few bytes of one make minutes of work, whatever its size is bounded to."""
    if request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower() != "identity":
        raise problems.unsupported_encoding()


async def expect(request: web.Request) -> web.StreamResponse | None:
    """Answers `Expect: 100-continue`; any other expectation is a problem document too."""
    if request.version < HttpVersion11:  # such a client does not wait
        return None
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # As aiohttp's own handler: the head of the answer is still to be written.
        request.writer.output_size = 0
        return None
    request_id = uuid.uuid4().hex
    response = problems.expectation_failed().response(request_id)
    sign(response, request_id)
    return response


def is_read(method: str, path: str) -> bool:
    """Whether a request changes nothing."""
    return method in _READS or path.endswith(_READ_VERB)


def _is_good_read(request: web.Request, status: int, seconds: float) -> bool:
    return is_read(request.method, request.path) and status < 400 and seconds < PROMISE


def _record(
    request: web.Request,
    status: int,
    started: float,
    problem: problems.Problem | None,
    raised: Exception | None,
) -> None:
    seconds = time.perf_counter() - started
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else UNMATCHED
    method = request.method if request.method in _METHODS else "OTHER"
    SECONDS.labels(method, route, status).observe(seconds)
    if problem is None:
        write = log.debug if route in _QUIET or _is_good_read(request, status, seconds) else log.info
        write("http", method=method, route=route, path=request.path[:200], status=status, seconds=round(seconds, 6))
        return
    bug = problem.error_hash is not None
    write = log.error if bug else log.info
    write(
        "http",
        method=method,
        route=route,
        path=request.path[:200],
        status=status,
        seconds=round(seconds, 6),
        reason=problem.reason,
        detail=problem.detail[:500],
        error_hash=problem.error_hash,
        exc_info=raised if bug else None,
    )
