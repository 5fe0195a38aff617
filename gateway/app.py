"""The gateway put together: clients, handlers of the table's rows, the public port, the ops port, the drain."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from importlib.metadata import PackageNotFoundError, version

import msgspec
from aiohttp import web

from gateway import calls, reference
from gateway.clients import RPCS, Clients
from gateway.edge import Edge, expect
from gateway.fast_way import FastWay
from gateway.openapi import document
from gateway.protocol import FAST_WAY, Runner
from gateway.routes import LIVE, OPENAPI, READY, REFERENCE, ROUTES, variables
from gateway.settings import GatewaySettings
from services.runtime.lifecycle import freeze
from services.runtime.logs import get_logger
from services.runtime.ops import OpsServer

# While draining, clients with open connections are told to leave them; one that asks at least so often
# never runs into a closed one.
LEAVE_SECONDS = 0.5

# A refused body is read on for so long, that its sender may see the refusal before the connection closes.
LINGERING_SECONDS = 2.0

log = get_logger(__name__)


class Readiness:
    """Whether requests are welcome: some service answers, and the process is not on its way out.

    One service down is no reason to refuse the other one's callers. With both down, another gateway may
    reach them.
    """

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._draining = False

    def ready(self) -> bool:
        """Asked by probes."""
        return not self._draining and any(self._clients.reachable().values())

    def draining(self) -> bool:
        """Whether `drain` was called."""
        return self._draining

    def drain(self) -> None:
        """From now on not ready, for good."""
        self._draining = True


def application(clients: Clients, readiness: Readiness) -> web.Application:
    """The public side: every row of the table, and nothing else."""
    app = web.Application(client_max_size=calls.BODY_LIMIT, middlewares=[Edge(readiness.draining).middleware()])
    app[FAST_WAY] = FastWay(clients, readiness.draining)
    for route in ROUTES:
        _add(app, route.method, route.path, calls.handler(route, RPCS[route.rpc], clients))
    described = document(_version())
    _add(app, "GET", OPENAPI.path, _static(msgspec.json.encode(described), {"Content-Type": OPENAPI.content_type}))
    _add(app, "GET", REFERENCE.path, _static(reference.page(described).encode(), reference.HEADERS))
    _add(app, "GET", LIVE.path, _static(b"live\n", {"Content-Type": LIVE.content_type}))

    async def ready(_: web.Request) -> web.Response:
        if readiness.ready():
            return web.Response(text="ready\n")
        return web.Response(text="not ready\n", status=503, headers={"Retry-After": "1"})

    _add(app, "GET", READY.path, ready)
    return app


def _add(app: web.Application, method: str, path: str, handler: calls.Handler) -> None:
    # aiohttp's own variables stop at braces; here every segment is a value, to be judged by its alphabet.
    for name in variables(path):
        path = path.replace(f"{{{name}}}", f"{{{name}:[^/]+}}")
    resource = app.router.add_resource(path)
    resource.add_route(method, handler, expect_handler=expect)
    if method == "GET":
        resource.add_route("HEAD", handler, expect_handler=expect)


def _static(body: bytes, headers: dict[str, str]) -> calls.Handler:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    return handle


def _version() -> str:
    try:
        return version("windowshop")
    except PackageNotFoundError:  # run from a checkout that is not installed
        return "0"


def new_runner(app: web.Application, drain_seconds: float, lingering_seconds: float = LINGERING_SECONDS) -> Runner:
    """What serves the application; its clean-up waits up to ``drain_seconds`` for requests in flight."""
    return Runner(
        app,
        access_log=None,  # the middleware writes one event a request
        handler_cancellation=True,  # a caller that left takes the call behind with it
        shutdown_timeout=drain_seconds,
        lingering_time=lingering_seconds,
        auto_decompress=False,  # compressed bodies are refused, and a refused one is not worked through
    )


async def serve(settings: GatewaySettings, stopping: asyncio.Event, closers: AsyncExitStack) -> None:
    """Serves until ``stopping``, then drains: not ready, idle connections told to leave, requests finished."""
    clients = Clients(settings)
    closers.push_async_callback(clients.close)
    readiness = Readiness(clients)
    ops = OpsServer(settings.ops_port, readiness.ready)
    await ops.start()
    closers.push_async_callback(ops.stop)
    runner = new_runner(application(clients, readiness), settings.drain_seconds)
    await runner.setup()
    closers.push_async_callback(runner.cleanup)
    freeze()
    await web.TCPSite(runner, port=settings.port).start()
    log.info("listening", port=settings.port, ops_port=settings.ops_port)
    await stopping.wait()
    log.info("draining")
    readiness.drain()
    await asyncio.sleep(LEAVE_SECONDS)
