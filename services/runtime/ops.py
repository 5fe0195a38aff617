"""The ops port: metrics for Prometheus, liveness that never touches a dependency, readiness."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder


class OpsServer:
    """``/metrics``, ``/livez`` and ``/readyz`` over HTTP on a port that is not public."""

    def __init__(self, port: int, ready: Callable[[], bool]) -> None:
        self._port = port
        self._ready = ready
        application = web.Application()
        application.router.add_get("/metrics", _metrics)
        application.router.add_get("/livez", _live)
        application.router.add_get("/readyz", self._readiness)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)

    async def start(self) -> None:
        """Binds all interfaces; raises OSError when the port is taken."""
        await self._runner.setup()
        await web.TCPSite(self._runner, port=self._port).start()

    async def stop(self) -> None:
        """Closes the port."""
        await self._runner.cleanup()

    async def _readiness(self, _: web.Request) -> web.Response:
        return web.Response(text="ready\n") if self._ready() else web.Response(text="not ready\n", status=503)


async def _metrics(request: web.Request) -> web.Response:
    encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    return web.Response(body=encode(REGISTRY), headers={"Content-Type": content_type})


async def _live(_: web.Request) -> web.Response:
    return web.Response(text="live\n")
