"""Errors into problem documents."""

import grpc
import pytest
from aiohttp import web
from grpc.aio import AioRpcError, Metadata

from gateway.problems import STATUSES, from_exception
from services.runtime import errors


def rpc_error(code: grpc.StatusCode, details: str = "", error: errors.ServiceError | None = None) -> AioRpcError:
    trailing = Metadata(*errors.to_status(error).trailing_metadata) if error else Metadata()
    return AioRpcError(code, Metadata(), trailing, details=details)


def test_every_status_of_grpc_has_one_of_http() -> None:
    assert set(STATUSES) == set(grpc.StatusCode) - {grpc.StatusCode.OK}


def test_an_error_that_a_service_designed_arrives_whole() -> None:
    error = errors.invalid_field("productDetails[0].quantity", "must be >= 1", reason="OUT_OF_RANGE")
    problem = from_exception(rpc_error(error.code, error.message, error))
    assert (problem.status, problem.code, problem.reason) == (400, "INVALID_ARGUMENT", "OUT_OF_RANGE")
    assert problem.detail == "productDetails[0].quantity: must be >= 1"
    assert problem.errors == error.violations


@pytest.mark.parametrize(("seconds", "header"), [(0.02, "1"), (1.5, "2"), (30.0, "30")])
def test_retry_after_is_whole_seconds_and_never_0(seconds: float, header: str) -> None:
    error = errors.resource_exhausted("OVERLOADED", "too many", retry_after=seconds)
    problem = from_exception(rpc_error(error.code, error.message, error))
    assert (problem.status, problem.headers["Retry-After"]) == (429, header)


def test_words_of_grpc_itself_are_not_passed_on() -> None:
    problem = from_exception(rpc_error(grpc.StatusCode.UNAVAILABLE, "failed to connect: ipv4:10.0.0.7:50051"))
    assert problem.status == 503
    assert problem.headers["Retry-After"] == "1"
    assert "10.0.0.7" not in problem.detail


def test_a_deadline_is_504() -> None:
    assert from_exception(rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")).status == 504
    assert from_exception(TimeoutError()).status == 504


def test_a_masked_bug_of_a_service_keeps_its_hash() -> None:
    error = errors.ServiceError(grpc.StatusCode.INTERNAL, "INTERNAL", "internal error ab", {"errorHash": "abcd0123"})
    problem = from_exception(rpc_error(error.code, error.message, error))
    assert (problem.status, problem.detail) == (500, "internal error abcd0123")


@pytest.mark.parametrize(
    "error", [KeyError("secret"), rpc_error(grpc.StatusCode.UNKNOWN, "secret"), web.HTTPBadRequest(text="secret")]
)
def test_a_bug_is_masked_and_findable(error: Exception) -> None:
    problem = from_exception(error)
    assert problem.status == 500
    assert problem.error_hash is not None
    assert problem.detail == f"internal error {problem.error_hash}"


def test_405_says_what_is_allowed() -> None:
    problem = from_exception(web.HTTPMethodNotAllowed("PUT", ["GET", "HEAD"]))
    assert (problem.status, problem.headers["Allow"]) == (405, "GET,HEAD")
