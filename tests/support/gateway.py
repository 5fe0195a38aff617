"""A real gateway on a free port, in front of real gRPC servers whose answers the test decides."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import grpc
import structlog
from aiohttp import web
from google.protobuf.message_factory import GetMessageClass
from windowshop.features.v1 import features_pb2 as features
from windowshop.recommender.v1 import recommendation_pb2 as recommendations

from gateway.app import Readiness, application, new_runner
from gateway.clients import FEATURES, RECOMMENDER, RPCS, Clients, Rpc
from gateway.protocol import FAST_WAY
from gateway.settings import GatewaySettings
from services.runtime import exchanges
from services.runtime.errors import ServiceError
from services.runtime.server import Server
from tests.support.columns import batch_of, in_rows
from tests.support.waiting import eventually

Answer = Callable[[Any], Any]


@dataclass
class Backend:
    """What the services answer: by RPC name, a function of the request (of the list of them for a stream)."""

    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[Any] = field(default_factory=list)
    request_ids: list[str | None] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    # The client streams whose end was reached.
    completed: list[list[Any]] = field(default_factory=list)
    # Batches that were asked for in rows.
    in_rows: int = 0
    # Pages that were asked for over a stream.
    streamed: int = 0
    # Awaited for each request of a client stream before the next one is taken.
    on_request: Callable[[], Awaitable[None]] | None = None

    def register(self, server: grpc.aio.Server, service: str) -> None:
        """Adds every RPC of the service."""
        handlers: dict[str, dict[str, Any]] = {}
        for rpc in RPCS.values():
            if rpc.service == service:
                _, name, method = rpc.path.split("/")
                handlers.setdefault(name, {})[method] = self._handler(rpc)
        for name, methods in handlers.items():
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))

    def _handler(self, rpc: Rpc) -> Any:
        serializers: dict[str, Any] = {
            "request_deserializer": GetMessageClass(rpc.request).FromString,
            "response_serializer": GetMessageClass(rpc.response).SerializeToString,
        }
        name = rpc.name.split(".")[1]

        async def unary(request: Any, context: Any) -> Any:
            self._note(request, context)
            with self._noting_cancellation(name):
                return await (self._batch(request) if name == "BatchGetFeatures" else self._answer(name, request))

        async def stream(requests: AsyncIterator[Any], context: Any) -> Any:
            received = []
            with self._noting_cancellation(name):
                async for request in requests:
                    self._note(request, context)
                    received.append(request)
                    if self.on_request is not None:
                        await self.on_request()
                # A cancelled stream ends like a whole one; that it was cancelled is known a moment later.
                await asyncio.sleep(0.05)
                if context.cancelled():
                    raise asyncio.CancelledError
                self.completed.append(received)
                return await self._answer(name, received)

        async def read(request: features.ReadFeaturesRequest, _: float) -> features.ReadFeaturesResponse:
            self.requests.append(request.read)
            self.request_ids.append(request.request_id or None)
            with self._noting_cancellation(name):
                batch = await self._batch(request.read)
            if request.sheet and batch.ids:
                self.in_rows += 1
                batch = in_rows(batch)
            return features.ReadFeaturesResponse(number=request.number, answer=batch)

        async def connection(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
            async for response in exchanges.answers(
                requests, read, lambda request, error: features.ReadFeaturesResponse(number=request.number, error=error)
            ):
                yield response

        if name == "ReadFeatures":
            return grpc.stream_stream_rpc_method_handler(connection, **serializers)
        if name == "StreamRecommend":
            return grpc.stream_stream_rpc_method_handler(self._pages, **serializers)
        if name.startswith("Import"):
            return grpc.stream_unary_rpc_method_handler(stream, **serializers)
        return grpc.unary_unary_rpc_method_handler(unary, **serializers)

    async def _pages(self, requests: AsyncIterator[Any], _: Any) -> AsyncIterator[Any]:
        async def recommend(request: recommendations.StreamRecommendRequest, _: float) -> Any:
            self.streamed += 1
            self.requests.append(request.ask)
            self.request_ids.append(request.request_id or None)
            with self._noting_cancellation("Recommend"):
                page = await self._answer("Recommend", request.ask)
            return recommendations.StreamRecommendResponse(number=request.number, answer=page)

        def refuse(request: recommendations.StreamRecommendRequest, error: bytes) -> Any:
            return recommendations.StreamRecommendResponse(number=request.number, error=error)

        async for response in exchanges.answers(requests, recommend, refuse, lambda one: not one.HasField("ask")):
            yield response

    async def _batch(self, request: features.BatchGetFeaturesRequest) -> features.BatchGetFeaturesResponse:
        """Of users what GetFeatures says of each: the gateway asks for them together."""
        if request.entity != "User":
            answer: features.BatchGetFeaturesResponse = await self._answer("BatchGetFeatures", request)
            return answer
        singles: list[features.GetFeaturesResponse | None] = []
        for entity_id in request.ids:
            one = features.GetFeaturesRequest(entity=request.entity, id=entity_id, features=request.features)
            try:
                singles.append(await self._answer("GetFeatures", one))
            except ServiceError as error:
                if error.reason != "ENTITY_NOT_FOUND":
                    raise
                singles.append(None)
        return batch_of(request, singles)

    async def _answer(self, name: str, request: Any) -> Any:
        answer = self.answers[name](request)
        return await answer if inspect.isawaitable(answer) else answer

    def _noting_cancellation(self, name: str) -> Any:
        return _Cancellation(self.cancelled, name)

    def _note(self, request: Any, context: Any) -> None:
        self.requests.append(request)
        self.request_ids.append(dict(context.invocation_metadata()).get("x-request-id"))


@dataclass
class _Cancellation:
    noted: list[str]
    name: str

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is asyncio.CancelledError:
            self.noted.append(self.name)


@dataclass
class Gateway:
    """A running gateway and a client of it."""

    url: str
    port: int
    http: aiohttp.ClientSession
    backend: Backend
    readiness: Readiness
    runner: web.AppRunner

    async def json(self, method: str, path: str, **arguments: Any) -> tuple[int, Any]:
        """Status and decoded body of one request."""
        async with self.http.request(method, self.url + path, **arguments) as answer:
            return answer.status, await answer.json(content_type=None)

    async def raw(self, request: bytes) -> bytes:
        """All that comes back on a connection of its own until the gateway closes it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(request)
            await writer.drain()
            return await asyncio.wait_for(reader.read(), 15)
        finally:
            writer.close()


