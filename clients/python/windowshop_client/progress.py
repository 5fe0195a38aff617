"""Shows how far long work is: a bar on a terminal, plain lines elsewhere. On stderr; results go to stdout."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Advance = Callable[[int], None]

QUIET_SECONDS = 5.0
"""Plain lines come no more often than this: they end in log files."""


@contextmanager
def progress(what: str, total: int | None, *, console: Console | None = None) -> Iterator[Advance]:
    """Yields a function to call with the number of steps that have been taken since the last call.

    `total` is None where nobody knows it.
    """
    console = console or Console(stderr=True)
    with _bar(what, total, console) if console.is_terminal else _lines(what, total, console) as advance:
        yield advance


@contextmanager
def shares(what: str, *, console: Console) -> Iterator[Callable[[float], None]]:
    """As `progress`, for work that says how far it is as a share of 0 to 1."""
    with progress(what, 100, console=console) as advance:
        shown = 0

        def report(share: float) -> None:
            nonlocal shown
            advance(round(share * 100) - shown)
            shown = round(share * 100)

        yield report


@contextmanager
def _bar(what: str, total: int | None, console: Console) -> Iterator[Advance]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=total)
        yield lambda steps: bar.advance(task, steps)


@contextmanager
def _lines(what: str, total: int | None, console: Console) -> Iterator[Advance]:
    started = said = time.monotonic()
    done = 0

    def advance(steps: int) -> None:
        nonlocal said, done
        done += steps
        if time.monotonic() - said >= QUIET_SECONDS:
            said = time.monotonic()
            of_total = "" if total is None else f" of {total:,}"
            console.print(f"{what}: {done:,}{of_total}", highlight=False)

    yield advance
    console.print(f"{what}: {done:,} in {time.monotonic() - started:.1f} s", highlight=False)
