"""The catalogue's change stream, and where its data is kept beside the log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import NamedTuple, Protocol


@dataclass(frozen=True, slots=True)
class Signal:
    """The catalogue data of a product; ``deleted``: it is no longer there."""

    product_id: str
    deleted: bool
    top_category: str | None
    price: float | None
    available_quantity: int
    low_stock_threshold: int
    rating_average: float | None
    rating_count: int
    brand: str | None = None


@dataclass(frozen=True, slots=True)
class SignalPage:
    """A message of the catalogue's change stream."""

    signals: Sequence[Signal]
    cursor: str
    restart: bool
    caught_up: bool


class SignalSource(Protocol):
    """The catalogue's change stream."""

    def follow(self, cursor: str) -> AsyncIterator[SignalPage]:
        """Pages from a cursor on; ends or raises SourceDownError when the other side goes."""


class SourceDownError(Exception):
    """The other side of the change stream is gone; following again from the last cursor continues it."""


class Moved(NamedTuple):
    """Categories that gained, lost or repriced a product; products that came, went, lost their price, or changed their
    category or brand.
    """

    categories: set[str]
    products: set[str]


class SignalStore(Protocol):
    """Our copy of the catalogue data. Raises StoreDownError."""

    async def cursor(self) -> str:
        """Where the copy stands."""

    def sole(self) -> AbstractAsyncContextManager[bool]:
        """Whether the caller is the only one to follow the stream; it stays so for the block."""

    async def apply(self, page: SignalPage) -> Moved:
        """Stores a page and its cursor in one transaction; returns what that means for ranks, categories and brands."""

    async def rank_prices(self, categories: Sequence[str]) -> list[str]:
        """Computes the price ranks of categories anew; returns, and notes as moved, the products whose rank changed."""

    async def categories(self) -> list[str]:
        """All categories of the copy."""

    async def unannounced(self, after: int, limit: int) -> dict[str, int]:
        """Products that changed or went, and whose features are not surely queued: those of changes after ``after``.

        With the number of the last change of each, ascending: in the order in which changes are committed.
        """

    async def announced(self, changes: Mapping[str, int]) -> None:
        """Forgets these; one that has changed again stays."""

    async def moved(self, limit: int) -> dict[str, int]:
        """Products that moved, see Moved and ``rank_prices``, and whose users are not surely marked; likewise."""

    async def marked(self, changes: Mapping[str, int]) -> None:
        """Forgets these; one that has moved again stays."""
