"""Settings: typed, read from the environment once, all mistakes reported together, secrets never printed."""

from __future__ import annotations

import sys
from typing import Annotated, TypeVar

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = Annotated[int, Field(ge=1, le=65535)]
PositiveSeconds = Annotated[float, Field(gt=0)]


class ServiceSettings(BaseSettings):
    """What every process can be told; subclasses add their own fields, each with an environment name as alias."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", populate_by_name=True, hide_input_in_errors=True)

    log_level: str = Field("info", alias="WINDOWSHOP_LOG_LEVEL", pattern="^(debug|info|warning|error)$")
    log_format: str = Field("json", alias="WINDOWSHOP_LOG_FORMAT", pattern="^(json|console)$")
    # Below the 30 s grace period of Kubernetes, with room for preStop.
    drain_seconds: PositiveSeconds = Field(10.0, alias="WINDOWSHOP_DRAIN_SECONDS")


SettingsT = TypeVar("SettingsT", bound=BaseSettings)


def load(settings: type[SettingsT]) -> SettingsT:
    """The settings from the environment; prints every problem, without values, and exits with 2 when there is one."""
    try:
        return settings()
    except ValidationError as error:
        for problem in error.errors(include_input=False, include_url=False):
            name = ".".join(str(part) for part in problem["loc"])
            print(f"setting {name}: {problem['msg']}", file=sys.stderr)  # noqa: T201 - before logging is configured
        sys.exit(2)
