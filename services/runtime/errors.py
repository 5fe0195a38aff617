"""The one error type of the services: a designed value that knows its status, reason and violations.

Raise a :class:`ServiceError` anywhere; the server interceptor turns it into a ``google.rpc.Status`` once,
and the client side reads it back with :func:`from_rpc`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

ERROR_DOMAIN = "windowshop"
_DETAILS = "grpc-status-details-bin"
_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One offending field, in lowerCamelCase, and what is wrong with it."""

    field: str
    message: str


@dataclass(eq=False)  # not frozen: Python itself sets __traceback__ on exceptions
class ServiceError(Exception):
    """An outcome that a caller is meant to see.

    ``reason`` is UPPER_SNAKE and stable; ``message`` is for people and holds no internals;
    ``retry_after`` is in seconds and set on UNAVAILABLE and RESOURCE_EXHAUSTED only.
    """

    code: grpc.StatusCode
    reason: str
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[FieldViolation, ...] = ()
    retry_after: float | None = None

    def __str__(self) -> str:
        return f"{self.code.name} {self.reason}: {self.message}"


def invalid_argument(message: str, *violations: FieldViolation, reason: str = "INVALID_ARGUMENT") -> ServiceError:
    """The request is malformed or out of bounds, whatever the state of the system."""
    return ServiceError(grpc.StatusCode.INVALID_ARGUMENT, reason, message, violations=violations)


def invalid_field(field: str, message: str, reason: str = "INVALID_ARGUMENT") -> ServiceError:
    """:func:`invalid_argument` for exactly one field."""
    return invalid_argument(f"{field}: {message}", FieldViolation(field, message), reason=reason)


def not_found(reason: str, message: str, **metadata: str) -> ServiceError:
    """A thing that the request names does not exist."""
    return ServiceError(grpc.StatusCode.NOT_FOUND, reason, message, metadata)


def aborted(reason: str, message: str, **metadata: str) -> ServiceError:
    """Another change got in the way."""
    return ServiceError(grpc.StatusCode.ABORTED, reason, message, metadata)


def already_exists(reason: str, message: str, **metadata: str) -> ServiceError:
    """The id is taken."""
    return ServiceError(grpc.StatusCode.ALREADY_EXISTS, reason, message, metadata)


def failed_precondition(reason: str, message: str, **metadata: str) -> ServiceError:
    """The thing is in a state in which this cannot be done."""
    return ServiceError(grpc.StatusCode.FAILED_PRECONDITION, reason, message, metadata)


def unavailable(reason: str, message: str, retry_after: float = 1.0) -> ServiceError:
    """A dependency without a fallback is down; worth another try after ``retry_after`` seconds."""
    return ServiceError(grpc.StatusCode.UNAVAILABLE, reason, message, retry_after=retry_after)


def resource_exhausted(reason: str, message: str, retry_after: float = 1.0) -> ServiceError:
    """Too much at once; worth another try after ``retry_after`` seconds."""
    return ServiceError(grpc.StatusCode.RESOURCE_EXHAUSTED, reason, message, retry_after=retry_after)


def to_status(error: ServiceError) -> grpc.Status:
    """The gRPC status of an error, with ErrorInfo and, where it has them, BadRequest and RetryInfo."""
    status: grpc.Status = rpc_status.to_status(_message(error))
    return status


def to_bytes(error: ServiceError) -> bytes:
    """The same as a serialized google.rpc.Status, for answers of a stream that goes on."""
    serialized: bytes = _message(error).SerializeToString()
    return serialized


def from_bytes(serialized: bytes) -> grpc.aio.AioRpcError:
    """What a call would have raised in the place of an answer of :func:`to_bytes`."""
    message = status_pb2.Status.FromString(serialized)
    code = _CODES.get(message.code, grpc.StatusCode.UNKNOWN)
    trailer = grpc.aio.Metadata((_DETAILS, serialized))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailer, details=message.message)


def _message(error: ServiceError) -> Any:
    details = [_pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN, metadata=error.metadata))]
    if error.violations:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.message) for v in error.violations
        ]
        details.append(_pack(error_details_pb2.BadRequest(field_violations=violations)))
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(error.retry_after * 1000))
        details.append(_pack(error_details_pb2.RetryInfo(retry_delay=delay)))
    number = code_pb2.Code.Value(error.code.name)
    return status_pb2.Status(code=number, message=error.message, details=details)


def from_rpc(error: grpc.aio.AioRpcError) -> ServiceError:
    """The error that a server reported, read back from what the client got."""
    reason, metadata, violations, retry_after = error.code().name, {}, [], None
    for detail in _details(error):
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            detail.Unpack(info)
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest()
            detail.Unpack(bad)
            violations = [FieldViolation(v.field, v.description) for v in bad.field_violations]
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            retry_after = retry.retry_delay.ToMilliseconds() / 1000
    return ServiceError(error.code(), reason, error.details() or "", metadata, tuple(violations), retry_after)


def _pack(message: object) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)  # type: ignore[arg-type]  # google.rpc publishes no types
    return packed


def _details(error: grpc.aio.AioRpcError) -> Sequence[any_pb2.Any]:
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS and isinstance(value, bytes):
            status = status_pb2.Status()
            status.ParseFromString(value)
            return list(status.details)
    return ()
