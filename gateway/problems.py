"""The only place where an error becomes an HTTP answer: a problem document of RFC 9457."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import grpc
import msgspec
from aiohttp import web

from services.runtime.errors import FieldViolation, ServiceError, from_rpc
from services.runtime.interceptors import error_hash

CONTENT_TYPE = "application/problem+json"

STATUSES: Mapping[grpc.StatusCode, int] = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    # A service that stops cancels what it has not finished; a caller that gave up reads no answer.
    grpc.StatusCode.CANCELLED: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.DATA_LOSS: 500,
}

# Texts of gRPC itself name addresses and internals. An error that a service designed has a reason; for
# the others, this is said instead.
_OWN_WORDS: Mapping[grpc.StatusCode, str] = {
    grpc.StatusCode.UNAVAILABLE: "the service behind this route cannot be reached",
    grpc.StatusCode.CANCELLED: "the service behind this route stopped",
    grpc.StatusCode.DEADLINE_EXCEEDED: "the service behind this route did not answer in time",
    grpc.StatusCode.RESOURCE_EXHAUSTED: "the service behind this route refused a message of this size or rate",
    grpc.StatusCode.UNIMPLEMENTED: "the service behind this route does not offer this call",
}
_BUGS = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS})
_RETRY = frozenset({429, 503})

# What aiohttp refuses by itself.
_HTTP: Mapping[int, tuple[str, str, str]] = {
    404: ("NOT_FOUND", "ROUTE_NOT_FOUND", "there is no such route"),
    405: ("UNIMPLEMENTED", "METHOD_NOT_ALLOWED", "the route does not know this method"),
    413: ("INVALID_ARGUMENT", "BODY_TOO_LARGE", "the body is larger than 1 MiB"),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One error, ready to be sent; ``error_hash`` finds a bug in the log."""

    status: int
    code: str
    reason: str
    detail: str
    errors: Sequence[FieldViolation] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    error_hash: str | None = None

    def response(self, request_id: str) -> web.Response:
        """The HTTP answer."""
        document = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
            "reason": self.reason,
            "requestId": request_id,
            "errors": [{"field": error.field, "message": error.message} for error in self.errors],
        }
        return web.Response(
            status=self.status,
            body=msgspec.json.encode(document),
            headers={**self.headers, "Content-Type": CONTENT_TYPE},
        )


@dataclass(eq=False)
class HttpError(Exception):
    """A refusal that gRPC has no word for, such as a content type."""

    problem: Problem


def unsupported_media_type(wanted: str) -> HttpError:
    """415."""
    detail = f"the body must be {wanted}"
    return HttpError(Problem(415, "INVALID_ARGUMENT", "UNSUPPORTED_MEDIA_TYPE", detail))


def unsupported_encoding() -> HttpError:
    """415, naming what is taken instead, as RFC 9110 has it."""
    detail = "the body must not be compressed: Content-Encoding is not supported"
    headers = {"Accept-Encoding": "identity"}
    return HttpError(Problem(415, "INVALID_ARGUMENT", "UNSUPPORTED_CONTENT_ENCODING", detail, headers=headers))


def expectation_failed() -> Problem:
    """417."""
    return Problem(417, "INVALID_ARGUMENT", "EXPECTATION_FAILED", "only the expectation 100-continue is met")


def malformed_request() -> Problem:
    """400: not even a request."""
    detail = "the request line or a header is malformed or too long; characters outside ASCII are percent-encoded"
    return Problem(400, "INVALID_ARGUMENT", "MALFORMED_REQUEST", detail)


def body_too_slow() -> HttpError:
    """408: the client stopped sending; the connection is of no more use."""
    detail = "the body did not arrive in time"
    return HttpError(Problem(408, "DEADLINE_EXCEEDED", "BODY_TOO_SLOW", detail, headers={"Connection": "close"}))


def body_cut_short() -> HttpError:
    """400: the body ended before its announced length; seldom read by anyone."""
    return HttpError(Problem(400, "INVALID_ARGUMENT", "BODY_CUT_SHORT", "the body ended early"))


def from_exception(error: Exception) -> Problem:
    """What the caller is told about ``error``; anything unforeseen is masked."""
    if isinstance(error, grpc.aio.AioRpcError):
        return _from_service(from_rpc(error), error)
    if isinstance(error, ServiceError):
        return _from_service(error, error)
    if isinstance(error, HttpError):
        return error.problem
    if isinstance(error, web.HTTPException) and error.status in _HTTP:
        code, reason, detail = _HTTP[error.status]
        allow = error.headers.get("Allow")
        return Problem(error.status, code, reason, detail, headers={"Allow": allow} if allow else {})
    if isinstance(error, asyncio.TimeoutError):
        return _from_service(ServiceError(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", ""), error)
    return _bug("INTERNAL", error_hash(error))


def _from_service(error: ServiceError, raised: Exception) -> Problem:
    if error.code in _BUGS:
        return _bug(error.code.name, error.metadata.get("errorHash") or error_hash(raised))
    status = STATUSES.get(error.code, 500)
    detail = error.message
    if error.reason == error.code.name:
        detail = _OWN_WORDS.get(error.code, detail)
    headers = {}
    if status in _RETRY:
        # Whole seconds, and never 0: that would ask for a storm.
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after or 1)))
    return Problem(status, error.code.name, error.reason, detail, error.violations, headers)


def _bug(code: str, name: str) -> Problem:
    return Problem(500, code, "INTERNAL", f"internal error {name}", error_hash=name)
