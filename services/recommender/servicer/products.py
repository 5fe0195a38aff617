"""Products between the contract's messages and the domain."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime

from google.protobuf.field_mask_pb2 import FieldMask
from windowshop.recommender.v1 import catalog_pb2

from services.recommender.domain.product import (
    CHANGEABLE_FIELDS,
    DEFAULT_LOW_STOCK_THRESHOLD,
    Problem,
    Product,
    problems,
)
from services.recommender.servicer.messages import named_fields, read_time, write_time
from services.runtime.identifiers import ID_RULE, is_id

# Named in a mask these change nothing: the id says which product, the times are the service's to set.
_IGNORED_FIELDS = frozenset({"id", "create_time", "update_time"})


def read_product(message: catalog_pb2.Product) -> tuple[Product, list[Problem]]:
    """The product of a message and all that is wrong with it; with problems it must not be stored."""
    found: list[Problem] = []
    product = Product(
        id=message.id,
        title=message.title,
        description=message.description,
        categories=tuple(message.categories),
        brand=message.brand,
        price=message.price if message.HasField("price") else None,
        currency_code=message.currency_code,
        available_quantity=message.available_quantity,
        low_stock_threshold=(
            message.low_stock_threshold if message.HasField("low_stock_threshold") else DEFAULT_LOW_STOCK_THRESHOLD
        ),
        rating_average=message.rating_average if message.HasField("rating_average") else None,
        rating_count=message.rating_count,
        tags=tuple(message.tags),
        attributes=dict(message.attributes),
        available_time=_read_optional_time(message, "available_time", "availableTime", found),
        expire_time=_read_optional_time(message, "expire_time", "expireTime", found),
    )
    if not is_id(message.id):
        found.append(Problem("id", "INVALID_ID", ID_RULE))
    return product, found + problems(product)


def write_product(product: Product) -> catalog_pb2.Product:
    """The message of a stored product."""
    return catalog_pb2.Product(
        id=product.id,
        title=product.title,
        description=product.description,
        categories=product.categories,
        brand=product.brand,
        price=product.price,
        currency_code=product.currency_code,
        available_quantity=product.available_quantity,
        low_stock_threshold=product.low_stock_threshold,
        rating_average=product.rating_average,
        rating_count=product.rating_count,
        tags=product.tags,
        attributes=product.attributes,
        available_time=write_time(product.available_time),
        expire_time=write_time(product.expire_time),
        create_time=write_time(product.create_time),
        update_time=write_time(product.update_time),
    )


class ProductMessages:
    """Messages of products that are shown often; never to be changed."""

    def __init__(self, size: int = 20_000) -> None:
        """A message takes about 1 kB."""
        self._size = size
        self._kept: OrderedDict[str, tuple[Product, catalog_pb2.Product]] = OrderedDict()

    def of(self, product: Product) -> catalog_pb2.Product:
        """As :func:`write_product`; made once for each object."""
        kept = self._kept.get(product.id)
        if kept is not None and kept[0] is product:
            self._kept.move_to_end(product.id)
            return kept[1]
        message = write_product(product)
        self._kept[product.id] = (product, message)
        self._kept.move_to_end(product.id)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return message


def fields_to_change(message: catalog_pb2.Product, mask: FieldMask) -> frozenset[str]:
    """The fields of a product that an update names. Raises INVALID_ARGUMENT for a path that is none."""
    return named_fields(message, mask, CHANGEABLE_FIELDS, _IGNORED_FIELDS)


def _read_optional_time(
    message: catalog_pb2.Product, name: str, public_name: str, found: list[Problem]
) -> datetime | None:
    if not message.HasField(name):  # type: ignore[arg-type]  # the stub wants a literal
        return None
    try:
        return read_time(getattr(message, name))
    except ValueError:
        found.append(Problem(public_name, "INVALID_TIMESTAMP", "must be an instant of the years 1 to 9999"))
        return None
