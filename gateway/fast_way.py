"""The routes that are asked all the time, read and written without aiohttp.

aiohttp's request, its task, the middleware and the log event cost several times what a feature read does, and half of
what a page does here. A plain, whole request (see `plain`) for one of these routes is recognised by its bytes, and its
answer is written as it would be the long way: same bytes, metrics and log events. Whatever is anything else takes the
long way, and so does what failed, to become a problem, and a read that a batch cannot answer, because it is unknown or
degraded.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import structlog
from aiohttp.helpers import rfc822_formatted_time
from windowshop.recommender.v1 import recommendation_pb2

from gateway import edge, plain
from gateway.calls import OneCall
from gateway.clients import RPCS, Clients, Rpc
from gateway.coalescing import Kind
from gateway.routes import ROUTES, Route, variables
from gateway.transcoding.pages import PagesEncoder
from gateway.transcoding.rows import Batch, RowsEncoder
from services.runtime.errors import ServiceError
from services.runtime.generations import Repeated
from services.runtime.logs import get_logger

# Rows of the table that are one call, and go this way beside reads of single entities.
CALLS = ("RecommendForUser", "BatchGetFeatures", "WriteEvents", "Recommend", "ListSimilarProducts", "GetProduct")

_READ = re.compile(
    rb"GET /features/("
    + plain.ID
    + rb")/("
    + plain.ID
    + rb")(?:\?features=([A-Za-z0-9_]+(?:,[A-Za-z0-9_]+)*))? HTTP/1\.1\r\n"
    + plain.SECTION
)
# Distinct lists of features, remembered.
_KINDS = 1_024

_OK = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-Id: %b\r\nServer: windowshop\r\n"
    b"Content-Length: %d\r\nDate: %b\r\n%b\r\n%b"
)
_CLOSE = b"Connection: close\r\n"

# Bytes of batches' requests that one generation remembers, of two; what each costs, and how many times its body is kept
# in one form or another; seconds.
_ROOM, _REQUEST, _COPIES, _LIFE = 8_000_000, 1_000, 5, 60.0

# Of its own: whoever seeds the common one would have requests share their ids. No secret.
_DICE = random.Random()  # noqa: S311

# Takes the answer's JSON; None, and the error of its call if it was made: the request takes the long way.
Told = Callable[..., object]

log = get_logger(__name__)


class _Row:
    """A row of the table that is answered here."""

    def __init__(self, route: Route) -> None:
        self.method = route.method
        self.template = route.path
        self.is_read = edge.is_read(route.method, route.path)
        self.seconds = edge.SECONDS.labels(route.method, route.path, 200)


class _CallRow(_Row):
    """One that is a call."""

    def __init__(self, route: Route, one: OneCall) -> None:
        super().__init__(route)
        self.one = one
        self.begins = f"{route.method} {route.path.partition('{')[0]}".encode()
        self._head = plain.head(route.method, route.path)
        self._variables = variables(route.path)
        self._has_body = bool(route.request.body)

    def recognise(self, data: bytes) -> Asked | None:
        """What is asked of this row, when ``data`` is exactly one plain request for it."""
        end = data.find(b"\r\n\r\n", 0, plain.LONGEST) + 4
        match = self._head.fullmatch(data, 0, end)
        if match is None:
            return None
        *values, query, section = match.groups()
        said = plain.said(section)
        if said is None or said.length != len(data) - end or (self._has_body and not (said.length and said.is_json)):
            return None
        started = time.perf_counter()
        path = dict(zip(self._variables, map(bytes.decode, values), strict=True))
        try:
            message = self.one.bind(path, plain.parameters(query), data[end:] if self._has_body else b"")
        except ServiceError:
            return None  # the long way says why
        return Asked(self, data, said.request_id or _new_id(), started, message=message)


class Asked(NamedTuple):
    """A request that was recognised: a read of one entity, or a call (then there is a message)."""

    row: _Row
    data: bytes
    request_id: str
    # Of time.perf_counter.
    started: float
    kind: Kind = ("", ())
    id: str = ""
    # As its row has it.
    message: Any = None

    def path(self) -> str:
        """Without the query."""
        start = len(self.row.method) + 1
        return self.data[start : self.data.index(b" ", start)].decode().partition("?")[0]


class _Rows(OneCall):
    """Batches, whose answers may come in rows; a request that comes again is read once."""

    def __init__(self, route: Route, rpc: Rpc, clients: Clients) -> None:
        ask = clients.in_rows()
        super().__init__(route, rpc, lambda batch, timeout: ask(batch.message, timeout=timeout, written=batch.written))
        self._rows = RowsEncoder()
        self._read, self.bind = self.bind, self._read_once
        self._known: Repeated[tuple[str, bytes], Batch] = Repeated(_ROOM, _LIFE)

    def _read_once(self, path: Mapping[str, str], query: Mapping[str, Sequence[str]], body: bytes) -> Any:
        key, now = (path["entity"], body), time.monotonic()
        batch = self._known.get(key, now)
        if batch is None or query:  # a query is refused by the reading
            message: Any = self._read(path, query, body)
            batch = Batch.of(message)
            self._known.keep(key, batch, _REQUEST + _COPIES * len(body), now)
        return batch

    def write(self, answer: Any, message: Any) -> bytes:
        # Else it came by a call, or of a server that knows columns only.
        return self._rows.encode(answer, message) if answer.sheet else super().write(answer, message.message)


class _Pages(OneCall):
    """Pages of recommendations, of which each row remembers the same products."""

    def __init__(self, route: Route, rpc: Rpc, clients: Clients, pages: PagesEncoder) -> None:
        super().__init__(route, rpc, clients.unary(rpc))
        self._pages = pages

    def write(self, answer: Any, message: Any) -> bytes:
        return self._pages.encode(answer)


class FastWay:
    """Recognises requests, has them answered, writes the answers' heads. Made when logs are configured."""

    def __init__(self, clients: Clients, draining: Callable[[], bool]) -> None:
        self.draining = draining
        self._reads = clients.reads
        self._telling = logging.getLogger(__name__).isEnabledFor(logging.DEBUG)
        rows = {row.operation: row for row in ROUTES}
        self._read = _Row(rows["GetFeatures"])
        pages = PagesEncoder()
        self._calls = [_CallRow(rows[name], _one_call(rows[name], clients, pages)) for name in CALLS]

    def recognise(self, data: bytes) -> Asked | None:
        """What is asked, when ``data`` is exactly one plain request for a row of here."""
        if data.startswith(b"GET /features/"):
            return self._recognise_read(data)
        for row in self._calls:
            if data.startswith(row.begins):
                asked = row.recognise(data)
                if asked is not None:
                    return asked
        return None

    def _recognise_read(self, data: bytes) -> Asked | None:
        if len(data) > plain.LONGEST or not self._reads.together():
            return None
        match = _READ.fullmatch(data)
        if match is None:
            return None
        entity, entity_id, features, section = match.groups()
        said = plain.said(section)
        if said is None or said.length:
            return None
        started = time.perf_counter()
        return Asked(
            self._read, data, said.request_id or _new_id(), started, _kind(entity, features), entity_id.decode()
        )

    def begin(self, asked: Asked, told: Told) -> asyncio.Task[None] | None:
        """Has ``told`` called; the task to cancel when nobody waits any more."""
        edge.in_flight.count += 1
        if not isinstance(asked.row, _CallRow):
            self._reads.ask(asked.kind, asked.id, told, asked.request_id)
            return None
        context = contextvars.Context()
        context.run(structlog.contextvars.bind_contextvars, request_id=asked.request_id)
        return context.run(asyncio.create_task, _answer(asked.row.one, asked.message, told))

    def answer(self, asked: Asked, body: bytes, close: bool) -> bytes:
        """The whole answer; ``close``: the connection's last."""
        date = rfc822_formatted_time().encode()
        return _OK % (asked.request_id.encode(), len(body), date, _CLOSE if close else b"", body)

    def end(self, asked: Asked, status: int | None) -> None:
        """Records an outcome. None: it takes the long way."""
        edge.in_flight.count -= 1
        if status is None:
            return
        seconds, row = time.perf_counter() - asked.started, asked.row
        if status == 200:
            row.seconds.observe(seconds)
        else:
            edge.SECONDS.labels(row.method, row.template, status).observe(seconds)
        quiet = row.is_read and status == 200 and seconds < edge.PROMISE
        if not quiet or self._telling:
            write = log.debug if quiet else log.info
            write(
                "http",
                method=row.method,
                route=row.template,
                path=asked.path()[:200],
                status=status,
                seconds=round(seconds, 6),
                request_id=asked.request_id,
            )


def _new_id() -> str:
    return _DICE.randbytes(16).hex()


async def _answer(one: OneCall, message: Any, told: Told) -> None:
    try:
        body = one.write(await one.call(message, timeout=one.seconds), message)
    except asyncio.CancelledError:
        told(None)  # the channel closed; a client that left is told nothing
        raise
    except Exception as error:
        told(None, error)
    else:
        told(body)


def _one_call(route: Route, clients: Clients, pages: PagesEncoder) -> OneCall:
    rpc = RPCS[route.rpc]
    if rpc.response is recommendation_pb2.RecommendResponse.DESCRIPTOR:
        return _Pages(route, rpc, clients, pages)
    if route.operation == "BatchGetFeatures":
        return _Rows(route, rpc, clients)
    return OneCall(route, rpc, clients.unary(rpc))


@lru_cache(_KINDS)
def _kind(entity: bytes, features: bytes | None) -> Kind:
    return entity.decode(), tuple(features.decode().split(",")) if features else ()
