"""The one route that is asked thousands of times a second, read and written without aiohttp.

aiohttp's request, its task, the middleware and the log event cost several times what a feature read does. A plain,
whole `GET /features/{entity}/{id}?features=a,b` is recognised here by its bytes, and its answer is written as it would
be the long way: same bytes, metrics and log events. Whatever is anything else takes the long way, and so does a read
that a batch cannot answer: unknown, degraded or failed ones.
"""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from aiohttp.helpers import rfc822_formatted_time

from gateway import edge
from gateway.coalescing import CoalescedReads, Kind, Told
from services.runtime.logs import get_logger

ROUTE = "/features/{entity}/{id}"
# Of a head. Usual ones have a few hundred; far below what aiohttp refuses.
_LONGEST = 4_096
# Distinct header sections of callers, remembered: each caller sends the same one again and again.
_SECTIONS = 1_024

_ID = rb"[A-Za-z0-9_.:@-]{1,128}"
_HEAD = re.compile(
    rb"GET /features/(" + _ID + rb")/(" + _ID + rb")(?:\?features=([A-Za-z0-9_]+(?:,[A-Za-z0-9_]+)*))? HTTP/1\.1\r\n"
    rb"((?:[A-Za-z0-9-]+: (?:[!-~](?:[ -~]*[!-~])?)?\r\n)+)\r\n"
)
_HOST = re.compile(rb"[A-Za-z0-9.:-]{1,255}")
# Headers that change what a request is. Connection may say what HTTP/1.1 means anyway.
_OTHERWISE = frozenset(
    {b"content-length", b"transfer-encoding", b"content-encoding", b"expect", b"upgrade", b"te", b"trailer"}
)

_OK = (
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-Id: {}\r\nServer: windowshop\r\n"
    "Content-Length: {}\r\nDate: {}\r\n{}\r\n"
)
_CLOSE = "Connection: close\r\n"

# Of its own: whoever seeds the common one would have requests share their ids. No secret.
_DICE = random.Random()  # noqa: S311

log = get_logger(__name__)


class Asked(NamedTuple):
    """A read that was recognised."""

    kind: Kind
    id: str
    request_id: str
    # Of time.perf_counter.
    started: float


class FastReads:
    """Recognises reads, has them answered, writes the answers' heads. Made when logs are configured."""

    def __init__(self, reads: CoalescedReads, draining: Callable[[], bool]) -> None:
        self._reads = reads
        self.draining = draining
        self._telling = logging.getLogger(__name__).isEnabledFor(logging.DEBUG)
        self._seconds = edge.SECONDS.labels("GET", ROUTE, 200)

    def recognise(self, data: bytes) -> Asked | None:
        """What is asked, when ``data`` is exactly one plain read and batches are tried now."""
        if len(data) > _LONGEST or not self._reads.together():
            return None
        match = _HEAD.fullmatch(data)
        if match is None:
            return None
        entity, entity_id, features, section = match.groups()
        request_id = _request_id(section)
        if request_id is None:
            return None
        return Asked(
            _kind(entity, features),
            entity_id.decode(),
            request_id or f"{random.getrandbits(128):032x}",  # no secret
            time.perf_counter(),
        )

    def begin(self, asked: Asked, told: Told) -> None:
        """Has ``told`` called with the answer's body, or None when it takes the long way."""
        edge.IN_FLIGHT.inc()
        self._reads.ask(asked.kind, asked.id, told, asked.request_id)

    def answer(self, asked: Asked, body: bytes, close: bool) -> bytes:
        """The whole answer; ``close``: the connection's last."""
        head = _OK.format(asked.request_id, len(body), rfc822_formatted_time(), _CLOSE if close else "")
        return head.encode() + body

    def end(self, asked: Asked, status: int | None) -> None:
        """Records an outcome. None: it takes the long way."""
        edge.IN_FLIGHT.dec()
        if status is None:
            return
        seconds = time.perf_counter() - asked.started
        if status == 200:
            self._seconds.observe(seconds)
        else:
            edge.SECONDS.labels("GET", ROUTE, status).observe(seconds)
        quiet = status == 200 and seconds < edge.PROMISE
        if not quiet or self._telling:
            write = log.debug if quiet else log.info
            path = f"/features/{asked.kind[0]}/{asked.id}"[:200]
            write(
                "http",
                method="GET",
                route=ROUTE,
                path=path,
                status=status,
                seconds=round(seconds, 6),
                request_id=asked.request_id,
            )


@lru_cache(_SECTIONS)
def _kind(entity: bytes, features: bytes | None) -> Kind:
    return entity.decode(), tuple(features.decode().split(",")) if features else ()


@lru_cache(_SECTIONS)
def _request_id(section: bytes) -> str | None:
    """The request id of a header section, "" when there is no sane one; None when it says something that matters."""
    seen = dict[bytes, bytes]()
    for line in section.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b": ")
        name = name.lower()
        if name in seen or name in _OTHERWISE:
            return None
        seen[name] = value
    if not _HOST.fullmatch(seen.get(b"host", b"")) or seen.get(b"connection", b"keep-alive") != b"keep-alive":
        return None
    given = seen.get(b"x-request-id", b"").decode()
    return given if edge.SANE_ID.fullmatch(given) else ""
