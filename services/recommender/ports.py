"""What the recommender needs from the outside, as protocols; implemented in stores, clients and embeddings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from services.recommender.domain.change import ProductChange, Stored
from services.recommender.domain.product import Product

# Gives the present moment, with time zone.
Clock = Callable[[], datetime]


class Embedder(Protocol):
    """Turns texts into vectors that are near each other when the texts mean similar things."""

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """One row of 256 per text, of length 1 (all zeros for a text without a known word)."""
        ...


@dataclass(frozen=True, slots=True)
class UpsertOutcome:
    """How many products of a batch were new, different, or stored like that already; and what became of each."""

    created: int
    updated: int
    unchanged: int
    stored: Mapping[str, Stored] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class StockOutcome:
    """The stock after a call to set it, and whether the call changed it (an older count does not)."""

    available_quantity: int
    applied: bool


class CurrentProduct(NamedTuple):
    """A product that may be recommended, and the change that made it what it is; ``product`` is None where that change
    was known."""

    id: str
    change_seq: int
    product: Product | None


class CatalogStore(Protocol):
    """The store of record for products. Every method raises UNAVAILABLE when it is away."""

    async def get(self, product_id: str) -> Product | None:
        """The product, available or not."""
        ...

    async def page(self, after: str, limit: int) -> list[Product]:
        """Up to ``limit`` products with ids above ``after``, ascending."""
        ...

    async def available(self, ids: Sequence[str], now: datetime) -> list[Product]:
        """Those of ``ids`` that may be recommended at ``now``, in that order. Sees every acknowledged write."""
        ...

    async def current(self, ids: Sequence[str], known: Sequence[int], now: datetime) -> list[CurrentProduct]:
        """As ``available``, in no order; without the details of those whose ``change_seq`` is that of ``known``, 0 for
        unknown ones."""
        ...

    async def upsert(self, products: Sequence[Product], now: datetime, counted: datetime) -> UpsertOutcome:
        """Stores products with distinct ids, in one transaction; equal ones are no change.

        Their stock was counted at ``counted``, does not replace a newer count, and is not replaced by an older one.
        """
        ...

    async def change(
        self, product_id: str, decide: Callable[[Product | None], tuple[Product, bool]], now: datetime
    ) -> tuple[Product, int]:
        """Stores what ``decide`` makes of the stored product, with no other write in between; returns it, and the
        ``change_seq`` that it has now.

        ``decide`` returns the product and whether its stock was counted anew; what it raises is passed on.
        """
        ...

    async def delete(self, product_id: str) -> bool:
        """Whether it was there."""
        ...

    async def delete_others(self, named: Collection[str], created_until: datetime) -> int:
        """Deletes what is not ``named`` and was there at ``created_until``; returns how many."""
        ...

    async def set_inventory(
        self, product_id: str, quantity: int, counted: datetime, now: datetime
    ) -> StockOutcome | None:
        """Sets the stock unless a newer count is known; None: there is no such product."""
        ...


@dataclass(frozen=True, slots=True)
class TextEmbedding:
    """The vector (256, of length 1) of the text with this digest."""

    text_digest: bytes
    vector: NDArray[np.float32]


class EmbeddingStore(Protocol):
    """Where text embeddings are kept and searched; products with the same text share one."""

    async def missing(self, ids: Sequence[str]) -> list[Product]:
        """Those of ``ids`` whose present text has no embedding."""
        ...

    async def any_missing(self, limit: int, after: int = 0) -> list[Product]:
        """Up to ``limit`` products, whichever, whose present text has no embedding, with a ``change_seq`` above
        ``after``."""
        ...

    async def put(self, embeddings: Sequence[TextEmbedding]) -> None:
        """Stores embeddings; one that is there already stays."""
        ...

    async def forget_unused(self) -> None:
        """Removes the embeddings of texts that no product has any more."""
        ...


class ChangeLog(Protocol):
    """The catalogue's changes in the order of their commits. Raises UNAVAILABLE when the store is away."""

    async def position(self) -> tuple[str, int]:
        """The name of this catalogue and its newest ``change_seq``."""
        ...

    async def changes(self, after: int, limit: int) -> list[ProductChange]:
        """Up to ``limit`` changes with a ``change_seq`` above ``after``, ascending; no later commit is below them."""
        ...

    async def wait_past(self, change_seq: int, seconds: float) -> bool:
        """Returns True as soon as there is a newer change than ``change_seq``, False after ``seconds``."""
        ...
