"""A gRPC server with the interceptor, health, reflection and a drain that loses no request in flight."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import grpc
from grpc_reflection.v1alpha import reflection

from services.runtime.health import Health
from services.runtime.interceptors import ServerInterceptor
from services.runtime.logs import get_logger
from services.runtime.pipes import Listener

log = get_logger(__name__)

# Seconds in which clients that watch the health send their next calls elsewhere. What arrives after that ends as
# CANCELLED: gRPC drops it.
_LEAVE = 0.3

_OPTIONS = (
    # Without it a second process binds the same port silently and steals half of the requests.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),
    ("grpc.max_send_message_length", 32 * 1024 * 1024),
    # Clients ping idle connections to notice a dead peer (see client.py); allow it.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
)


class Server:
    """Starts not serving; ``start`` binds, ``health.set_serving`` opens the door, ``stop`` drains."""

    def __init__(
        self,
        port: int,
        service_names: Sequence[str],
        register: Callable[[grpc.aio.Server], None],
        max_in_flight: int = 1_000,
    ) -> None:
        """``register`` adds the servicers; ``service_names`` are their full proto names."""
        self._port = port
        self._pipes = Listener()
        self._interceptor = ServerInterceptor(max_in_flight, self._pipes)
        self._server = grpc.aio.server(interceptors=[self._interceptor], options=_OPTIONS)
        self.health = Health(service_names)
        register(self._server)
        self.health.register(self._server)
        reflection.enable_server_reflection([*service_names, reflection.SERVICE_NAME], self._server)

    async def start(self) -> int:
        """Binds all interfaces and returns the port; raises OSError naming the port when it is taken."""
        # Its servicer answers SERVING for "" until it is told otherwise.
        await self.health.set_serving(False)
        try:
            bound: int = self._server.add_insecure_port(f"[::]:{self._port}")
        except RuntimeError:
            bound = 0
        if bound == 0:
            try:  # a machine without IPv6
                bound = self._server.add_insecure_port(f"0.0.0.0:{self._port}")
            except RuntimeError as error:
                raise OSError(f"port {self._port} is taken or not allowed") from error
        await self._pipes.start()
        await self._server.start()
        log.info("listening", port=bound)
        return bound

    async def stop(self, drain_seconds: float) -> None:
        """Says that it leaves, waits for clients that heard it to go elsewhere, ends the streams that stay open,
        refuses new calls, lets those in flight finish for up to ``drain_seconds``, then cancels the rest."""
        await self.health.set_draining()
        if drain_seconds > 0 and self.health.watched:
            await asyncio.sleep(_LEAVE)
        self._interceptor.end_connections()
        await self._server.stop(drain_seconds)
        self._pipes.stop()
        log.info("stopped")
