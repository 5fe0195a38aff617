"""What the recommender can be told; one field per environment variable."""

from __future__ import annotations

from pydantic import Field, SecretStr

from services.runtime.settings import Port, PositiveSeconds, ServiceSettings


class RecommenderSettings(ServiceSettings):
    """Read once at start; see README for the environment names."""

    database_url: SecretStr = Field(alias="RECOMMENDER_DATABASE_URL")
    port: Port = Field(50052, alias="RECOMMENDER_PORT")
    ops_port: Port = Field(9102, alias="RECOMMENDER_OPS_PORT")
    features_address: str = Field("localhost:50051", alias="RECOMMENDER_FEATURES_ADDRESS")
    # 16 requests in the database at once keep two to four cores of PostgreSQL busy; more would only queue there.
    pool_size: int = Field(16, alias="RECOMMENDER_POOL_SIZE", ge=2, le=200)
    # Pages made at once; more would take each other's time until none is in time. What is on top waits or is refused.
    pages_at_once: int = Field(16, alias="RECOMMENDER_PAGES_AT_ONCE", ge=1)
    # How long a start waits for the database before it gives up and leaves the retry to the supervisor.
    start_seconds: PositiveSeconds = Field(30.0, alias="RECOMMENDER_START_SECONDS")
    # Seconds between training runs; 0: never by itself.
    train_every: float = Field(3600.0, alias="RECOMMENDER_TRAIN_EVERY", ge=0)
    # Seconds between refreshes of the copied product scores.
    scores_every: PositiveSeconds = Field(30.0, alias="RECOMMENDER_SCORES_EVERY")
