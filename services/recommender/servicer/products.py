"""Products between the contract's messages and the domain."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from windowshop.recommender.v1 import catalog_pb2

from services.recommender.domain.product import (
    CHANGEABLE_FIELDS,
    DEFAULT_LOW_STOCK_THRESHOLD,
    Problem,
    Product,
    problems,
)
from services.runtime.errors import FieldViolation, ServiceError, invalid_argument, invalid_field
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
        available_time=_write_time(product.available_time),
        expire_time=_write_time(product.expire_time),
        create_time=_write_time(product.create_time),
        update_time=_write_time(product.update_time),
    )


def fields_to_change(message: catalog_pb2.Product, mask: FieldMask) -> frozenset[str]:
    """The fields that an update names: those of the mask, without one those that are set; ``*`` means all.

    Raises INVALID_ARGUMENT for a path that is no field of a product.
    """
    paths = set(mask.paths) or {descriptor.name for descriptor, _ in message.ListFields()}
    if paths == {"*"}:
        return CHANGEABLE_FIELDS
    unknown = sorted(paths - CHANGEABLE_FIELDS - _IGNORED_FIELDS)
    if unknown:
        # The path is the sender's text: cut, so that an error stays an error message.
        raise invalid_field("updateMask", f"no field {unknown[0][:100]!r} to change", reason="INVALID_UPDATE_MASK")
    return frozenset(paths & CHANGEABLE_FIELDS)


def refuse(found: Iterable[Problem]) -> None:
    """Raises INVALID_ARGUMENT with every problem, under the reason of the first; returns when there is none."""
    listed = list(found)
    if listed:
        raise _invalid(listed)


def read_time(message: Timestamp) -> datetime:
    """The instant, to the microsecond; raises ValueError outside of the years 1 to 9999."""
    try:
        return message.ToDatetime(tzinfo=UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from error


def _invalid(found: list[Problem]) -> ServiceError:
    first = found[0]
    violations = [FieldViolation(problem.field, problem.message) for problem in found]
    return invalid_argument(f"{first.field}: {first.message}", *violations, reason=first.reason)


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


def _write_time(value: datetime | None) -> Timestamp | None:
    if value is None:
        return None
    message = Timestamp()
    message.FromDatetime(value)
    return message
