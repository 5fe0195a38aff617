"""The made-up shop of `bench.synthetic` as messages of the contract."""

from collections.abc import Iterator
from datetime import datetime

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from windowshop.features.v1 import features_pb2 as f
from windowshop.recommender.v1 import catalog_pb2 as c
from windowshop_client.demo.words import LINES

from bench.synthetic import KINDS, SEED, STYLES, History, World, product_id, user_id

_TYPES = ("detail-page-view", "add-to-cart", "purchase-complete")
_SYLLABLES = ("ba", "do", "fe", "gu", "ka", "li", "mo", "nu", "pe", "ra", "so", "ti", "va", "xo", "zi")


def products(world: World, first: int, end: int) -> list[c.Product]:
    """Those from number `first` on and below `end`."""
    return [_product(world, number) for number in range(first, end)]


def price(world: World, number: int) -> float:
    """Around what its leaf costs; the dearer the style."""
    group = int(world.group[number])
    _, leaf, _ = KINDS[group // STYLES]
    spread = (number * 7919 % 101) / 100.0
    return round(leaf.price * (0.6 + 0.5 * (group % STYLES) + 0.4 * spread), 2)


def _product(world: World, number: int) -> c.Product:
    group = int(world.group[number])
    department, leaf, kind = KINDS[group // STYLES]
    own = department.brands[group % STYLES :: STYLES]
    # Drawn by number, so that a product is the same whatever was made before it.
    draw = np.random.default_rng([SEED, number]).integers(0, 1 << 30, 8).tolist()
    trait = leaf.traits[draw[0] % len(leaf.traits)]
    brand, line = own[draw[1] % len(own)], LINES[draw[2] % len(LINES)]
    name = "".join(_SYLLABLES[(draw[3] >> shift) % len(_SYLLABLES)] for shift in (0, 4, 8)).capitalize()
    use, detail = leaf.uses[draw[4] % len(leaf.uses)], leaf.details[draw[5] % len(leaf.details)]
    rated = draw[6] % 12 > 0
    return c.Product(
        id=product_id(number),
        title=f"{brand} {line} {name} {trait} {kind}",
        description=f"{trait} {kind.lower()} {name} for {use}. {detail}",
        categories=[f"{leaf.path.split(' > ')[0]} > {leaf.name} > {kind}"],
        brand=brand,
        price=price(world, number),
        currency_code="EUR",
        available_quantity=int(world.stock[number]),
        rating_average=round(2.5 + draw[6] % 250 / 100.0, 2) if rated else None,
        rating_count=1 + draw[7] % 400 if rated else 0,
    )


def events(world: World, history: History, now: datetime, first: int, end: int) -> Iterator[f.Event]:
    """Events from number `first` on and below `end`, with ids that an interrupted load finds again."""
    newest = now.timestamp()
    rows = slice(first, end)
    columns = (history.age, history.users, history.types, history.first_line, history.line_count)
    values = zip(*(column[rows].tolist() for column in columns), strict=True)
    for number, (age, user, kind, line, count) in enumerate(values, start=first):
        lines = [
            f.ProductDetail(product_id=product_id(product), quantity=quantity, price=price(world, product))
            for product, quantity in zip(
                history.products[line : line + count].tolist(),
                history.quantities[line : line + count].tolist(),
                strict=True,
            )
        ]
        owner = user_id(user)
        yield f.Event(
            event_id=f"h{number}",
            event_type=_TYPES[kind],
            user_id=owner,
            session_id=f"s-{owner}",
            event_time=Timestamp(seconds=int(newest - age)),
            product_details=lines,
        )
