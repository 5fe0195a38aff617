"""What the feature service can be told, by environment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from services.features.definitions import BUNDLED
from services.runtime.settings import Port, PositiveSeconds, ServiceSettings

# Days: what the features with the longest windows look back.
LONGEST_WINDOW = 365


def _long_enough(days: int) -> int:
    if days and not LONGEST_WINDOW <= days <= 36_500:
        raise ValueError(f"must be 0 (keep all) or {LONGEST_WINDOW} (the longest window of a feature) to 36500 days")
    return days


class ExportSettings(ServiceSettings):
    """Of the export, and of all others."""

    database_url: SecretStr = Field(alias="FEATURES_DATABASE_URL")


class FeatureSettings(ExportSettings):
    """Of the server and of the worker."""

    # redis://host:port/0, or a cluster by some of its servers: redis://host:port,host:port/?cluster=1
    redis_url: SecretStr = Field(alias="FEATURES_REDIS_URL")
    port: Port = Field(50051, alias="FEATURES_PORT")
    ops_port: Port = Field(9101, alias="FEATURES_OPS_PORT")
    worker_ops_port: Port = Field(9111, alias="FEATURES_WORKER_OPS_PORT")
    recommender_address: str = Field("localhost:50052", alias="FEATURES_RECOMMENDER_ADDRESS")
    definitions: Path = Field(BUNDLED, alias="FEATURES_DEFINITIONS")
    # Connections to PostgreSQL of one process; a core keeps about two of them busy.
    database_connections: int = Field(12, alias="FEATURES_DATABASE_CONNECTIONS", ge=2, le=200)
    # A statement that takes longer will not help its reader any more.
    database_timeout: PositiveSeconds = Field(10.0, alias="FEATURES_DATABASE_TIMEOUT")
    # Redis answers in a millisecond or is not worth waiting for: the log has the answer too.
    redis_timeout: PositiveSeconds = Field(0.05, alias="FEATURES_REDIS_TIMEOUT")
    # How long a start waits for the database before it fails for its supervisor to see.
    start_seconds: PositiveSeconds = Field(30.0, alias="FEATURES_START_SECONDS")
    # Days that the log is kept, in whole days and, of lines, whole months; older events are refused. 0: for ever.
    retention_days: Annotated[int, AfterValidator(_long_enough)] = Field(0, alias="FEATURES_RETENTION_DAYS")
    # Share of its time in which the worker computes: a bulk load must not starve reads.
    worker_duty: float = Field(0.5, alias="FEATURES_WORKER_DUTY", gt=0, le=1)
    # For how long a worker that is killed keeps from others what it was computing; far above the longest batch, or
    # others compute it too.
    worker_lease: PositiveSeconds = Field(30.0, alias="FEATURES_WORKER_LEASE")
