"""The `windowshop` command: the public API from a terminal. Knows the client package and nothing behind it."""

import click

from windowshop_client.cli.demo import demo
from windowshop_client.cli.evaluate import evaluate
from windowshop_client.cli.imports import import_group
from windowshop_client.cli.models import models, train
from windowshop_client.cli.serving_configs import serving_configs
from windowshop_client.cli.shop import erase, features, merge, recommend, set_inventory, similar
from windowshop_client.cli.training_rows import training_rows


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="windowshop")
def main() -> None:
    """Talk to a running windowshop: features, recommendations, catalogue, events, models."""


for command in (
    features, recommend, similar, set_inventory, merge, erase, import_group, train, evaluate, training_rows, models,
    serving_configs, demo,
):  # fmt: skip
    main.add_command(command)

__all__ = ["main"]
