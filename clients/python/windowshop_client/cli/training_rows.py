"""The command that reads training rows into a file."""

from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from windowshop_client.cli.options import Addresses, addressed
from windowshop_client.client import Client
from windowshop_client.progress import progress
from windowshop_client.training_rows import written

_INSTANT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%z"])


@click.command("training-rows")
@click.option(
    "--start", type=_INSTANT, help="First instant of the window, UTC unless it says otherwise [default: 1970]."
)
@click.option("--end", type=_INSTANT, help="First instant after the window [default: now].")
@click.option("--features", default="", help="Names with commas between, up to 20: as they were just before each row.")
@click.option("--types", default="", help="Event types with commas between [default: impression,purchase-complete].")
@click.option("--to", "path", required=True, type=click.Path(dir_okay=False, writable=True, path_type=Path))
@addressed
def training_rows(
    addresses: Addresses, start: datetime | None, end: datetime | None, features: str, types: str, path: Path
) -> None:
    """Write a row for each product of each event of a user, with features as they were at that instant.

    The file is Parquet if its name ends in .parquet, else one JSON object a line.
    """

    async def work(client: Client) -> int:
        rows = client.training_rows(
            _names(features),
            start=_aware(start),
            end=_aware(end),
            event_types=_names(types) or ("impression", "purchase-complete"),
        )
        number = 0
        with written(path) as write, progress("rows", None, console=Console(stderr=True)) as advance:
            async for message in rows:
                write(message)
                number += len(message.user_ids)
                advance(len(message.user_ids))
        return number

    click.echo(f"{addresses.call(work):,} rows in {path}")


def _names(given: str) -> list[str]:
    return [name.strip() for name in given.split(",") if name.strip()]


def _aware(given: datetime | None) -> datetime | None:
    return given if given is None or given.tzinfo is not None else given.replace(tzinfo=UTC)
