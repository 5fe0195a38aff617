"""Connections to services of which several may run, and any may be restarted at any time."""

import json
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from grpc import aio
from windowshop.features.v1 import features_pb2
from windowshop.recommender.v1 import catalog_pb2, model_pb2, privacy_pb2, recommendation_pb2, serving_config_pb2

_SERVICES = tuple(
    service
    for file in (features_pb2, catalog_pb2, model_pb2, privacy_pb2, recommendation_pb2, serving_config_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
)
# May have been done when its answer got lost, and done twice is not the same: the caller decides.
_ONCE_VERBS = ("Set", "Update", "Create", "Train", "Activate")
# As said of those; a deleted product is no longer found. Of a person it is erasure, which may be repeated.
_ONCE = ("DeleteProduct", "DeleteServingConfig")

# Connections that idle through a long quiet phase (training, say) must notice a dead server.
_OPTIONS = (
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),
    # After a restart of the server: seconds, not the default's minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


def open_channel(address: str) -> aio.Channel:
    """A channel to all servers that `address` names: `host:port`, `dns:///name:port`, or IPv4 addresses and ports in a
    list with commas.

    Calls go in turn to those that say they serve, so one that is about to leave gets none; a call that met the end of
    one is made again on another, unless that would not be a repetition. Raises ValueError for a list with names.
    """
    return aio.insecure_channel(target(address), options=(("grpc.service_config", _config()), *_OPTIONS))


def target(address: str) -> str:
    """What gRPC takes for an address: it resolves one name, or takes a list of IP addresses."""
    if "," not in address:
        return address
    return "ipv4:" + ",".join(_server(server.strip()) for server in address.split(","))


def _server(server: str) -> str:
    host, _, port = server.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host
    try:
        return f"{IPv4Address(host)}:{int(port)}"
    except ValueError:
        raise ValueError(f"{server}: in a list, a server is IPv4-address:port") from None


def _config() -> str:
    return json.dumps(
        {
            "loadBalancingConfig": [{"round_robin": {}}],
            "healthCheckConfig": {"serviceName": ""},
            "methodConfig": [
                {
                    "name": list(_repeatable(_SERVICES)),
                    "retryPolicy": {
                        "maxAttempts": 3,
                        "initialBackoff": "0.02s",
                        "maxBackoff": "0.2s",
                        "backoffMultiplier": 3,
                        # CANCELLED: what reached a server that had begun to leave.
                        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
                    },
                }
            ],
        }
    )


def _repeatable(services: Sequence[ServiceDescriptor]) -> Iterator[dict[str, str]]:
    for service in services:
        for method in service.methods:
            if not (method.client_streaming or _once(method)):
                yield {"service": service.full_name, "method": method.name}


def _once(method: MethodDescriptor) -> bool:
    return method.name.startswith(_ONCE_VERBS) or method.name in _ONCE
