"""Bulk routes: an NDJSON body of any length, streamed on in chunks while it arrives.

A line that is no item travels on as an empty one, which the service refuses like any other bad item: so
the service's counts and places hold for the body's lines, and only the words of its refusal are ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc
from aiohttp import web
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from gateway import problems
from gateway.clients import Rpc, StreamCall
from gateway.edge import check_encoding, metadata
from gateway.transcoding.binding import Binding, Lines, QueryReader
from gateway.transcoding.decoding import Decoder, Json, parse_json
from gateway.transcoding.descriptors import message_type
from gateway.transcoding.lines import LINE_LIMIT, LineNumbers, LineSplitter
from services.runtime.errors import ServiceError, invalid_argument

CONTENT_TYPES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})

# Large enough for one commit to be worth it, small enough for the services' limits.
CHUNK_ITEMS = 1_000
# Lines at their limit would make a chunk larger than the 32 MiB that gRPC takes here.
CHUNK_BYTES = 4 * 1024 * 1024
# Lines between two turns of other requests: 100 of them take a millisecond or two.
SLICE = 100
# A sender that pauses longer has gone; mobile uploads pause for seconds.
BODY_IDLE_SECONDS = 30.0
# A chunk waits for commits of other writers; the end of a FULL import for its deletions.
SERVICE_IDLE_SECONDS = 120.0
# What grpcio says in place of the server when a write fails.
_WRITE_FAILED = "Internal error from Core"
# As many as the services report.
SAMPLES = 100


class Importer:
    """Handles one bulk route."""

    def __init__(self, rpc: Rpc, binding: Binding, call: StreamCall, encode: Callable[[Message], bytes]) -> None:
        if binding.lines is None:
            raise TypeError(f"{rpc.name}: the binding has no lines")
        self._lines = binding.lines
        self._request: type[Message] = GetMessageClass(rpc.request)
        self._query = QueryReader(rpc.request, binding.query)
        self._decoder = Decoder(message_type(rpc.request.fields_by_name[binding.lines.items]))
        self._call = call
        self._encode = encode

    async def handle(self, request: web.Request) -> web.Response:
        """Streams the body on and answers with the service's summary."""
        if request.content_type not in CONTENT_TYPES:
            raise problems.unsupported_media_type("application/x-ndjson")
        check_encoding(request)
        first = self._request()
        if request.query_string:
            query = request.query
            self._query.read({name: query.getall(name) for name in query}, first)
        # The channel's interceptors forward the request id of unary calls only.
        stream = _ChunkedStream(self._call(metadata=metadata(request)))
        items = _Items(self._lines, self._decoder, first)
        try:
            async for line in _lines(request.content):
                if items.add(line):
                    await stream.write(items.take())
            if items.unsent():
                await stream.write(items.take())
            answer = await stream.finish()
        except BaseException:
            # Without it the service would take a broken body for a complete one.
            stream.cancel()
            raise
        items.explain(answer)
        return web.Response(body=self._encode(answer), headers={"Content-Type": "application/json"})


@dataclass(slots=True)
class _Refusal:
    reason: str
    field: str
    message: str


