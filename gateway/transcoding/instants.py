"""RFC 3339 texts and the seconds and nanoseconds of `google.protobuf.Timestamp`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_TEXT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:[0-5]\d)", re.ASCII)


def parse_instant(text: str) -> tuple[int, int]:
    """Seconds and nanoseconds since 1970; raises ValueError when ``text`` is no instant of RFC 3339."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError("no RFC 3339 instant")
    moment, fraction, zone = match.groups()
    try:
        # The zone can carry an instant over the edge of the years 1 and 9999.
        seconds = (datetime.fromisoformat(moment + ("+00:00" if zone == "Z" else zone)) - _EPOCH) // _SECOND
        _EPOCH + timedelta(seconds=seconds)
    except OverflowError as error:
        raise ValueError("outside the years 1 to 9999") from error
    return seconds, int(fraction.ljust(9, "0")) if fraction else 0


def format_instant(seconds: int, nanos: int) -> str:
    """The instant in UTC with ``Z`` and 0, 3, 6 or 9 digits of a second, as proto3 JSON has it."""
    text = _to_the_second(seconds)
    if nanos == 0:
        return text + "Z"
    digits = f"{nanos:09d}"
    if digits.endswith("000000"):
        return f"{text}.{digits[:3]}Z"
    return f"{text}.{digits[:6]}Z" if digits.endswith("000") else f"{text}.{digits}Z"


def format_millis(millis: int) -> str:
    """:func:`format_instant` of milliseconds since 1970."""
    seconds, rest = divmod(millis, 1000)
    return f"{_to_the_second(seconds)}.{rest:03d}Z" if rest else _to_the_second(seconds) + "Z"


# Values of the last minutes are read again and again: 16,384 of them take 2 MB.
@lru_cache(16_384)
def millis_text(millis: int) -> bytes:
    """:func:`format_millis` as JSON; null for 0, which is none."""
    return b'"%b"' % format_millis(millis).encode() if millis else b"null"


@lru_cache(4_096)
def _to_the_second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]
