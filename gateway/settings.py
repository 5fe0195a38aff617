"""What the gateway can be told, read from the environment once."""

from __future__ import annotations

from pydantic import Field

from services.runtime.settings import Port, ServiceSettings


class GatewaySettings(ServiceSettings):
    """Ports of its own and the addresses of the services: ``host:port``, ``dns:///name:port`` for all servers behind a
    name, or several IPv4 addresses and ports with commas."""

    port: Port = Field(8000, alias="GATEWAY_PORT")
    ops_port: Port = Field(9100, alias="GATEWAY_OPS_PORT")
    features_address: str = Field("localhost:50051", alias="GATEWAY_FEATURES_ADDRESS", min_length=1)
    recommender_address: str = Field("localhost:50052", alias="GATEWAY_RECOMMENDER_ADDRESS", min_length=1)
