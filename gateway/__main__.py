"""`python -m gateway`: settings, logs, then the application until a signal."""

from __future__ import annotations

import functools

from gateway.app import serve
from gateway.settings import GatewaySettings
from services.runtime import logs
from services.runtime.lifecycle import run_service
from services.runtime.settings import load


def main() -> None:
    """Reads the environment and serves."""
    settings = load(GatewaySettings)
    logs.configure("gateway", settings.log_level, settings.log_format)
    run_service(functools.partial(serve, settings))


if __name__ == "__main__":
    main()
