"""The routes that are asked thousands of times a second, read and written without aiohttp.

aiohttp's request, its task, the middleware and the log event cost several times what a feature read does. A plain,
whole `GET /features/{entity}/{id}?features=a,b`, or `POST /v1/features/{entity}:batchGet`, is recognised here by its
bytes, and its answer is written as it would be the long way: same bytes, metrics and log events. Whatever is anything
else takes the long way, and so does a read that fails, or that a batch cannot answer: unknown and degraded ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import random
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec
import structlog
from aiohttp.helpers import rfc822_formatted_time
from google.protobuf.message import Message

from gateway import edge
from gateway.clients import RPCS, Clients
from gateway.coalescing import Kind, Told
from gateway.routes import ROUTES, variables
from gateway.transcoding.binding import RequestBinder
from gateway.transcoding.features import feature_columns
from gateway.transcoding.rows import RowsEncoder
from services.runtime.errors import ServiceError
from services.runtime.logs import get_logger

# Bytes of a head. Usual ones have a few hundred; far below what aiohttp refuses.
_LONGEST = 4_096
# Distinct header sections of callers, remembered: each caller sends the same one again and again.
_SECTIONS = 1_024

_ID = rb"[A-Za-z0-9_.:@-]{1,128}"
_SECTION = rb"((?:[A-Za-z0-9-]+: (?:[!-~](?:[ -~]*[!-~])?)?\r\n)+)\r\n"
_ONE = re.compile(
    rb"GET /features/("
    + _ID
    + rb")/("
    + _ID
    + rb")(?:\?features=([A-Za-z0-9_]+(?:,[A-Za-z0-9_]+)*))? HTTP/1\.1\r\n"
    + _SECTION
)
_MANY = re.compile(rb"POST /v1/features/(" + _ID + rb"):batchGet HTTP/1\.1\r\n" + _SECTION)
_HOST = re.compile(rb"[A-Za-z0-9.:-]{1,255}")
_LENGTH = re.compile(rb"[1-9][0-9]{0,6}")
# Headers that change what a request is. Connection may say what HTTP/1.1 means anyway.
_OTHERWISE = frozenset({b"transfer-encoding", b"content-encoding", b"expect", b"upgrade", b"te", b"trailer"})

_OK = (
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-Id: {}\r\nServer: windowshop\r\n"
    "Content-Length: {}\r\nDate: {}\r\n{}\r\n"
)
_CLOSE = "Connection: close\r\n"

# Of its own: whoever seeds the common one would have requests share their ids. No secret.
_DICE = random.Random()  # noqa: S311

_encode = msgspec.json.Encoder().encode

log = get_logger(__name__)


class _Route:
    """A row of the table that is answered here."""

    def __init__(self, method: str, template: str) -> None:
        self.method = method
        self.template = template
        self.seconds = edge.SECONDS.labels(method, template, 200)


class Asked(NamedTuple):
    """A read that was recognised: of one entity, or of many (then there is a message)."""

    route: _Route
    path: str
    request_id: str
    # Of time.perf_counter.
    started: float
    kind: Kind
    id: str
    message: Message | None = None


class FastReads:
    """Recognises reads, has them answered, writes the answers' heads. Made when logs are configured."""

    def __init__(self, clients: Clients, draining: Callable[[], bool]) -> None:
        self.draining = draining
        self._reads = clients.reads
        self._telling = logging.getLogger(__name__).isEnabledFor(logging.DEBUG)
        one, many = (
            next(row for row in ROUTES if row.operation == name) for name in ("GetFeatures", "BatchGetFeatures")
        )
        self._one, self._many = _Route(one.method, one.path), _Route(many.method, many.path)
        rpc = RPCS[many.rpc]
        self._bind = RequestBinder(rpc.request, many.request, variables(many.path)).bind
        self._call, self._timeout = clients.in_rows(), many.timeout.value
        self._rows = RowsEncoder()

    def recognise(self, data: bytes) -> Asked | None:
        """What is asked, when ``data`` is exactly one plain read."""
        if data.startswith(b"GET /features/"):
            return self._recognise_one(data)
        if data.startswith(b"POST /v1/features/"):
            return self._recognise_many(data)
        return None

    def _recognise_one(self, data: bytes) -> Asked | None:
        if len(data) > _LONGEST or not self._reads.together():
            return None
        match = _ONE.fullmatch(data)
        if match is None:
            return None
        entity, entity_id, features, section = match.groups()
        said = _said(section)
        if said is None or said.length or said.is_json:
            return None
        kind, name = _kind(entity, features), entity_id.decode()
        path = f"/features/{kind[0]}/{name}"
        return Asked(self._one, path, said.request_id or _new_id(), time.perf_counter(), kind, name)

    def _recognise_many(self, data: bytes) -> Asked | None:
        end = data.find(b"\r\n\r\n", 0, _LONGEST) + 4
        match = _MANY.fullmatch(data, 0, end)
        if match is None:
            return None
        entity, section = match.groups()
        said = _said(section)
        if said is None or not said.is_json or said.length != len(data) - end:
            return None
        started, name = time.perf_counter(), entity.decode()
        try:
            message = self._bind({"entity": name}, {}, data[end:])
        except ServiceError:
            return None
        path = f"/v1/features/{name}:batchGet"
        return Asked(self._many, path, said.request_id or _new_id(), started, (name, ()), "", message)

    def begin(self, asked: Asked, told: Told) -> asyncio.Task[None] | None:
        """Has ``told`` called with the answer's body, or None when it takes the long way; the task to cancel when
        nobody waits any more."""
        edge.IN_FLIGHT.inc()
        if asked.message is None:
            self._reads.ask(asked.kind, asked.id, told, asked.request_id)
            return None
        context = contextvars.Context()
        context.run(structlog.contextvars.bind_contextvars, request_id=asked.request_id)
        return context.run(asyncio.create_task, self._answer_many(asked.message, told))

    async def _answer_many(self, message: Any, told: Told) -> None:
        body: bytes | None = None
        try:
            with contextlib.suppress(Exception):  # the long way says why
                answer = await self._call(message, timeout=self._timeout)
                in_rows = bool(answer.rows)  # else by a call, or of a server that knows columns only
                body = self._rows.encode(answer, message) if in_rows else _encode(feature_columns(answer, message))
        finally:
            told(body)

    def answer(self, asked: Asked, body: bytes, close: bool) -> bytes:
        """The whole answer; ``close``: the connection's last."""
        head = _OK.format(asked.request_id, len(body), rfc822_formatted_time(), _CLOSE if close else "")
        return head.encode() + body

    def end(self, asked: Asked, status: int | None) -> None:
        """Records an outcome. None: it takes the long way."""
        edge.IN_FLIGHT.dec()
        if status is None:
            return
        seconds, route = time.perf_counter() - asked.started, asked.route
        if status == 200:
            route.seconds.observe(seconds)
        else:
            edge.SECONDS.labels(route.method, route.template, status).observe(seconds)
        quiet = status == 200 and seconds < edge.PROMISE
        if not quiet or self._telling:
            write = log.debug if quiet else log.info
            write(
                "http",
                method=route.method,
                route=route.template,
                path=asked.path[:200],
                status=status,
                seconds=round(seconds, 6),
                request_id=asked.request_id,
            )


def _new_id() -> str:
    return f"{_DICE.getrandbits(128):032x}"


@lru_cache(_SECTIONS)
def _kind(entity: bytes, features: bytes | None) -> Kind:
    return entity.decode(), tuple(features.decode().split(",")) if features else ()


class _Said(NamedTuple):
    """What a header section says that matters."""

    request_id: str  # "": none that is sane
    length: int
    is_json: bool


@lru_cache(_SECTIONS)
def _said(section: bytes) -> _Said | None:
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
    ):
        return None
    given = seen.get(b"x-request-id", b"").decode()
    return _Said(
        given if edge.SANE_ID.fullmatch(given) else "",
        int(length or 0),
        seen.get(b"content-type") == b"application/json",
    )
