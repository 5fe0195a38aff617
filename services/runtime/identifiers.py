"""The alphabet of identifiers, checked before one becomes a key, a parameter or a log field."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from services.runtime.errors import ServiceError, invalid_field

# 128 characters hold a UUID with a shop prefix many times over, and keep keys short.
LONGEST = 128
ID_PATTERN = rf"[A-Za-z0-9_.:@-]{{1,{LONGEST}}}"
_ID = re.compile(ID_PATTERN)
_ALPHABET = (string.ascii_letters + string.digits + "_.:@-").encode()
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
    # All together, on lines of their own: a twentieth of the time that one by one they take.
    strange = "\n".join(values).encode(errors="replace").translate(None, _ALPHABET)
    lengths = set(map(len, values))
    if strange != b"\n" * (len(values) - 1) or min(lengths) < 1 or max(lengths) > LONGEST:
        for place, value in enumerate(values):
            check_id(value, f"{field}[{place}]")


def invalid_id(field: str) -> ServiceError:
    """The error of an id outside the alphabet; does not echo the id, which may be huge or hostile."""
    return invalid_field(field, ID_RULE, reason="INVALID_ID")
