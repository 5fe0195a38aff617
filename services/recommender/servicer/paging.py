"""Page tokens: opaque to the caller, and refused when they were not given out here."""

from __future__ import annotations

import base64
import hashlib

from services.runtime.errors import ServiceError, invalid_field

_CHECK_BYTES = 6


def page_size(asked: int, default: int, largest: int) -> int:
    """The number of entries of a page; raises INVALID_ARGUMENT outside of 0 to ``largest``."""
    if not 0 <= asked <= largest:
        raise invalid_field("pageSize", f"must be from 1 to {largest}, or 0 for {default}", reason="INVALID_PAGE_SIZE")
    return asked or default


def encode_token(collection: str, last: str) -> str:
    """The token of the page of ``collection`` after the entry ``last``; url-safe."""
    return seal(collection.encode(), last.encode())


def decode_token(collection: str, token: str) -> str:
    """The entry that a token stands for, "" for the first page; raises INVALID_ARGUMENT for any other text."""
    if not token:
        return ""
    try:
        return unseal(collection.encode(), token).decode()
    except UnicodeDecodeError:
        raise refused() from None


def seal(scope: bytes, key: bytes) -> str:
    """A token that holds ``key`` and is good for ``scope`` alone, of which 16 bytes count; url-safe."""
    return base64.urlsafe_b64encode(_check(scope, key) + key).decode().rstrip("=")


def unseal(scope: bytes, token: str) -> bytes:
    """The key of a token of that scope; raises INVALID_ARGUMENT for any other text."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise refused() from None
    key = raw[_CHECK_BYTES:]
    # One text for one key: the last character has bits to spare.
    if seal(scope, key) != token:
        raise refused()
    return key


def refused() -> ServiceError:
    """What is said of a token that was not given out for this."""
    return invalid_field(
        "pageToken", "must be the nextPageToken of the page before, unchanged", reason="INVALID_PAGE_TOKEN"
    )


def _check(scope: bytes, key: bytes) -> bytes:
    # Against mistakes, not against attackers: a token grants nothing that a first page would not.
    return hashlib.blake2b(key, digest_size=_CHECK_BYTES, person=scope[:16]).digest()
