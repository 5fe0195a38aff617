"""Real PostgreSQL and Valkey servers for tests."""

import asyncio
import itertools
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from deploy.local.child import StartError
from deploy.local.postgres import Postgres
from deploy.local.valkey import Valkey
from services.runtime.migrations import migrate_beside

# The servers of a test live for minutes and no test cuts the power of the machine; a gigabyte of write-ahead log each
# would be most of what the tests need of a disk.
_TEST_SETTINGS = {"fsync": "off", "shared_buffers": "128MB", "min_wal_size": "32MB", "max_wal_size": "128MB"}


def _migrations(service: str) -> Path:
    return Path(__file__).resolve().parents[2] / "services" / service / "migrations"


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class PostgresServer:
    """A PostgreSQL server with pgvector. Databases belong to a plain role, as in production."""

    def __init__(self, server: Postgres) -> None:
        self._server = server
        self._numbers = itertools.count(1)
        self._databases: list[str] = []
        self._templates: dict[str, str] = {}
        self._making = asyncio.Lock()

    @property
    def admin_dsn(self) -> str:
        """Superuser's URL of the database `postgres`."""
        return self._server.admin_dsn

    def dsn(self, database: str) -> str:
        """URL of a database for the plain role that owns the test databases."""
        return self._server.dsn(database, role="tester")

    async def create_database(self, of: str | None = None) -> str:
        """A fresh database with the extension `vector`; its URL.

        ``of``: with the schema of this service, as if it had just been migrated: a copy of one that was, in a tenth of
        the time.
        """
        name = f"test_{next(self._numbers)}"
        self._databases.append(name)
        if of is None:
            return await self._server.ensure_database(name, role="tester")
        async with self._making:  # a template has no other connections while it is copied
            if of not in self._templates:
                template = f"template_{of}"
                await migrate_beside(await self._server.ensure_database(template, role="tester"), _migrations(of))
                self._templates[of] = template
            async with self._admin() as admin:
                await admin.execute(f"CREATE DATABASE {name} OWNER tester TEMPLATE {self._templates[of]}")
        return self.dsn(name)

    async def drop_databases(self) -> None:
        """Without all that `create_database` made so far: hundreds of them fill a disk."""
        async with self._admin() as admin:
            while self._databases:
                await admin.execute(f"DROP DATABASE IF EXISTS {self._databases.pop()} WITH (FORCE)")

    async def start(self) -> None:
        """Start again after `kill` or `stop`; data and port stay."""
        await self._server.start()

    async def stop(self) -> None:
        """Disconnect everybody and end."""
        await self._server.stop()

    async def kill(self) -> None:
        """End like a power cut."""
        await self._server.kill()

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[asyncpg.Connection]:
        admin = await asyncpg.connect(self.admin_dsn)
        try:
            yield admin
        finally:
            await admin.close()


class ValkeyServer:
    """A Valkey server that a test may break."""

    def __init__(self, server: Valkey, folder: Path) -> None:
        self._server = server
        self._folder = folder

    @property
    def url(self) -> str:
        """Where clients connect; stays the same over restarts."""
        return self._server.url

    @property
    def port(self) -> int:
        """The port in `url`."""
        return self._server.port

    async def restart(self, *, wipe: bool) -> None:
        """Kill it unless that was done, start it again; `wipe` empties its folder between."""
        await self.kill()
        if wipe:
            shutil.rmtree(self._folder)
        await self._server.start()

    async def kill(self) -> None:
        """SIGKILL; connections break, acknowledged writes of the last second may be lost."""
        await self._server.kill()

    def stop_hang(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        os.kill(self._server.child.pid, signal.SIGSTOP)

    def cont(self) -> None:
        """SIGCONT: goes on after `stop_hang`."""
        os.kill(self._server.child.pid, signal.SIGCONT)


@asynccontextmanager
async def temporary_folder() -> AsyncIterator[Path]:
    """A folder directly below the system's one: its parents may be entered by every user."""
    folder = Path(tempfile.mkdtemp(prefix="windowshop-test-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def running_postgres() -> AsyncIterator[PostgresServer]:
    """A server of one's own, gone afterwards."""
    async with temporary_folder() as folder:
        for attempt in range(3):  # another process may take the free port before we do
            server = Postgres(folder / "postgres", free_port(), log=folder / "log", settings=_TEST_SETTINGS)
            try:
                await server.start()
                break
            except StartError:
                if attempt == 2:
                    raise
        try:
            yield PostgresServer(server)
        finally:
            await server.stop()


@asynccontextmanager
async def running_valkey(binary: str | None = None) -> AsyncIterator[ValkeyServer]:
    """A server of one's own, gone afterwards; `binary`: of another make."""
    async with temporary_folder() as folder:
        for attempt in range(3):
            server = Valkey(folder / "valkey", free_port(), log=folder / "log", binary=binary)
            try:
                await server.start()
                break
            except StartError:
                if attempt == 2:
                    raise
        try:
            yield ValkeyServer(server, folder / "valkey")
        finally:
            await server.kill()
