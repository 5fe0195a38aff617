"""Whether this process should get traffic: starts as no, changes are logged, liveness knows no dependency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from services.runtime.logs import get_logger

log = get_logger(__name__)


class _Servicer(health.aio.HealthServicer):  # type: ignore[misc]  # grpc_health publishes no types
    """Knows how many watch it."""

    def __init__(self) -> None:
        super().__init__()
        self.watchers = 0

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:
        self.watchers += 1
        try:
            await super().Watch(request, context)
        finally:
            self.watchers -= 1


class Health:
    """The standard health service for "" and each named service; one state for all of them."""

    def __init__(self, service_names: Sequence[str] = ()) -> None:
        self._names = ("", *service_names)
        self._servicer = _Servicer()
        self._serving = False
        self._draining = False

    @property
    def serving(self) -> bool:
        """Whether traffic is welcome now."""
        return self._serving and not self._draining

    @property
    def watched(self) -> bool:
        """Whether clients are listening for changes now."""
        return self._servicer.watchers > 0

    def register(self, server: grpc.aio.Server) -> None:
        """Adds the health service to a server."""
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def set_serving(self, serving: bool) -> None:
        """Opens or closes the door; only a change is logged."""
        if serving != self._serving:
            log.info("ready" if serving else "not ready")
        self._serving = serving
        await self._publish()

    async def set_draining(self) -> None:
        """Closes the door for good."""
        self._draining = True
        await self._publish()

    async def _publish(self) -> None:
        states = health_pb2.HealthCheckResponse
        state = states.SERVING if self.serving else states.NOT_SERVING
        for name in self._names:
            await self._servicer.set(name, state)
