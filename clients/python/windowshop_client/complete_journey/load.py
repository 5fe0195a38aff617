"""Imports the Complete Journey through the public calls."""

from dataclasses import dataclass
from datetime import datetime

from rich.console import Console
from windowshop.features.v1 import features_pb2 as f
from windowshop.recommender.v1 import catalog_pb2 as c

from windowshop_client.arrival import product_arrived
from windowshop_client.client import Client
from windowshop_client.complete_journey.data import EVERYTHING, Choice, read_journey, time_shift
from windowshop_client.complete_journey.messages import event_chunks, product_chunks
from windowshop_client.progress import progress


@dataclass(frozen=True, slots=True)
class Report:
    """What the servers said."""

    products: c.ImportProductsResponse
    events: f.ImportEventsResponse


async def load_journey(client: Client, console: Console, *, now: datetime, choice: Choice = EVERYTHING) -> Report:
    """Products first, then one event a basket, the newest at `now`.

    Event ids come from basket ids, so a second import changes nothing: neither events, which keep the
    times of the first import, nor products, which do not depend on `now`. An import that was cut short is
    completed by another one with the same `now`, which is shown for that: with a later one, the baskets
    that were missing would move away from those that were not. Raises WindowshopError, and ValueError
    when `choice` leaves no data.
    """
    console.print("reading the Complete Journey ...", highlight=False)
    journey = read_journey(choice)
    shift = time_shift(journey.baskets.newest, now)
    newest = (journey.baskets.newest + shift).strftime("%Y-%m-%dT%H:%M:%SZ")
    console.print(
        f"the newest basket happens at {newest}; if this is interrupted, go on with --now {newest}",
        highlight=False,
        soft_wrap=True,
    )
    with progress("products", len(journey.products), console=console) as advance:
        products = await client.import_products(product_chunks(journey.products), sent=advance)
    console.print("waiting until the feature service knows the products ...", highlight=False)
    await product_arrived(client, str(journey.products["product_id"].iloc[-1]))
    with progress("baskets", len(journey.baskets), console=console) as advance:
        events = await client.import_events(event_chunks(journey.baskets, shift), sent=advance)
    return Report(products, events)
