"""Loads the demo shop into a running windowshop through the public import calls."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import grpc
from rich.console import Console
from windowshop.features.v1 import features_pb2 as f
from windowshop.recommender.v1 import catalog_pb2 as c
from windowshop.recommender.v1 import model_pb2 as m

from windowshop_client.arrival import product_arrived
from windowshop_client.client import Client
from windowshop_client.demo.generator import SEED, generate_shop
from windowshop_client.demo.messages import event_message, product_message
from windowshop_client.demo.model import DemoEvent
from windowshop_client.errors import WindowshopError
from windowshop_client.progress import progress, shares
from windowshop_client.training import train

KNOWN_PRODUCT = "prod_100"
KNOWN_USER = "user_001"
CHUNK = 1_000

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Report:
    """What was done; products and events are None when the shop was there already."""

    products: c.ImportProductsResponse | None
    events: f.ImportEventsResponse | None
    model: m.Model
    """The model that serves, or the one that was trained."""


async def load(client: Client, console: Console, *, now: datetime, seed: int = SEED, force: bool = False) -> Report:
    """Imports products and events, then trains a model.

    A shop that is there already is left alone (`force` sends everything again, which adds nothing but
    what is missing); a load that was cut short is completed by the next one. Raises WindowshopError.
    """
    if not force and await is_loaded(client):
        return Report(None, None, await _trained(client, console))
    shop = generate_shop(seed, now=now)
    with progress("products", len(shop.products), console=console) as advance:
        products = await client.import_products(
            _chunks([product_message(product) for product in shop.products]), sent=advance
        )
    await product_arrived(client, shop.products[-1].id)
    events = loading_order(shop.events)
    with progress("events", len(events), console=console) as advance:
        written = await client.import_events(
            (list(map(event_message, chunk)) for chunk in _chunks(events)), sent=advance
        )
    return Report(products, written, await _train(client, console))


async def is_loaded(client: Client) -> bool:
    """Whether a load has come to its end: see loading_order."""
    try:
        await client.get_product(KNOWN_PRODUCT)
        await client.get_features("User", KNOWN_USER, ["user_purchase_count_30d"])
    except WindowshopError as error:
        if error.code is grpc.StatusCode.NOT_FOUND:
            return False
        raise
    return True


def loading_order(events: Sequence[DemoEvent]) -> list[DemoEvent]:
    """Oldest first, but the known user's at the very end: who knows that user has all the others."""
    return sorted(events, key=lambda event: event.user_id == KNOWN_USER)


async def _trained(client: Client, console: Console) -> m.Model:
    serving = [model for model in await client.list_models() if model.state == m.ACTIVE]
    return serving[0] if serving else await _train(client, console)


async def _train(client: Client, console: Console) -> m.Model:
    with shares("training", console=console) as report:
        return await train(client, report=report)


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for first in range(0, len(items), CHUNK):
        yield items[first : first + CHUNK]
