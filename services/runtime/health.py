"""Whether this process should get traffic: starts as no, changes are logged, liveness knows no dependency."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from services.runtime.logs import get_logger

log = get_logger(__name__)


class Health:
    """The standard health service for "" and each named service; one state for all of them."""

    def __init__(self, service_names: Sequence[str] = ()) -> None:
        self._names = ("", *service_names)
        self._servicer = health.aio.HealthServicer()
        self._serving = False
        self._draining = False

    @property
    def serving(self) -> bool:
        """Whether traffic is welcome now."""
        return self._serving and not self._draining

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
