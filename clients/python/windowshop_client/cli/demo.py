"""Commands about the demo shop."""

from datetime import datetime

import click
from rich.console import Console

from windowshop_client.cli import tables
from windowshop_client.cli.imports import events_line, products_line
from windowshop_client.cli.options import Addresses, addressed_briefly, now_option


@click.group()
def demo() -> None:
    """Open an invented shop to look at."""


@demo.command("load")
@click.option("--seed", type=click.IntRange(min=0), help="Another number, another shop.")
@now_option
@click.option("--force", is_flag=True, help="Send everything again, even if the shop is there.")
@addressed_briefly
def load_demo(addresses: Addresses, seed: int | None, now: datetime, force: bool) -> None:
    """Load 2,000 products and eight weeks of 500 users' events, and train a model.

    Does nothing when the shop is there already.
    """
    # numpy and the vocabulary are needed here alone.
    from windowshop_client.demo.generator import SEED  # noqa: PLC0415
    from windowshop_client.demo.load import load  # noqa: PLC0415

    chosen = SEED if seed is None else seed
    report = addresses.call(lambda client: load(client, Console(stderr=True), now=now, seed=chosen, force=force))
    if report.products is None or report.events is None:
        click.echo("the demo shop is there already")
    else:
        click.echo(products_line(report.products))
        click.echo(events_line(report.events))
    tables.show_model(report.model)
