"""Commands about model versions."""

import click
from rich.console import Console
from windowshop.recommender.v1 import model_pb2 as m

from windowshop_client.cli import tables
from windowshop_client.cli.options import Addresses, addressed
from windowshop_client.cli.tables import json_option
from windowshop_client.client import Client
from windowshop_client.progress import shares
from windowshop_client.training import TRAIN_SECONDS
from windowshop_client.training import train as train_model


@click.command()
@click.option("--timeout", type=float, default=TRAIN_SECONDS, show_default=True, help="Seconds to wait.")
@json_option
@addressed
def train(addresses: Addresses, timeout: float, as_json: bool) -> None:
    """Train a model from the event log, wait for it, and show its metrics."""

    async def work(client: Client) -> m.Model:
        with shares("training", console=Console(stderr=True)) as report:
            return await train_model(client, report=report, timeout=timeout)

    model = addresses.call(work)
    if as_json:
        tables.show_json(model)
    else:
        tables.show_model(model)


@click.group()
def models() -> None:
    """Look at model versions."""


@models.command("list")
@click.option("--page-size", type=click.IntRange(1, 100), default=20, show_default=True)
@json_option
@addressed
def list_models(addresses: Addresses, page_size: int, as_json: bool) -> None:
    """Show the newest model versions."""
    found = addresses.call(lambda client: client.list_models(page_size))
    if as_json:
        tables.show_json(m.ListModelsResponse(models=found))
    else:
        tables.show_models(found)
