"""A product of the catalogue: its bounds, its top-level category, and how a partial change is merged into it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

# Stock from 1 up to this counts as low when the product does not say otherwise.
DEFAULT_LOW_STOCK_THRESHOLD = 5

MAX_TITLE = 500
MAX_DESCRIPTION = 10_000
MAX_NAME = 500  # a category path, a brand, a tag
MAX_CATEGORIES = 20
MAX_TAGS = 50
MAX_ATTRIBUTES = 50
MAX_ATTRIBUTE_KEY = 64
MAX_ATTRIBUTE_VALUE = 1_000
MAX_COUNT = 2**31 - 1

CURRENCY_CODE_LENGTH = 3


@dataclass(frozen=True, slots=True)
class Product:
    """A product as the catalogue keeps it; what a sender left out has its default here.

    ``create_time`` and ``update_time`` are None until it is stored.
    """

    id: str
    title: str
    description: str = ""
    categories: tuple[str, ...] = ()
    brand: str = ""
    price: float | None = None
    currency_code: str = ""
    available_quantity: int = 0
    low_stock_threshold: int = DEFAULT_LOW_STOCK_THRESHOLD
    rating_average: float | None = None
    rating_count: int = 0
    tags: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    available_time: datetime | None = None
    expire_time: datetime | None = None
    create_time: datetime | None = None
    update_time: datetime | None = None

    @property
    def top_category(self) -> str:
        """First part of the first category path; empty without categories."""
        return top_category(self.categories[0]) if self.categories else ""


# What a sender may change, by its name in the contract (which is the attribute's name here).
CHANGEABLE_FIELDS = frozenset(
    {
        "title",
        "description",
        "categories",
        "brand",
        "price",
        "currency_code",
        "available_quantity",
        "low_stock_threshold",
        "rating_average",
        "rating_count",
        "tags",
        "attributes",
        "available_time",
        "expire_time",
    }
)


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a product is refused: the field in lowerCamelCase, an UPPER_SNAKE reason, and words for people."""

    field: str
    reason: str
    message: str


def top_category(path: str) -> str:
    """The first part of a path such as ``Home > Kitchen > Knives``."""
    return path.partition(">")[0].strip()


def merge(stored: Product, sent: Product, fields: Collection[str]) -> Product:
    """``stored`` with the named ``fields`` of ``sent``; a field that ``sent`` leaves out gets its default."""
    return replace(stored, **{name: getattr(sent, name) for name in fields})


def problems(product: Product) -> list[Problem]:
    """Everything that is wrong with a product but for its id; empty: it may be stored."""
    return [*_text_problems(product), *_list_problems(product), *_number_problems(product), *_time_problems(product)]


def _text_problems(product: Product) -> Iterator[Problem]:
    if not product.title.strip():
        yield Problem("title", "REQUIRED", "must not be empty")
    yield from _text("title", product.title, MAX_TITLE)
    yield from _text("description", product.description, MAX_DESCRIPTION)
    yield from _text("brand", product.brand, MAX_NAME)
    code = product.currency_code
    if code and not (len(code) == CURRENCY_CODE_LENGTH and code.isascii() and code.isalpha() and code.isupper()):
        yield Problem("currencyCode", "INVALID_CURRENCY_CODE", "must be three capital letters, such as EUR")


def _list_problems(product: Product) -> Iterator[Problem]:
    yield from _size("categories", len(product.categories), MAX_CATEGORIES)
    for number, path in enumerate(product.categories[:MAX_CATEGORIES]):
        name = f"categories[{number}]"
        yield from _text(name, path, MAX_NAME)
        if not top_category(path):
            yield Problem(name, "INVALID_CATEGORY", 'must be a path such as "Home > Kitchen" with a first part')
    yield from _size("tags", len(product.tags), MAX_TAGS)
    for number, tag in enumerate(product.tags[:MAX_TAGS]):
        yield from _text(f"tags[{number}]", tag, MAX_NAME)
    yield from _size("attributes", len(product.attributes), MAX_ATTRIBUTES)
    if len(product.attributes) <= MAX_ATTRIBUTES:
        for key, value in product.attributes.items():
            if not key:
                yield Problem("attributes", "REQUIRED", "a key must not be empty")
            # Keys are the sender's text: named only when they are of a sane size.
            yield from _text("attributes", key, MAX_ATTRIBUTE_KEY)
            yield from _text(f"attributes.{key[:MAX_ATTRIBUTE_KEY]}", value, MAX_ATTRIBUTE_VALUE)


def _number_problems(product: Product) -> Iterator[Problem]:
    if product.price is not None and not (math.isfinite(product.price) and product.price >= 0):
        yield Problem("price", "OUT_OF_RANGE", "must be a finite number >= 0")
    yield from _count("availableQuantity", product.available_quantity)
    yield from _count("lowStockThreshold", product.low_stock_threshold)
    yield from _count("ratingCount", product.rating_count)
    average = product.rating_average
    if average is not None and not 1 <= average <= 5:  # also refuses NaN
        yield Problem("ratingAverage", "OUT_OF_RANGE", "must be from 1 to 5")
    if average is None and product.rating_count > 0:
        yield Problem("ratingAverage", "REQUIRED", "must be given when ratingCount is above 0")


def _time_problems(product: Product) -> Iterator[Problem]:
    start, end = product.available_time, product.expire_time
    if start is not None and end is not None and end <= start:
        yield Problem("expireTime", "OUT_OF_RANGE", "must be after availableTime")


def _text(name: str, value: str, longest: int) -> Iterator[Problem]:
    if len(value) > longest:
        yield Problem(name, "TOO_LONG", f"must have at most {longest} characters")
    if "\0" in value:  # PostgreSQL cannot store it
        yield Problem(name, "INVALID_CHARACTER", "must not contain the character NUL")


def _size(name: str, size: int, largest: int) -> Iterator[Problem]:
    if size > largest:
        yield Problem(name, "TOO_MANY", f"must have at most {largest} entries")


def _count(name: str, value: int) -> Iterator[Problem]:
    if not 0 <= value <= MAX_COUNT:
        yield Problem(name, "OUT_OF_RANGE", f"must be from 0 to {MAX_COUNT}")
