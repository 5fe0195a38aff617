"""Commands that load data."""

from datetime import datetime
from pathlib import Path

import click
from google.protobuf.message import Message
from rich.console import Console
from windowshop.features.v1 import features_pb2 as f
from windowshop.recommender.v1 import catalog_pb2 as c

from windowshop_client.cli import tables
from windowshop_client.cli.options import Addresses, addressed, now_option
from windowshop_client.cli.tables import json_option
from windowshop_client.client import Client
from windowshop_client.ndjson import BadLine, NdjsonFile
from windowshop_client.progress import progress

CHUNK = 500

_file = click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))


@click.group("import")
def import_group() -> None:
    """Load products and events."""


@import_group.command("products")
@_file
@click.option("--full", is_flag=True, help="FILE is the whole catalogue: delete products that it does not name.")
@json_option
@addressed
def import_products(addresses: Addresses, file: Path, full: bool, as_json: bool) -> None:
    """Load products from FILE, one JSON object a line. Bad lines are shown, the good ones kept."""
    source = NdjsonFile(file, c.Product)
    if full:
        _require_whole(source)

    async def work(client: Client) -> c.ImportProductsResponse:
        with progress("products", source.count(), console=Console(stderr=True)) as advance:
            return await client.import_products(source.chunks(CHUNK), full=full, sent=advance)

    answer = addresses.call(work)
    refused = [
        BadLine(source.line_of(e.index), e.reason, f"{e.field} {e.message}".strip()) for e in answer.error_samples
    ]
    _conclude(answer, products_line(answer), source.samples + refused, source.bad + answer.rejected, as_json)


@import_group.command("events")
@_file
@json_option
@addressed
def import_events(addresses: Addresses, file: Path, as_json: bool) -> None:
    """Load events from FILE, one JSON object a line. Sending a file again adds nothing."""
    source = NdjsonFile(file, f.Event)

    async def work(client: Client) -> f.ImportEventsResponse:
        with progress("events", source.count(), console=Console(stderr=True)) as advance:
            return await client.import_events(source.chunks(CHUNK), sent=advance)

    answer = addresses.call(work)
    refused = [
        BadLine(source.line_of(e.index), e.reason, f"{e.field} {e.message}".strip()) for e in answer.rejected_samples
    ]
    _conclude(answer, events_line(answer), source.samples + refused, source.bad + answer.rejected, as_json)


@import_group.command("complete-journey")
@click.option("--limit", type=click.IntRange(min=1), help="Only the newest baskets, and the products in them.")
@click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Leave out what came after this day of the data.")
@click.option(
    "--without", multiple=True, metavar="DEPARTMENT", help="Leave out a department, such as FUEL; repeatable."
)
@click.option(
    "--households",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Leave out products that fewer households bought.",
)
@now_option
@json_option
@addressed
def import_complete_journey(
    addresses: Addresses,
    limit: int | None,
    until: datetime | None,
    without: tuple[str, ...],
    households: int,
    now: datetime,
    as_json: bool,
) -> None:
    """Load the Complete Journey: a year of real grocery baskets, the newest one moved to now.

    Running it again adds nothing. To go on after an interruption, give the --now that it printed.
    """
    # pandas takes half a second to import, which no other command should pay.
    from windowshop_client.complete_journey.data import Choice  # noqa: PLC0415
    from windowshop_client.complete_journey.load import Report, load_journey  # noqa: PLC0415

    choice = Choice(until.date() if until is not None else None, limit, frozenset(without), households)

    async def work(client: Client) -> Report:
        return await load_journey(client, Console(stderr=True), now=now, choice=choice)

    try:
        report = addresses.call(work)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        tables.show_json({"products": tables.as_dict(report.products), "events": tables.as_dict(report.events)})
    else:
        click.echo(products_line(report.products))
        click.echo(events_line(report.events))
    _fail_when(report.products.rejected + report.events.rejected)


def products_line(answer: c.ImportProductsResponse) -> str:
    """What became of the products."""
    deleted = f", {answer.deleted:,} deleted" if answer.deleted else ""
    rejected = f", {answer.rejected:,} rejected" if answer.rejected else ""
    kept = f"{answer.created:,} new, {answer.updated:,} changed, {answer.unchanged:,} unchanged"
    return f"products: {kept}{deleted}{rejected}"


def events_line(answer: f.ImportEventsResponse) -> str:
    """What became of the events."""
    unknown = (
        f", {answer.unknown_products:,} naming products not (yet) in the catalogue" if answer.unknown_products else ""
    )
    rejected = f", {answer.rejected:,} rejected" if answer.rejected else ""
    erased = f", {answer.erased:,} of erased persons left out" if answer.erased else ""
    return f"events: {answer.accepted:,} new, {answer.duplicates:,} there already{erased}{rejected}{unknown}"


def _require_whole(source: NdjsonFile[c.Product]) -> None:
    """A full import deletes what it does not name, so a line that cannot be read must stop it before it starts."""
    products = sum(len(chunk) for chunk in source.chunks(CHUNK))
    if source.bad:
        tables.show_bad_lines(source.samples, source.bad)
        message = f"{source.bad:,} lines cannot be read; a full import would delete their products. Nothing was sent."
        raise click.ClickException(message)
    if not products:
        raise click.ClickException("the file holds no product; a full import would empty the shop. Nothing was sent.")


def _conclude(answer: Message, line: str, bad: list[BadLine], total: int, as_json: bool) -> None:
    if as_json:
        tables.show_json(answer)
    else:
        click.echo(line)
    tables.show_bad_lines(sorted(bad, key=lambda entry: entry.line), total)
    _fail_when(total)


def _fail_when(rejected: int) -> None:
    if rejected:
        raise click.ClickException(f"{rejected:,} entries were not taken; the others were.")
