"""`python -m deploy.local`: windowshop on this machine."""

import asyncio
import sys

import click

from deploy.local import app
from deploy.local.report import Report
from deploy.local.settings import StackSettings, describe
from services.runtime.settings import load


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=f"\b\nEnvironment [default]:\n{describe()}",
)
def main() -> None:
    """Start PostgreSQL, Valkey and windowshop's services on this machine, with a demo shop, until Ctrl-C.

    Prints `windowshop is ready: URL` on stdout when it answers; everything else goes to stderr.
    """
    settings = load(StackSettings)
    sys.exit(asyncio.run(app.run(settings, Report())))


if __name__ == "__main__":
    main()
