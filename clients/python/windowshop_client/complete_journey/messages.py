"""The Complete Journey as messages of the contract, in chunks for the import calls."""

from collections.abc import Iterator
from datetime import timedelta
from functools import lru_cache

import pandas as pd
from google.protobuf.timestamp_pb2 import Timestamp
from windowshop.features.v1 import features_pb2 as f
from windowshop.recommender.v1 import catalog_pb2 as c

from windowshop_client.complete_journey.data import Baskets
from windowshop_client.complete_journey.titles import readable, size

EVENTS_A_CHUNK = 1_000
"""Some 10,000 lines and 300 kB: one commit each, well under the 4 MB of a gRPC message."""
PRODUCTS_A_CHUNK = 1_000

IN_STOCK = 100
"""The data has no stock; anything well above the low-stock threshold says "there is enough"."""

_name = lru_cache(maxsize=None)(readable)  # a few thousand names for 92,331 products


def product_chunks(products: pd.DataFrame) -> Iterator[list[c.Product]]:
    """The catalogue in chunks of the largest size that ImportProducts takes."""
    columns = [products[name] for name in COLUMNS]
    chunk: list[c.Product] = []
    for row in zip(*(column.astype(object).where(column.notna(), None) for column in columns), strict=True):
        chunk.append(_product(*row))
        if len(chunk) == PRODUCTS_A_CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


COLUMNS = (
    "product_id",
    "manufacturer_id",
    "department",
    "brand",
    "product_category",
    "product_type",
    "package_size",
    "price",
    "available",
)


def event_chunks(baskets: Baskets, shift: timedelta) -> Iterator[list[f.Event]]:
    """One `purchase-complete` a basket, oldest first, with `shift` added to its time."""
    for first in range(0, len(baskets), EVENTS_A_CHUNK):
        yield _events(baskets, first, min(first + EVENTS_A_CHUNK, len(baskets)), round(shift.total_seconds()))


def _events(baskets: Baskets, first: int, last: int, shift: int) -> list[f.Event]:
    # Columns become lists of Python numbers once a chunk: reading them one by one takes five times longer.
    bounds = baskets.start[first : last + 1].tolist()
    lines = slice(bounds[0], bounds[-1])
    details = [
        f.ProductDetail(product_id=str(product), quantity=quantity, price=price)
        for product, quantity, price in zip(
            baskets.product_id[lines].tolist(),
            baskets.quantity[lines].tolist(),
            baskets.price[lines].tolist(),
            strict=True,
        )
    ]
    offset = bounds[0]
    heads = zip(
        baskets.basket_id[first:last].tolist(),
        baskets.household_id[first:last].tolist(),
        baskets.store_id[first:last].tolist(),
        baskets.seconds[first:last].tolist(),
        baskets.revenue[first:last].tolist(),
        bounds[:-1],
        bounds[1:],
        strict=True,
    )
    return [
        f.Event(
            event_id=f"complete-journey-{basket}",
            event_type="purchase-complete",
            user_id=str(household),
            event_time=Timestamp(seconds=seconds + shift),
            product_details=details[start - offset : end - offset],
            revenue=revenue,
            attributes={"storeId": str(store)},
        )
        for basket, household, store, seconds, revenue, start, end in heads
    ]


def _product(
    product_id: int,
    manufacturer_id: int,
    department: str,
    brand: str,
    category: str | None,
    kind: str | None,
    package: str | None,
    price: float | None,
    available: bool,
) -> c.Product:
    path = [_name(level) for level in (department, category, kind) if level is not None]
    own = brand == "Private"
    package_size = size(package) if package is not None else ""
    title = _title(path, own, package_size)
    attributes = {"manufacturerId": str(manufacturer_id), "brandKind": brand}
    if package_size:
        attributes["packageSize"] = package_size
    return c.Product(
        id=str(product_id),
        title=title,
        description=f"{title}. {' / '.join(path)}.",
        categories=[" > ".join(path)],
        brand="Store Brand" if own else f"Maker {manufacturer_id}",
        price=None if price is None else _cents(price),
        currency_code="USD",
        available_quantity=IN_STOCK if available else 0,
        attributes=attributes,
    )


def _title(path: list[str], own: bool, package_size: str) -> str:
    """ "Condensed Soup, 10.75 oz"; the category is added where the type alone says too little."""
    name = path[-1]
    if len(path) > 2 and len(name.split()) == 1 and path[-2].lower() not in name.lower():
        name = f"{path[-2]}: {name}"
    store = "Store Brand " if own else ""
    return f"{store}{name}, {package_size}" if package_size else f"{store}{name}"


def _cents(price: float) -> float:
    """Whole cents; four decimals for what is sold by the drop, such as fuel."""
    return round(price, 2) if price >= 0.05 else round(price, 4)
