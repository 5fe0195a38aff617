"""Commands about serving configs."""

import json
from typing import TextIO

import click
from google.protobuf.json_format import ParseDict, ParseError
from windowshop.recommender.v1 import serving_config_pb2 as s

from windowshop_client.cli import tables
from windowshop_client.cli.options import Addresses, addressed
from windowshop_client.cli.tables import json_option


@click.group("serving-configs")
def serving_configs() -> None:
    """See and change what each kind of recommendation is made of."""


@serving_configs.command("list")
@json_option
@addressed
def list_configs(addresses: Addresses, as_json: bool) -> None:
    """Show all of them."""
    found = addresses.call(lambda client: client.list_serving_configs())
    if as_json:
        tables.show_json(s.ListServingConfigsResponse(serving_configs=found))
    else:
        tables.show_serving_configs(found)


@serving_configs.command("get")
@click.argument("config_id", metavar="ID")
@addressed
def get_config(addresses: Addresses, config_id: str) -> None:
    """Show one as JSON, as `update` takes it."""
    tables.show_json(addresses.call(lambda client: client.get_serving_config(config_id)))


@serving_configs.command("update")
@click.argument("config_id", metavar="ID")
@click.argument("changes", type=click.File(), metavar="FILE")
@click.option("--create", is_flag=True, help="It need not be there yet.")
@click.option("--validate-only", is_flag=True, help="Check everything, change nothing.")
@json_option
@addressed
def update_config(
    addresses: Addresses, config_id: str, changes: TextIO, create: bool, validate_only: bool, as_json: bool
) -> None:
    """Change the fields that the JSON object in FILE ("-": standard input) names.

    With an etag in it, as `get` shows, only if nobody changed the config since.
    """
    config, fields = _read(changes.read())
    config.id = config_id
    changed = addresses.call(
        lambda client: client.update_serving_config(config, fields, create=create, validate_only=validate_only)
    )
    if as_json:
        tables.show_json(changed)
    elif validate_only:
        click.echo(f"{config_id}: would be {s.ConfigOrigin.Name(changed.origin).lower()}; nothing was changed")
    else:
        click.echo(f"{config_id}: {s.ConfigOrigin.Name(changed.origin).lower()}, etag {changed.etag}")


@serving_configs.command("delete")
@click.argument("config_id", metavar="ID")
@click.option("--etag", default="", help="Only if the config is still in this state.")
@json_option
@addressed
def delete_config(addresses: Addresses, config_id: str, etag: str, as_json: bool) -> None:
    """Take an edit back: a config that came with the service is as it came again, another one is gone."""
    answer = addresses.call(lambda client: client.delete_serving_config(config_id, etag))
    if as_json:
        tables.show_json(answer)
    else:
        click.echo(f"{config_id}: {'as it came again' if answer.HasField('restored') else 'gone'}")


def _read(text: str) -> tuple[s.ServingConfig, list[str]]:
    """The config of a JSON text, and the fields that it names: an empty list among them is one to be emptied."""
    config = s.ServingConfig()
    try:
        given = json.loads(text)
        if not isinstance(given, dict):
            raise ValueError("it must be a JSON object")
        ParseDict(given, config)
    except (ValueError, ParseError) as error:
        raise click.ClickException(f"not a serving config: {error}") from error
    names = {name: field.name for field in s.ServingConfig.DESCRIPTOR.fields for name in (field.name, field.json_name)}
    return config, [names[key] for key in given]
