"""Handlers of the routes that are one call, or the same one to several services: bind, call, write the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway import problems
from gateway.clients import RPCS, Clients, Rpc, UnaryCall
from gateway.edge import TRIED_KEY, check_encoding
from gateway.imports import Importer
from gateway.routes import Route, Shape, variables
from gateway.transcoding.binding import RequestBinder
from gateway.transcoding.encoding import Encoder
from gateway.transcoding.features import feature_columns, feature_values

Handler = Callable[[web.Request], Awaitable[web.Response]]
# The answer and the request it answers, to what a JSON writer takes.
Shaper = Callable[[Any, Any], dict[str, Any]]

# A batch of 1,000 ids of 128 characters takes 131 KiB, 1,000 usual events 400 KiB.
BODY_LIMIT = 1024 * 1024
# A megabyte over a poor mobile link; whoever is slower holds a place for nothing.
BODY_SECONDS = 20.0

_JSON = {"Content-Type": "application/json"}
_READ = "FeatureService.GetFeatures"

encode_json = msgspec.json.Encoder().encode


def handler(route: Route, rpc: Rpc, clients: Clients) -> Handler:
    """What answers ``route``; all that can be made once is made here."""
    if route.request.lines is not None:
        encode = Encoder(rpc.response).encode
        return Importer(rpc, route.request, clients.streaming(rpc), lambda answer: encode_json(encode(answer))).handle
    if rpc.name == _READ:
        return _reading(route, rpc, clients)
    if route.also:
        return _everywhere(route, [rpc, *(RPCS[name] for name in route.also)], clients)
    one = OneCall(route, rpc, clients.unary(rpc))
    has_body = bool(route.request.body)

    async def handle(request: web.Request) -> web.Response:
        body = await _body(request) if has_body and request.body_exists else b""
        message = one.bind(request.match_info, _query(request), body)
        answer = await one.call(message, timeout=_left(request, one.seconds))
        return web.Response(body=one.write(answer, message), headers=_JSON)

    return handle


class OneCall:
    """A row that is one call: its request, its time in seconds, its answer's JSON."""

    def __init__(self, route: Route, rpc: Rpc, call: UnaryCall) -> None:
        self.bind = RequestBinder(rpc.request, route.request, variables(route.path)).bind
        self.call = call
        self.seconds = route.timeout.value
        self._shape = _shaper(route.response, rpc)

    def write(self, answer: Any, message: Any) -> bytes:
        """The JSON of the answer to ``message``."""
        return encode_json(self._shape(answer, message))


def _reading(route: Route, rpc: Rpc, clients: Clients) -> Handler:
    """Reads of single entities, which share calls; the plain ones of them never come here (see `fast_way`)."""
    binder = RequestBinder(rpc.request, route.request, variables(route.path))

    async def handle(request: web.Request) -> web.Response:
        message: Any = binder.bind(request.match_info, _query(request), b"")
        tried = request.get(TRIED_KEY)
        body = await clients.reads.read(message, None if tried is None else tried.since)
        return web.Response(body=body, headers=_JSON)

    return handle


def _everywhere(route: Route, rpcs: Sequence[Rpc], clients: Clients) -> Handler:
    """Calls every RPC. All are heard out, so that what is up has done its part when the request is repeated."""
    binders = [RequestBinder(rpc.request, route.request, variables(route.path)) for rpc in rpcs]
    calls, seconds = [clients.unary(rpc) for rpc in rpcs], route.timeout.value
    encode, new = Encoder(rpcs[0].response).encode, GetMessageClass(rpcs[0].response)

    async def handle(request: web.Request) -> web.Response:
        query = _query(request)
        messages = [binder.bind(request.match_info, query, b"") for binder in binders]
        answers = await asyncio.gather(
            *(call(message, timeout=seconds) for call, message in zip(calls, messages, strict=True)),
            return_exceptions=True,
        )
        whole: Any = new()
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            for kind, count in answer.removed.items():
                whole.removed[kind] += count
        return web.Response(body=encode_json(encode(whole)), headers=_JSON)

    return handle


def _left(request: web.Request, seconds: float | None) -> float | None:
    """Of the time that a call has, for a request that was tried the fast way already."""
    tried = request.get(TRIED_KEY)
    return seconds if tried is None or seconds is None else max(0.001, tried.since + seconds - time.perf_counter())


def _shaper(shape: Shape, rpc: Rpc) -> Shaper:
    if shape is Shape.FEATURE_VALUES:
        return feature_values
    if shape is Shape.FEATURE_COLUMNS:
        return feature_columns
    encode = Encoder(rpc.response).encode

    def shaper(answer: Message, _: Message) -> dict[str, Any]:
        return encode(answer)

    return shaper


def _query(request: web.Request) -> Mapping[str, list[str]]:
    if not request.query_string:
        return {}
    query = request.query
    return {name: query.getall(name) for name in query}


async def _body(request: web.Request) -> bytes:
    if request.content_length == 0:
        return b""
    if request.content_type != "application/json":
        raise problems.unsupported_media_type("application/json")
    check_encoding(request)
    if (request.content_length or 0) > BODY_LIMIT:  # before reading it
        raise web.HTTPRequestEntityTooLarge(BODY_LIMIT, request.content_length or 0)
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError as error:
        raise problems.body_too_slow() from error
    except (aiohttp.ClientError, web.RequestPayloadError, ConnectionError) as error:
        raise problems.body_cut_short() from error
