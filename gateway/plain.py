"""Requests as plain bytes: what nearly every client sends, recognised without a parser.

What is recognised means here what it means to aiohttp. Whatever could mean anything else is not recognised: an escaped
character, a header that changes what a request is, a body that is not all there.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from gateway import edge
from services.runtime.identifiers import ID_PATTERN

# Bytes of a head. Usual ones have a few hundred, one with a page token up to 3,800; below what aiohttp takes of a line.
LONGEST = 6_000
ID = ID_PATTERN.encode()
SECTION = rb"((?:[A-Za-z0-9-]+: (?:[!-~](?:[ -~]*[!-~])?)?\r\n)+)\r\n"

# Distinct header sections of callers, remembered: each caller sends the same one again and again.
_SECTIONS = 1_024
# aiohttp takes 128, each of them once or more.
_MOST_HEADERS = 100
_VARIABLE = re.compile(rb"\\\{\w+\\\}")
_QUERY = rb"(?:\?([A-Za-z0-9_.~:@,=&-]+))?"
_HOST = re.compile(rb"[A-Za-z0-9.:-]{1,255}")
_LENGTH = re.compile(rb"[1-9][0-9]{0,6}")
# Headers that change what a request is. Connection may say what HTTP/1.1 means anyway.
_OTHERWISE = frozenset({b"transfer-encoding", b"content-encoding", b"expect", b"upgrade", b"te", b"trailer"})


class Said(NamedTuple):
    """What a header section says that matters."""

    request_id: str  # "": none that is sane
    length: int
    is_json: bool


def head(method: str, template: str) -> re.Pattern[bytes]:
    """Matches whole heads of a row of the table: groups for the variables of its path, then query and headers."""
    path = _VARIABLE.sub(lambda _: b"(" + ID + b")", re.escape(template).encode())
    return re.compile(method.encode() + b" " + path + _QUERY + rb" HTTP/1\.1\r\n" + SECTION)


@lru_cache(_SECTIONS)
def said(section: bytes) -> Said | None:
    """None: something that only aiohttp should judge."""
    seen = dict[bytes, bytes]()
    for line in section.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b": ")
        name = name.lower()
        if name in seen or name in _OTHERWISE:
            return None
        seen[name] = value
    length = seen.get(b"content-length")
    if (
        not _HOST.fullmatch(seen.get(b"host", b""))
        or seen.get(b"connection", b"keep-alive") != b"keep-alive"
        or (length is not None and not _LENGTH.fullmatch(length))
        or len(seen) > _MOST_HEADERS
    ):
        return None
    given = seen.get(b"x-request-id", b"").decode()
    return Said(
        given if edge.SANE_ID.fullmatch(given) else "",
        int(length or 0),
        seen.get(b"content-type") == b"application/json",
    )


def parameters(query: bytes | None) -> dict[str, list[str]]:
    """All values of each parameter of a plain query; not remembered, for it may name what a person was shown."""
    found: dict[str, list[str]] = {}
    if query is not None:
        for pair in query.decode().split("&"):
            if pair:
                name, _, value = pair.partition("=")
                found.setdefault(name, []).append(value)
    return found
