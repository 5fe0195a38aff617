"""An event log of a measurement's own, made durable as in production, in a server that nobody else uses."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.local.postgres import Postgres
from services.features.app import MIGRATIONS
from services.features.stores import postgres
from services.runtime.migrations import migrate
from tests.support.stack import free_port


@asynccontextmanager
async def own_log() -> AsyncIterator[tuple[postgres.Database, int]]:
    """An empty one; and the process of its server."""
    with TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)  # PostgreSQL's own user, where we are root, must be able to go through
        server = Postgres(Path(folder) / "data", free_port(), log=Path(folder) / "log", databases=["features"])
        await server.start()
        try:
            dsn = server.dsn("features")
            await asyncio.to_thread(migrate, dsn, MIGRATIONS)
            async with postgres.connect(dsn, 12, 30.0) as database:
                yield database, server.child.pid
        finally:
            await server.stop()
