"""Large numbers of users in the log, faster than they could come; definitions that are in a hurry."""

import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
from rich.console import Console
from rich.progress import Progress

from services.features.definitions import BUNDLED

PRODUCTS = 2_000
_CROWD = Path(__file__).with_name("crowd.sql").read_text()
_COMEBACK = Path(__file__).with_name("comeback.sql").read_text()
_STEP = 20_000

console = Console(stderr=True)


async def load_crowd(dsn: str, first: int, end: int) -> None:
    """Users from number `first` on and below `end`, and the statistics that autovacuum would have made."""
    now = datetime.now(UTC)
    connection = await asyncpg.connect(dsn)
    try:
        days = [now.date() - timedelta(days=number) for number in range(3, 302)]
        for start in range(0, len(days), 30):
            await connection.execute("SELECT ensure_log_partitions($1)", days[start : start + 30])
        await _in_steps(connection, _CROWD, range(first, end, _STEP), end, now)
        await connection.execute("VACUUM ANALYZE")
    finally:
        await connection.close()


async def come_back(dsn: str, end: int) -> None:
    """Users from number 0 on and below `end`, into the lines alone."""
    connection = await asyncpg.connect(dsn)
    try:
        await _in_steps(connection, _COMEBACK, range(0, end, _STEP), end, datetime.now(UTC))
        await connection.execute("VACUUM ANALYZE event_lines")
    finally:
        await connection.close()


async def _in_steps(connection: Any, statement: str, starts: range, end: int, now: datetime) -> None:
    with Progress(console=console) as progress:
        for start in progress.track(starts):
            await connection.execute(statement, start, min(start + starts.step, end), now, PRODUCTS)


def hurried(folder: Path, factor: int) -> Path:
    """The bundled definitions with shorter refresh intervals, and their statements beside them."""
    shutil.copytree(BUNDLED.with_name("sql"), folder / "sql")
    seconds = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

    def shorter(found: re.Match[str]) -> str:
        return f'refresh = "{max(1, int(found[1]) * seconds[found[2]] // factor)}s"'

    path = folder / BUNDLED.name
    path.write_text(re.sub(r'refresh = "(\d+)([smhd])"', shorter, BUNDLED.read_text()))
    return path
