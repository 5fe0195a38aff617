"""``python -m services.features export``: days of the log as Parquet files."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from services.features.exporting import export
from services.features.ports import StoreDownError
from services.features.settings import ExportSettings
from services.features.stores import postgres
from services.features.stores.days import PostgresDays
from services.features.stores.parquet import ParquetDays
from services.runtime import logs
from services.runtime.settings import load

# Connections: one reads, one asks whether the server answers.
_CONNECTIONS = 2
_TIMEOUT = 30.0


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0 done, 1 failed, 2 a mistake in the call, 130 interrupted. What was done is printed as JSON."""
    asked = _parse(arguments)
    settings = load(ExportSettings)
    logs.configure("features-export", "error", settings.log_format)
    try:
        print(json.dumps(asyncio.run(_run(asked, settings))))  # noqa: T201 - the answer of a command
    except StoreDownError as error:
        print(f"stopped: {error}; run it again to go on", file=sys.stderr)  # noqa: T201
        return 1
    except OSError as error:
        print(f"stopped: cannot write: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m services.features export", description=__doc__)
    parser.add_argument("--start", type=date.fromisoformat, required=True, help="first day, UTC, such as 2026-01-01")
    parser.add_argument("--end", type=date.fromisoformat, required=True, help="the day after the last one")
    parser.add_argument("--to", type=Path, required=True, help="folder for day=.../events.parquet")
    parser.add_argument(
        "--overwrite", action="store_true", help="write days anew that are there: late events, erasures"
    )
    asked = parser.parse_args(arguments)
    if asked.start >= asked.end:
        parser.error("--start must be before --end")
    if asked.end > datetime.now(UTC).date():
        parser.error("--end must not be after today: only days that are over are exported")
    return asked


async def _run(asked: argparse.Namespace, settings: ExportSettings) -> dict[str, int]:
    asked.to.mkdir(parents=True, exist_ok=True)
    async with postgres.connect(settings.database_url.get_secret_value(), _CONNECTIONS, _TIMEOUT) as database:
        with _progress((asked.end - asked.start).days) as report:
            return await export(
                PostgresDays(database), ParquetDays(asked.to), asked.start, asked.end, asked.overwrite, report
            )


@contextmanager
def _progress(days: int) -> Iterator[Callable[[date, int], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("days"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task, total = bar.add_task("exporting", total=days), 0

        def report(day: date, events: int) -> None:
            nonlocal total
            total += events
            bar.update(task, advance=1, description=f"{day} {total:,} events")

        yield report
