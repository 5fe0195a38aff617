"""What the messages of all services here have in common: instants, field masks, what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Set
from datetime import UTC, datetime

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.recommender.domain.product import Problem
from services.runtime.errors import FieldViolation, ServiceError, invalid_argument, invalid_field

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# In seconds.
_DAY = 86_400


def named_fields(message: Message, mask: FieldMask, changeable: frozenset[str], ignored: Set[str]) -> frozenset[str]:
    """The fields that an update names: those of the mask, without one those that are set; ``*`` means all.

    Of the ``changeable`` ones: ``ignored`` ones may be named and change nothing. Raises INVALID_ARGUMENT for any other
    path.
    """
    paths = set(mask.paths) or {descriptor.name for descriptor, _ in message.ListFields()}
    if paths == {"*"}:
        return changeable
    unknown = sorted(paths - changeable - ignored)
    if unknown:
        # The path is the sender's text: cut, so that an error stays an error message.
        raise invalid_field("updateMask", f"no field {unknown[0][:100]!r} to change", reason="INVALID_UPDATE_MASK")
    return frozenset(paths & changeable)


def refuse(found: Iterable[Problem]) -> None:
    """Raises INVALID_ARGUMENT with every problem, under the reason of the first; returns when there is none."""
    listed = list(found)
    if listed:
        raise _invalid(listed)


def read_time(message: Timestamp) -> datetime:
    """The instant, to the microsecond; raises ValueError outside of the years 1 to 9999."""
    try:
        return message.ToDatetime(tzinfo=UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from error


def write_time(value: datetime | None) -> Timestamp | None:
    """The message of an instant; None stays None."""
    if value is None:
        return None
    # As FromDatetime, at a third of its cost; a page of products has forty of them.
    since = value - _EPOCH
    return Timestamp(seconds=since.days * _DAY + since.seconds, nanos=since.microseconds * 1_000)


def _invalid(found: list[Problem]) -> ServiceError:
    first = found[0]
    violations = [FieldViolation(problem.field, problem.message) for problem in found]
    return invalid_argument(f"{first.field}: {first.message}", *violations, reason=first.reason)