@contextmanager
def plain_logs() -> Iterator[None]:
    """Stack traces as text: drawing them with boxes and locals takes longer than the deadlines under test."""
    before = structlog.get_config()
    renderer = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, renderer]
    )
    try:
        yield
    finally:
        structlog.configure(**before)


@asynccontextmanager
async def running_backend(backend: Backend, service: str, port: int = 0) -> AsyncIterator[int]:
    """One service with the backend's answers on ``port``, serving; stopped at the end of the block."""
    server = Server(port, [], lambda grpc_server: backend.register(grpc_server, service))
    bound = await server.start()
    await server.health.set_serving(True)
    try:
        yield bound
    finally:
        await server.stop(0.5)


@asynccontextmanager
async def running_gateway(
    backend: Backend, features_port: int, recommender_port: int, shutdown_timeout: float = 5.0, fast: bool = True
) -> AsyncIterator[Gateway]:
    """A gateway in front of two ports; not ``fast``: every request takes the long way."""
    settings = GatewaySettings.model_validate(
        {
            "features_address": f"127.0.0.1:{features_port}",
            "recommender_address": f"127.0.0.1:{recommender_port}",
        }
    )
    clients = Clients(settings)
    readiness = Readiness(clients)
    app = application(clients, readiness)
    if not fast:
        del app[FAST_WAY]
    runner = new_runner(app, shutdown_timeout, lingering_seconds=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession() as http:
        try:
            yield Gateway(f"http://127.0.0.1:{port}", port, http, backend, readiness, runner)
        finally:
            await runner.cleanup()
            await clients.close()


@asynccontextmanager
async def running_all(backend: Backend) -> AsyncIterator[Gateway]:
    """Both services and a gateway that has reached them."""
    with plain_logs():
        async with (
            running_backend(backend, FEATURES) as features,
            running_backend(backend, RECOMMENDER) as recommender,
            running_gateway(backend, features, recommender) as gateway,
        ):
            await eventually(gateway.readiness.ready)
            yield gateway
