"""Commands that ask the shop, or tell it one thing."""

import click
from windowshop.recommender.v1 import recommendation_pb2 as r

from windowshop_client.cli import tables
from windowshop_client.cli.options import Addresses, addressed
from windowshop_client.cli.tables import json_option


@click.group()
def features() -> None:
    """Read online features."""


@features.command("get")
@click.argument("entity")
@click.argument("entity_id", metavar="ID")
@click.option("--features", "names", default="", metavar="A,B", help="Only these features.")
@json_option
@addressed
def get_features(addresses: Addresses, entity: str, entity_id: str, names: str, as_json: bool) -> None:
    """Show the features of one ENTITY (User, Visitor or Product) with their status and age."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    answer = addresses.call(lambda client: client.get_features(entity, entity_id, wanted))
    if as_json:
        tables.show_json(tables.features_json(answer))
    else:
        tables.show_features(answer)


@click.command()
@click.argument("user")
@click.option(
    "--serving-config", default="", metavar="ID", help="recommended-for-you when left out; also discover, trending, ..."
)
@click.option("--page-size", type=click.IntRange(1, 100), default=10, show_default=True)
@click.option("--product", "products", multiple=True, metavar="ID", help="A product on the page; repeatable.")
@click.option("--device", default="", help="For example mobile.")
@click.option("--page-token", default="", metavar="TOKEN", help="nextPageToken of the page before, from --json.")
@click.option("--explain", is_flag=True, help="Say how each one came about.")
@json_option
@addressed
def recommend(
    addresses: Addresses,
    user: str,
    serving_config: str,
    page_size: int,
    products: tuple[str, ...],
    device: str,
    page_token: str,
    explain: bool,
    as_json: bool,
) -> None:
    """Show the products to recommend to USER, and why."""
    request = r.RecommendRequest(
        user_id=user,
        serving_config=serving_config,
        page_size=page_size,
        product_ids=products,
        device=device,
        page_token=page_token,
        explain=explain,
    )
    _show(addresses.call(lambda client: client.recommend(request)), as_json)


@click.command()
@click.argument("product")
@click.option("--page-size", type=click.IntRange(1, 100), default=10, show_default=True)
@json_option
@addressed
def similar(addresses: Addresses, product: str, page_size: int, as_json: bool) -> None:
    """Show products like PRODUCT."""
    _show(addresses.call(lambda client: client.list_similar_products(product, page_size)), as_json)


@click.command("set-inventory")
@click.argument("product")
@click.argument("quantity", type=click.IntRange(min=0))
@json_option
@addressed
def set_inventory(addresses: Addresses, product: str, quantity: int, as_json: bool) -> None:
    """Set the stock of PRODUCT to QUANTITY, as counted now."""
    answer = addresses.call(lambda client: client.set_inventory(product, quantity))
    if as_json:
        tables.show_json(answer)
    else:
        click.echo(f"{product}: {answer.available_quantity} available{'' if answer.applied else ' (newer stock kept)'}")


@click.command()
@click.argument("visitor")
@click.argument("user")
@json_option
@addressed
def merge(addresses: Addresses, visitor: str, user: str, as_json: bool) -> None:
    """Make what the guest VISITOR did up to now USER's, as at sign-in.

    What was not reached is an error; run it again then.
    """
    answer = addresses.call(lambda client: client.merge_visitor(visitor, user))
    if as_json:
        tables.show_json(answer)
    else:
        erased = f", {answer.erased:,} erased" if answer.erased else ""
        click.echo(f"visitor {visitor} is {user}: {answer.events:,} events, {answer.lines:,} lines{erased}")


@click.command()
@click.argument("user")
@click.option("--visitor", is_flag=True, help="USER is the visitor id of a guest.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@addressed
def erase(addresses: Addresses, user: str, visitor: bool, yes: bool, as_json: bool) -> None:
    """Erase USER everywhere: events, features, what is remembered. It cannot be undone.

    What was not reached is an error; run it again then.
    """
    who = f"visitor {user}" if visitor else user
    if not yes:
        click.confirm(f"Erase {who} and all their events for good?", abort=True, err=True)
    removed = addresses.call(lambda client: client.erase(user, "Visitor" if visitor else "User"))
    if as_json:
        tables.show_json({"removed": removed})
    else:
        click.echo(f"{who}: removed " + ", ".join(f"{kind} {count:,}" for kind, count in removed.items()))


def _show(answer: r.RecommendResponse, as_json: bool) -> None:
    if as_json:
        tables.show_json(answer)
    else:
        tables.show_recommendations(answer)
