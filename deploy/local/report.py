"""What the terminal shows: progress on stderr, the one line that others wait for on stdout."""

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn


class Report:
    """Spinners on a terminal, plain lines elsewhere. A terminal that went away is no reason to fail."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
        self._progress: Progress | None = None
        self._running = 0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Show that `name` is being worked on until the block ends."""
        began = time.monotonic()
        if not self._console.is_terminal:
            yield
            self.say(f"{name}: {time.monotonic() - began:.1f} s")
            return
        if self._progress is None:
            columns = (SpinnerColumn(finished_text="✓"), TextColumn("{task.description}"), TimeElapsedColumn())
            self._progress = Progress(*columns, console=self._console)
            self._progress.start()
        progress, task = self._progress, self._progress.add_task(name, total=1)
        self._running += 1
        try:
            yield
            progress.update(task, completed=1)
        finally:
            self._running -= 1
            if self._running == 0:
                self._progress = None
                with suppress(OSError):
                    progress.stop()

    def say(self, text: str) -> None:
        """A line for the person at the terminal."""
        with suppress(OSError):
            self._console.print(text)

    def ready(self, port: int) -> None:
        """The line that scripts wait for."""
        with suppress(OSError):
            print(f"windowshop is ready: http://localhost:{port}", flush=True)
            sys.stdout.flush()


def ending(code: int) -> str:
    """A return code in words."""
    if code >= 0:
        return f"ended with code {code}"
    with suppress(ValueError):
        return f"was ended by {signal.Signals(-code).name}"
    return f"was ended by signal {-code}"
