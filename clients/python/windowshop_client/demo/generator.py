"""The demo shop as a pure function of a seed and an instant."""

from datetime import UTC, datetime

import numpy as np

from windowshop_client.demo.catalogue import build_catalogue
from windowshop_client.demo.model import DemoEvent, DemoLine, DemoProduct, Shop
from windowshop_client.demo.people import USERS, draw_person
from windowshop_client.demo.sessions import SessionWriter

SEED = 7
"""Of the shop that `make run` shows."""


def generate_shop(seed: int = SEED, *, now: datetime) -> Shop:
    """A catalogue of 2,000 products and eight weeks of 500 users' events up to `now`.

    The same seed gives the same products, events and event ids; `now` (aware) only decides when the
    events happened: at habitual hours of the days before it, or minutes before it.
    """
    moment = now.astimezone(UTC).replace(microsecond=0)
    catalogue = build_catalogue(np.random.default_rng([seed, 0]))
    events: list[DemoEvent] = []
    for number in range(1, USERS + 1):
        rng = np.random.default_rng([seed, number])
        person = draw_person(rng, number, catalogue)
        writer = SessionWriter(rng, catalogue, moment, prefix=f"demo-{seed}-{number:03d}")
        events.extend(writer.write(person))
    events.sort(key=lambda event: (event.event_time, event.event_id))
    return Shop(products=catalogue.products, events=tuple(events))


__all__ = ["SEED", "DemoEvent", "DemoLine", "DemoProduct", "Shop", "generate_shop"]
