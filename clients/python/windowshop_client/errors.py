"""The one exception that callers of this package see."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import grpc
from google.rpc import error_details_pb2, status_pb2
from grpc import aio


@dataclass(frozen=True, slots=True)
class Violation:
    """A field that the server did not accept."""

    field: str
    message: str


class WindowshopError(Exception):
    """A call that failed: what the server said, or that there was no server.

    `code` is the gRPC status; `reason` the UPPER_SNAKE reason of the error model, empty when the
    answer did not come from windowshop (a connection refused, say); `violations` name bad fields;
    `retry_after` is in seconds, None when the server does not advise to try again.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        service: str = "",
        violations: tuple[Violation, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{reason or code.name}: {message}")
        self.code = code
        self.reason = reason
        self.message = message
        self.service = service
        self.violations = violations
        self.retry_after = retry_after


@contextmanager
def translated(service: str) -> Iterator[None]:
    """Raises what gRPC raises inside as WindowshopError; `service` says whom was being asked."""
    try:
        yield
    except aio.AioRpcError as error:
        raise from_rpc(error, service) from error
    except WindowshopError as error:
        error.service = error.service or service
        raise


def from_rpc(error: aio.AioRpcError, service: str) -> WindowshopError:
    """The error of the status and its google.rpc details."""
    reason, violations, retry_after = "", list[Violation](), None
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            reason, violations, retry_after = _details(value)
    return WindowshopError(
        error.code(),
        error.details() or error.code().name,
        reason=reason,
        service=service,
        violations=tuple(violations),
        retry_after=retry_after,
    )


def _details(packed: bytes) -> tuple[str, list[Violation], float | None]:
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    reason, violations, retry_after = "", list[Violation](), None
    for detail in status_pb2.Status.FromString(packed).details:
        if detail.Unpack(info):
            reason = info.reason
        elif detail.Unpack(bad):
            violations = [Violation(v.field, v.description) for v in bad.field_violations]
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.ToTimedelta().total_seconds()
    return reason, violations, retry_after
