"""``python -m services.features [server|worker]``, or ``export`` with options of its own."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack

from services.features import app
from services.features.settings import FeatureSettings
from services.runtime.lifecycle import run_service
from services.runtime.settings import load

ROLES = {"server": app.serve, "worker": app.work}


def main(arguments: list[str]) -> None:
    """Runs one role; the server when none is named."""
    if arguments[:1] == ["export"]:
        from services.features import export_command  # noqa: PLC0415 - servers need not load what writes files

        sys.exit(export_command.main(arguments[1:]))
    role = ROLES.get(arguments[0] if arguments else "server")
    if role is None or len(arguments) > 1:
        sys.exit("usage: python -m services.features [server|worker|export]")
    settings = load(FeatureSettings)

    async def run(stopping: asyncio.Event, closers: AsyncExitStack) -> None:
        await role(settings, stopping, closers)

    run_service(run)


if __name__ == "__main__":
    main(sys.argv[1:])
