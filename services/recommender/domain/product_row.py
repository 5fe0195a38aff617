"""What is read of a product into memory, as one row, and what tells two rows of it apart."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.recommender.domain.product import Product
from services.recommender.domain.text import text_digest


class ProductRow(NamedTuple):
    """A product as the store of record has it; times are seconds since 1970. A tuple: the catalogue is read by
    thousands."""

    id: str
    title: str
    top_category: str
    brand: str
    price: float | None
    available_quantity: int
    low_stock_threshold: int
    available_time: float | None
    expire_time: float | None
    popularity: float | None
    # None as well where the copy is not what would be written: of another category than the product's.
    trend: float | None
    rating: float | None
    # Changes when, and only when, the text's embedding does.
    text_digest: bytes
    # Of length 1 or all zeros; None where the text is not embedded yet.
    vector: npt.NDArray[np.float16] | None
    # Of the change that made it what it is.
    change_seq: int = 0


class Digests(NamedTuple):
    """Of what a row says: of the product but for its price and stock, of its times, and of its price and category."""

    told: int
    times: int
    priced: int

    @classmethod
    def of(cls, row: ProductRow) -> Digests:
        return cls(
            hash((row.top_category, row.title, row.brand, row.low_stock_threshold)),
            hash((row.available_time, row.expire_time)),
            hash((row.top_category, row.price)),
        )


def row_of(product: Product, change_seq: int, available_quantity: int) -> ProductRow:
    """The row of a product that this change made what it is, without the scores and the vector."""
    return ProductRow(
        product.id,
        product.title,
        product.top_category,
        product.brand,
        product.price,
        available_quantity,
        product.low_stock_threshold,
        _seconds(product.available_time),
        _seconds(product.expire_time),
        None,
        None,
        None,
        text_digest(product),
        None,
        change_seq,
    )


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
