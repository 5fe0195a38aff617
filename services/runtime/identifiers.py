"""The alphabet of identifiers, checked before one becomes a key, a parameter or a log field."""

from __future__ import annotations

import re
from collections.abc import Sequence

from services.runtime.errors import ServiceError, invalid_field

# 128 characters hold a UUID with a shop prefix many times over, and keep keys short.
ID_PATTERN = r"[A-Za-z0-9_.:@-]{1,128}"
_ID = re.compile(ID_PATTERN)
# Many at once, on lines of their own: a seventh of the time that one by one they take.
_IDS = re.compile(rf"{ID_PATTERN}(?:\n{ID_PATTERN})*")
ID_RULE = "must be 1 to 128 characters of A-Z a-z 0-9 _ . : @ -"


def is_id(value: str) -> bool:
    """Whether ``value`` can name an entity, an event or a product."""
    return _ID.fullmatch(value) is not None


def check_id(value: str, field: str) -> str:
    """``value`` itself; raises INVALID_ARGUMENT naming ``field`` when it is no identifier."""
    if not is_id(value):
        raise invalid_id(field)
    return value


def check_ids(values: Sequence[str], field: str) -> None:
    """`check_id` of each of at least one; the error names its place, such as ids[3]."""
    lines = "\n".join(values)
    if _IDS.fullmatch(lines) is None or lines.count("\n") != len(values) - 1:
        for place, value in enumerate(values):
            check_id(value, f"{field}[{place}]")


def invalid_id(field: str) -> ServiceError:
    """The error of an id outside the alphabet; does not echo the id, which may be huge or hostile."""
    return invalid_field(field, ID_RULE, reason="INVALID_ID")
