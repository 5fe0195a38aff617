"""One child process: started in its own group, logged to a file, gone when we are gone."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from deploy.local.identity import Identity

_LAUNCH = Path(__file__).with_name("launch.py")


class StartError(Exception):
    """A part of the stack could not be started; the text holds what it said."""


class Child:
    """A started process. The object lives as long as the process; a restart makes a new one."""

    def __init__(self, process: asyncio.subprocess.Process, stop_signal: signal.Signals) -> None:
        self._process = process
        self._stop_signal = stop_signal
        self._group_ended = False

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        log: Path | None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        death_signal: signal.Signals = signal.SIGKILL,
        identity: Identity | None = None,
    ) -> "Child":
        """Start `command` in a new session, output appended to `log` (None: it goes to our stderr).

        `stop_signal` asks it to end; `death_signal` is what the kernel sends it when we die first. Call it from
        the main thread: the kernel counts the end of the starting *thread* as the parent's death. Raises
        StartError when it cannot be run at all.
        """
        identity = identity or Identity()
        launch = (sys.executable, "-I", "-S", str(_LAUNCH), str(int(death_signal)), str(os.getpid()))
        with log.open("ab") if log else nullcontext(sys.stderr) as output, _refusal(command[0]):
            process = await asyncio.create_subprocess_exec(
                *identity.prefix, *launch, *command,
                stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=asyncio.subprocess.STDOUT,
                env=env, cwd=cwd, start_new_session=True, **dict(identity.popen),  # type: ignore[arg-type] # Popen's
            )  # fmt: skip
        return cls(process, stop_signal)

    @property
    def pid(self) -> int:
        """Process id, also the id of its process group."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; minus the signal number when a signal ended it."""
        return self._process.returncode

    async def wait(self) -> int:
        """The return code, when it has ended; what it had started ends with it."""
        code = await self._process.wait()
        self.kill()
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process alone; nothing happens when it has ended."""
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    def kill(self) -> None:
        """End the process and what it started, at once."""
        if self._group_ended:  # by now its number may be another group's
            return
        self._group_ended = self.returncode is not None
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    async def stop(self, grace: float) -> None:
        """Ask it to end; after `grace` seconds, or when we are cancelled, kill it. Its group ends with it."""
        try:
            if self.returncode is None:
                self.signal(self._stop_signal)
                async with asyncio.timeout(grace):
                    await self.wait()
        except TimeoutError:
            pass
        finally:
            self.kill()
            await self.wait()


@contextmanager
def _refusal(program: str) -> Iterator[None]:
    """A program that may not be run is a StartError."""
    try:
        yield
    except OSError as error:
        raise StartError(f"cannot run {program}: {error.strerror}: {error.filename}") from error


def tail(log: Path, lines: int = 20) -> str:
    """The last lines of a log file, empty when there is none."""
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 16_384))  # 20 lines fit, and a huge log costs nothing
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
