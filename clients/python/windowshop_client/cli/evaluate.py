"""The command that judges what a shop learns."""

import subprocess
import sys
from pathlib import Path

import click

from windowshop_client.cli.options import Addresses, addressed
from windowshop_client.cli.tables import json_option

MODULE = "services.recommender"


@click.command()
@click.option("--plots", type=click.Path(path_type=Path), help="A folder for pictures; needs matplotlib.")
@click.option("--windows", type=click.IntRange(1, 4), help="How many of the newest windows to judge on; 4.")
@json_option
@addressed
def evaluate(addresses: Addresses, plots: Path | None, windows: int | None, as_json: bool) -> None:
    """Learn from what was before each of the newest windows of the event log, and judge by what was taken in it.

    Everything is computed here, in a process of the recommender's own code: the shop goes on as it is.
    """
    arguments = ["--features-address", addresses.features, "--recommender-address", addresses.recommender]
    arguments += ["--json"] if as_json else []
    arguments += ["--plots", str(plots)] if plots is not None else []
    arguments += ["--windows", str(windows)] if windows is not None else []
    # The recommender's code is installed with this command but not imported by it: it needs the contract only.
    ended = subprocess.run([sys.executable, "-m", MODULE, "evaluate", *arguments], check=False)  # noqa: S603 - ours
    sys.exit(ended.returncode)
