"""gRPC channels to other services: balanced, kept alive, retried when the server was not reached, traced."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterable
from typing import Any

import grpc

from services.runtime.interceptors import REQUEST_ID_HEADER, current_request_id

# Timeouts are set per call: the service config's own setting is broken in this grpcio (a 1 s one failed after 2 ms).
_SERVICE_CONFIG: dict[str, Any] = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": ""},
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.02s",
                "maxBackoff": "0.2s",
                "backoffMultiplier": 3,
                # CANCELLED: what reached a server when it had begun to leave, or was still under way when it had to.
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ],
}

_OPTIONS = (
    # Shared connections share the pause after a refused try, too: a channel made when the server is there would fail
    # its first calls because another one looked for it too early.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 2_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # After a restart of the peer: seconds, not the default's minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),
    ("grpc.max_send_message_length", 32 * 1024 * 1024),
)


def channel(address: str, *, once: Iterable[str] = ()) -> grpc.aio.Channel:
    """A channel to the servers that ``address`` names (see `target`); every call must pass its ``timeout``.

    Calls go to the servers in turn, to those alone that say they serve. A call whose answer got lost is made again,
    which is right for methods that may be repeated. ``once`` names the others, by path ("/package.Service/Method"):
    those are sent again only when they had not left this process.
    """
    options = (("grpc.service_config", _service_config(once)), *_OPTIONS)
    return grpc.aio.insecure_channel(
        target(address), options=options, interceptors=[_UnaryRequestId(), _StreamRequestId()]
    )


def target(address: str) -> str:
    """What gRPC takes for an address of ours.

    ``host:port`` and ``dns:///name:port`` stay as they are: all that the name resolves to, looked up anew when a server
    goes. Several servers are named as ``host:port,host:port`` with IPv4 addresses or localhost; ValueError for other
    hosts: gRPC resolves one name or takes a list of addresses, no list of names.
    """
    if "," not in address:
        return address
    servers = []
    for server in address.split(","):
        host, _, port = server.strip().rpartition(":")
        host = "127.0.0.1" if host == "localhost" else host
        try:
            ipaddress.IPv4Address(host)
        except ValueError:
            raise ValueError(f"{server}: in a list, a server is IPv4-address:port; else name one dns:///host") from None
        servers.append(f"{host}:{int(port)}")
    return "ipv4:" + ",".join(servers)


def _service_config(once: Iterable[str]) -> str:
    names = [dict(zip(("service", "method"), path.strip("/").split("/"), strict=True)) for path in once]
    methods = [*_SERVICE_CONFIG["methodConfig"], *({"name": [name]} for name in names)]
    return json.dumps({**_SERVICE_CONFIG, "methodConfig": methods})


def _with_request_id(details: grpc.aio.ClientCallDetails) -> grpc.aio.ClientCallDetails:
    request_id = current_request_id()
    if request_id is None:
        return details
    metadata = grpc.aio.Metadata(*(details.metadata or ()))
    metadata.set_all(REQUEST_ID_HEADER, [request_id])
    return grpc.aio.ClientCallDetails(
        method=details.method,
        timeout=details.timeout,
        metadata=metadata,
        credentials=details.credentials,
        wait_for_ready=details.wait_for_ready,
    )


class _UnaryRequestId(grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        return await continuation(_with_request_id(client_call_details), request)


class _StreamRequestId(grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self,
        continuation: Callable[[grpc.aio.ClientCallDetails, Any], Any],
        client_call_details: grpc.aio.ClientCallDetails,
        request: Any,
    ) -> Any:
        return await continuation(_with_request_id(client_call_details), request)
