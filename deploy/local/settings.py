"""What `make run` can be told, by environment."""

from collections import defaultdict
from pathlib import Path

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.runtime.settings import Port

# Where stores are, as the services' environment says it. The name begins with the service that owns the store.
STORES = ("FEATURES_DATABASE_URL", "FEATURES_REDIS_URL", "RECOMMENDER_DATABASE_URL")


class StackSettings(BaseSettings):
    """Ports, the data folder, and outside servers to use instead of embedded ones."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)

    data_dir: Path = Field(
        Path(".windowshop"), alias="WINDOWSHOP_DATA_DIR", description="folder of data, passwords and logs"
    )
    recommenders: int = Field(
        1,
        ge=1,
        le=8,
        alias="WINDOWSHOP_RECOMMENDERS",
        description="recommender processes, each on the port after the one before, RECOMMENDER_OPS_PORT too",
    )
    demo: bool = Field(True, alias="WINDOWSHOP_DEMO", description="load the demo shop; 0: start with an empty one")
    gateway_port: Port = Field(8000, alias="GATEWAY_PORT", description="REST")
    features_port: Port = Field(50051, alias="FEATURES_PORT", description="gRPC of the feature service")
    recommender_port: Port = Field(50052, alias="RECOMMENDER_PORT", description="gRPC of the recommender")
    gateway_ops_port: Port = Field(9100, alias="GATEWAY_OPS_PORT", description="metrics of the gateway")
    features_ops_port: Port = Field(9101, alias="FEATURES_OPS_PORT", description="metrics of the feature service")
    recommender_ops_port: Port = Field(9102, alias="RECOMMENDER_OPS_PORT", description="metrics of the recommender")
    worker_ops_port: Port = Field(9111, alias="FEATURES_WORKER_OPS_PORT", description="metrics of the worker")
    postgres_port: Port = Field(5433, alias="POSTGRES_PORT", description="embedded PostgreSQL")
    redis_port: Port = Field(6380, alias="REDIS_PORT", description="embedded Valkey")
    features_database_url: SecretStr | None = Field(
        None, alias="FEATURES_DATABASE_URL", description="an outside PostgreSQL for the feature service"
    )
    features_redis_url: SecretStr | None = Field(
        None, alias="FEATURES_REDIS_URL", description="an outside Redis for the feature service"
    )
    recommender_database_url: SecretStr | None = Field(
        None, alias="RECOMMENDER_DATABASE_URL", description="an outside PostgreSQL with pgvector for the recommender"
    )

    @model_validator(mode="after")
    def _ports_differ(self) -> "StackSettings":
        names = defaultdict(list)
        for name, port in self.all_ports().items():
            names[port].append(name)
        clashes = [f"{' and '.join(same)} are both {port}" for port, same in names.items() if len(same) > 1]
        clashes += [f"{same[0]} is {port}, and no port is above 65535" for port, same in names.items() if port > 65_535]
        if clashes:
            raise ValueError("; ".join(clashes))
        return self

    @property
    def databases(self) -> tuple[str, ...]:
        """The databases that the embedded PostgreSQL must have; none: it is not needed."""
        urls = {"features": self.features_database_url, "recommender": self.recommender_database_url}
        return tuple(name for name, url in urls.items() if url is None)

    def all_ports(self) -> dict[str, int]:
        """What to call it -> port, of everything that will be started."""
        further = {
            f"{name} + {number}": port + number
            for number in range(1, self.recommenders)
            for name, port in self.ports().items()
            if name in ("RECOMMENDER_PORT", "RECOMMENDER_OPS_PORT")
        }
        return {**self.ports(), **further}

    def ports(self) -> dict[str, int]:
        """Environment name -> port, of everything that will be started; of several of a kind the first one's."""
        unused = set()
        if not self.databases:
            unused.add("POSTGRES_PORT")
        if self.features_redis_url is not None:
            unused.add("REDIS_PORT")
        return {
            str(field.alias): getattr(self, name)
            for name, field in type(self).model_fields.items()
            if name.endswith("_port") and field.alias not in unused
        }


def describe() -> str:
    """The environment names with their defaults, for --help."""
    lines = []
    for field in StackSettings.model_fields.values():
        default = (
            "" if field.default is None else f" [{int(field.default) if field.default is True else field.default}]"
        )
        lines.append(f"  {field.alias:<26}{field.description}{default}")
    return "\n".join(lines)
