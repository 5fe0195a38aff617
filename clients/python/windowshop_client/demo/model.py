"""What the demo shop is made of: plain data, no protobuf, so that tests can compute from it."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class DemoProduct:
    """A product of the catalogue, named as in the contract."""

    id: str
    title: str
    description: str
    categories: tuple[str, ...]
    brand: str
    price: float
    """EUR, whole cents."""
    available_quantity: int
    rating_average: float | None
    """1 to 5; None: nobody has rated it."""
    rating_count: int
    tags: tuple[str, ...] = ()
    currency_code: str = "EUR"


@dataclass(frozen=True, slots=True)
class DemoLine:
    """A product within an event."""

    product_id: str
    quantity: int | None = None
    price: float | None = None
    """EUR for one piece."""


@dataclass(frozen=True, slots=True)
class DemoEvent:
    """A user event, named as in the contract."""

    event_id: str
    event_type: str
    user_id: str
    session_id: str
    event_time: datetime
    device: str
    lines: tuple[DemoLine, ...] = ()
    revenue: float | None = None
    rating: float | None = None
    position: int | None = None
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shop:
    """Everything that is loaded; events in the order of their time."""

    products: tuple[DemoProduct, ...]
    events: tuple[DemoEvent, ...]