@dataclass(slots=True)
class _Items:
    """The chunk being filled, and what the gateway itself found wrong so far."""

    lines: Lines
    decoder: Decoder
    chunk: Any
    size: int = 0
    started: bool = False
    numbers: LineNumbers = field(default_factory=LineNumbers)
    refusals: dict[int, _Refusal] = field(default_factory=dict)
    whole: bool = False

    def __post_init__(self) -> None:
        name, value = self.lines.whole
        if name:
            numbers = self.chunk.DESCRIPTOR.fields_by_name[name].enum_type.values_by_name
            self.whole = getattr(self.chunk, name) == numbers[value].number

    def add(self, line: bytes | None) -> bool:
        """Takes a line in; true when the chunk is full."""
        if line == b"":
            self.numbers.add_empty()
            return False
        place = self.numbers.add_item()
        item = getattr(self.chunk, self.lines.items).add()
        try:
            self._read(line, item)
        except ServiceError as error:
            self._refuse(place, item, line, error)
        self.size += len(line or b"")  # one that was too long travels on as an empty item
        return self.size >= CHUNK_BYTES or len(getattr(self.chunk, self.lines.items)) >= CHUNK_ITEMS

    def _read(self, line: bytes | None, item: Message) -> None:
        if line is None:
            raise invalid_argument(f"the line is longer than {LINE_LIMIT} bytes", reason="LINE_TOO_LONG")
        self.decoder.decode(parse_json(line), item)

    def _refuse(self, place: int, item: Message, line: bytes | None, error: ServiceError) -> None:
        item.Clear()
        violation = error.violations[0] if error.violations else None
        if self.lines.identity:
            identity = _identity(line, self.lines.identity)
            if identity is None and self.whole:
                number = self.numbers.line_of(place)
                raise invalid_argument(
                    f"line {number} (from 0) cannot be read: {error.message}; the import stopped and deleted nothing",
                    reason="UNREADABLE_LINE",
                )
            setattr(item, self.lines.identity, identity or "")
        if len(self.refusals) < SAMPLES:
            self.refusals[place] = _Refusal(
                error.reason,
                violation.field if violation else "",
                violation.message if violation else error.message,
            )

    def unsent(self) -> bool:
        """Whether something is left to send; a first request carries its options even without items."""
        return bool(getattr(self.chunk, self.lines.items)) or (self.whole and not self.started)

    def take(self) -> Message:
        """The chunk, and a new one begins."""
        chunk: Message = self.chunk
        self.chunk = type(chunk)()
        self.size = 0
        self.started = True
        return chunk

    def explain(self, answer: Message) -> None:
        """Turns the answer's places into lines, and says of our refusals why."""
        for sample in getattr(answer, self.lines.samples):
            refusal = self.refusals.get(sample.index)
            if refusal is not None:
                sample.reason, sample.field, sample.message = refusal.reason, refusal.field, refusal.message
            sample.index = self.numbers.line_of(sample.index)


def _identity(line: bytes | None, name: str) -> str | None:
    """What a refused line calls itself, if that much of it can be read."""
    try:
        value: Json = parse_json(line or b"")
    except ServiceError:
        return None
    identity = value.get(name) if isinstance(value, dict) else None
    return identity if isinstance(identity, str) and identity else None


async def _lines(body: aiohttp.StreamReader) -> AsyncIterator[bytes | None]:
    splitter = LineSplitter()
    count = 0
    while chunk := await _read(body):
        for line in splitter.feed(chunk):
            yield line
            count += 1
            if count % SLICE == 0:
                await asyncio.sleep(0)
    for line in splitter.finish():
        yield line


async def _read(body: aiohttp.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(BODY_IDLE_SECONDS):
            return await body.readany()
    except TimeoutError as error:
        raise problems.body_too_slow() from error
    except (aiohttp.ClientError, web.RequestPayloadError, ConnectionError) as error:
        raise problems.body_cut_short() from error


class _ChunkedStream:
    """A client-streaming call with an idle limit; a call that ended early raises the status its server gave."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._served: grpc.aio.AioRpcError | None = None
        call.add_done_callback(self._note)

    async def write(self, request: Message) -> None:
        async with asyncio.timeout(SERVICE_IDLE_SECONDS):
            try:
                await self._call.write(request)
            except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
                # The call has ended before its stream. What failed is the writing; why, its status says.
                raise await self._why() from None

    async def finish(self) -> Message:
        async with asyncio.timeout(SERVICE_IDLE_SECONDS):
            await self._call.done_writing()
            answer: Message = await self._call
            return answer

    def cancel(self) -> None:
        self._call.cancel()

    async def _why(self) -> Exception:
        try:
            await self._call  # until the status is here, if it comes after the failure
        except grpc.aio.AioRpcError as error:
            return self._served or error
        return RuntimeError("a call ended well before its stream did")

    def _note(self, call: Any) -> None:
        """Keeps the server's status: grpcio overwrites it when a write fails with it (grpc issue 36066)."""
        details = _at_once(call.details())
        if details != _WRITE_FAILED:
            code, trailing = _at_once(call.code()), _at_once(call.trailing_metadata())
            self._served = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details=details)


def _at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that has nothing to wait for, as those about a status that is there."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        return finished.value
    coroutine.close()
    raise RuntimeError("the status is not there yet")
