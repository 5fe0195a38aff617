"""``python -m services.recommender evaluate``: how good what the shop learns is, beside simple models.

Reads the event log and the catalogue from the running services, and changes nothing.
"""

from __future__ import annotations

import asyncio
import json
import sys
from importlib.util import find_spec
from pathlib import Path

import click

from services.recommender.clients import CatalogClient, FeatureClient
from services.recommender.training.evaluating.comparing import summary
from services.recommender.training.evaluating.offline import SERVED, rehearse
from services.recommender.training.evaluating.showing import plot, text_table
from services.recommender.training.interactions import Interactions, Kind
from services.recommender.training.learning.log import Catalogue, Log
from services.recommender.training.learning.windows import WINDOWS
from services.runtime.client import channel
from services.runtime.errors import ServiceError


@click.command()
@click.option("--features-address", default="localhost:50051", show_default=True, envvar="RECOMMENDER_FEATURES_ADDRESS")
@click.option("--recommender-address", default="localhost:50052", show_default=True)
@click.option(
    "--windows",
    default=WINDOWS + 1,
    show_default=True,
    type=click.IntRange(1, WINDOWS + 1),
    help="How many of the newest windows to judge on; each takes a version learned from what was before it.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--plots", type=click.Path(path_type=Path), help="A folder for pictures; needs matplotlib.")
def evaluate(features_address: str, recommender_address: str, windows: int, as_json: bool, plots: Path | None) -> None:
    """Learns from what was before each of the log's newest windows, recommends, and judges by what was taken in it."""
    if plots is not None and find_spec("matplotlib") is None:
        # Said now, not after a minute of learning.
        raise click.ClickException("pictures need matplotlib: pip install '.[plots]' in a checkout")
    try:
        log, catalogue = asyncio.run(_read(features_address, recommender_address))
    except ServiceError as error:
        raise click.ClickException(str(error)) from error
    rehearsal = rehearse(log, catalogue, _progress, windows)
    if rehearsal is None:
        raise click.ClickException("the event log is too short: it must span six days")
    if as_json:
        found = {"days": rehearsal.days, "lineage": rehearsal.lineage, "results": summary(rehearsal.judged, SERVED)}
        click.echo(json.dumps(found))
    else:
        spans = f"the newest {len(rehearsal.lineage)} x {rehearsal.days:g} days"
        click.echo(f"{spans}, full ranking over {len(log.product_ids):,} products")
        click.echo(text_table(rehearsal.judged, SERVED))
    if plots is not None:
        for file in plot(rehearsal.judged, SERVED, plots):
            click.echo(str(file), err=True)


async def _read(features_address: str, recommender_address: str) -> tuple[Log, Catalogue]:
    interactions = Interactions()
    async with channel(features_address) as features, channel(recommender_address) as recommender:
        async for chunk in FeatureClient(features).interactions():
            interactions.add(chunk)
        kinds = {product.id: Kind.of(product) async for product in CatalogClient(recommender).products()}
    return interactions.arrays(kinds)


def _progress(share: float) -> None:
    if sys.stderr.isatty():
        click.echo(f"\rlearning {share:4.0%}", nl=share >= 1, err=True)
