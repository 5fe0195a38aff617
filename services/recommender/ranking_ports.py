"""What ranking and training need of the outside world; stores and clients offer it, tests stand in for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from services.recommender.domain.candidates import Hit
from services.recommender.domain.learned import Learned
from services.recommender.domain.product_row import ProductRow
from services.recommender.domain.shoppers import Shopper
from services.recommender.domain.signals import Anchor, Card, UserSignals

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class UserReading:
    """A user's signals, and whether the feature service could answer from all of its stores."""

    signals: UserSignals
    complete: bool = True


@dataclass(frozen=True, slots=True)
class ProductReading:
    """Features of products, one element per requested id; NaN and None where there is no value."""

    popularity: Floats
    rating: Floats
    inventory: Sequence[str | None]
    complete: bool = True


@dataclass(frozen=True, slots=True)
class ProductScores:
    """The features that rank products without a user, one element per id; NaN where there is no value."""

    ids: Sequence[str]
    popularity: Floats
    trend: Floats
    rating: Floats


@dataclass(frozen=True, slots=True)
class InteractionChunk:
    """Rows of the event log in columns; times in milliseconds since 1970."""

    user_ids: Sequence[str]
    product_ids: Sequence[str]
    event_types: Sequence[str]
    event_times_ms: Sequence[int]
    # Rows of one event, such as the lines of one order, have one number.
    event_numbers: Sequence[int]
    # What the event came from, empty where it does not say, and the stars of ratings, 0 for other events. Either may be
    # left out where no row has any.
    devices: Sequence[str] = ()
    stars: Sequence[float] = ()


class FeatureReader(Protocol):
    """The feature service on the request path. Raises when it cannot be reached within ``timeout`` seconds."""

    async def user(self, user_id: str, timeout: float) -> UserReading:
        """A user nobody has heard of has empty signals."""
        ...

    async def guest(self, visitor_id: str, timeout: float) -> UserReading:
        """As ``user``, of somebody who is not signed in; a user of the same id is somebody else."""
        ...

    async def products(self, ids: Sequence[str], timeout: float) -> ProductReading: ...


class FeatureExport(Protocol):
    """The feature service off the request path."""

    async def scores(self, ids: Sequence[str]) -> ProductScores:
        """At most 1,000 ids."""
        ...

    def interactions(self) -> AsyncIterator[InteractionChunk]:
        """The whole log's views, carts, orders and ratings of known users, oldest first."""
        ...


class FactRow(NamedTuple):
    """What the store of record says of one available product. A tuple: a page makes hundreds."""

    card: Card
    low_stock: bool
    popularity: float | None
    rating: float | None
    # Largest weighted cosine of texts to an anchor.
    similarity: float | None
    # Of its text, if that was asked for and there is one.
    vector: npt.NDArray[np.float32] | None = None


class AssortmentStore(Protocol):
    """The catalogue as it is kept in memory. Raises UNAVAILABLE when the store is away."""

    async def rows(self, ids: Sequence[str]) -> list[ProductRow]:
        """In no order; unknown products are left out."""
        ...

    async def rows_after(self, after: str, limit: int) -> list[ProductRow]:
        """Up to ``limit`` products with ids above ``after``, ascending."""
        ...

    async def versions_after(self, after: str, limit: int) -> tuple[list[str], list[int]]:
        """The ids of the same, and the ``change_seq`` of each."""
        ...


class Neighbourhood(NamedTuple):
    """Available neighbours by text of one product, with their cosines, in no order; ``vector`` is of its own text."""

    id: str
    vector: npt.NDArray[np.float16]
    ids: Sequence[str]
    cosines: Sequence[float]


class Lists(Protocol):
    """Available products in orders that are the same for everyone. The scores of hits are above 0."""

    async def popular(self, limit: int) -> list[Hit]: ...

    async def popular_in(self, category: str, limit: int) -> list[Hit]:
        """The popular ones of one top-level category."""
        ...

    async def trending(self, limit: int) -> list[Hit]: ...

    async def new_arrivals(self, limit: int) -> list[Hit]:
        """Added within the last 30 days, after the catalogue's first load; newest first."""
        ...


class KeptLists(Lists, Protocol):
    """Lists of which some are in memory."""

    def kept(self, name: str, limit: int) -> list[Hit] | None:
        """One of them by its name here, ``popular_in:CATEGORY`` for example; None where it has to be asked for."""
        ...


class TextSearch(Protocol):
    """Available neighbours by text; score = the anchor's weight x cosine, at most ``limit`` per anchor."""

    def at_once(self, anchors: Sequence[Anchor], limit: int) -> list[Hit] | None:
        """From memory; None where somebody has to be asked."""
        ...

    async def fetch(self, anchors: Sequence[Anchor], limit: int) -> list[Hit]: ...


class NewTexts(Protocol):
    """The products that a version does not know, by text."""

    def near(self, learned: Learned, anchors: Sequence[Anchor], limit: int) -> list[Hit] | None:
        """Available ones near each anchor, scored as of a :class:`TextSearch`; None where memory cannot say."""
        ...


class Retrieval(Protocol):
    """Searches over the catalogue's vectors and scores. Every answer holds available products only."""

    async def semantic(self, anchors: Sequence[Anchor], limit: int) -> list[Hit]:
        """Neighbours by text; score = the anchor's weight x cosine, at most ``limit`` per anchor."""
        ...

    async def neighbours(self, ids: Sequence[str], limit: int) -> list[Neighbourhood]:
        """At most ``limit`` neighbours of each product; those unknown, or without an embedding, are left out."""
        ...

    async def collaborative(self, model_id: str, vector: npt.NDArray[np.float32], limit: int) -> list[Hit]:
        """Largest inner products with a user's vector among all products of a model."""
        ...

    async def anything(self, limit: int, excluded: Sequence[str]) -> list[Hit]:
        """Any products in stock, the popular ones first, then the newest."""
        ...

    async def facts(self, ids: Sequence[str], anchors: Sequence[Anchor], vectors: bool = False) -> list[FactRow]:
        """In no order; products that are unknown or not available are left out. ``vectors``: those of the texts too."""
        ...

    async def cards(self, ids: Sequence[str]) -> list[Card]:
        """Cards of products, available or not; unknown ones are left out."""
        ...

    async def price_bands(self) -> dict[str, Sequence[float]]:
        """By top-level category: evenly spaced quantiles of its prices, from the cheapest to the dearest."""
        ...

    async def showcase_ids(self, overall: int, per_category: int) -> list[str]:
        """Available products by popularity: the best of all, and the best of each top-level category."""
        ...


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A model version; ``state`` is a name of the contract's ModelState."""

    id: str
    state: str
    create_time: datetime
    finish_time: datetime | None
    progress: float
    metrics: Mapping[str, float]
    reason: str
    lineage: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelContents:
    """What a version is made of: the products' vectors (products x 64) for searches, and blobs by name, which serving
    loads into memory."""

    product_ids: Sequence[str]
    products: npt.NDArray[np.float32]
    artifacts: Mapping[str, bytes] = field(default_factory=dict)


class ModelStore(Protocol):
    """Model versions and their vectors."""

    async def begin(self, model_id: str) -> ModelVersion:
        """A new version in state TRAINING; raises ABORTED when any process is training already."""
        ...

    async def end(self) -> None:
        """Lets the next run begin."""
        ...

    async def recover(self) -> None:
        """Marks a run as FAILED that ended with its process, unless another process is training."""
        ...

    async def list(self, limit: int, after: tuple[datetime, str] | None) -> list[ModelVersion]:
        """Newest first, from the one after ``after``."""
        ...

    async def get(self, model_id: str) -> ModelVersion | None: ...

    async def active(self) -> ModelVersion | None: ...

    async def report(self, model_id: str, progress: float) -> None: ...

    async def fail(self, model_id: str, reason: str) -> None: ...

    async def reject(
        self, model_id: str, reason: str, metrics: Mapping[str, float], lineage: Mapping[str, str]
    ) -> None:
        """Keeps what is known of a version in state TRAINING that is worse than what serves, without its contents."""
        ...

    async def store(
        self,
        model_id: str,
        contents: ModelContents,
        metrics: Mapping[str, float],
        lineage: Mapping[str, str] | None = None,
    ) -> None:
        """Stores the contents of a version in state TRAINING, and indexes its vectors."""
        ...

    async def artifacts(self, model_id: str) -> dict[str, bytes]:
        """The blobs of a version by name; empty for one that is not stored (any more)."""
        ...

    async def complete(self, model_id: str) -> None:
        """Makes the version in state TRAINING the active one, and the active one READY, in one transaction."""
        ...

    async def activate(self, model_id: str) -> ModelVersion:
        """In one transaction; raises NOT_FOUND, or FAILED_PRECONDITION when the model is not READY."""
        ...

    async def prune(self) -> None:
        """Forgets the READY versions, and the failed and rejected ones but the newest twenty."""
        ...


@dataclass(frozen=True, slots=True)
class LatelyErased:
    """Who was erased lately, as digests of shoppers under ``salt``."""

    salt: bytes
    digests: frozenset[bytes]


class ErasureStore(Protocol):
    """Who was erased. Every method raises UNAVAILABLE when the store is away."""

    async def erase(self, shopper: Shopper) -> None:
        """From now on, for a while, the shopper is among those erased lately. Nothing else is stored of shoppers."""
        ...

    async def lately(self, seconds: float) -> LatelyErased:
        """Those erased, by any process, in the last ``seconds``."""
        ...


class ScoreStore(Protocol):
    """The copied scores of products. Every method raises UNAVAILABLE when the store is away."""

    async def product_ids(self, after: str, limit: int) -> Sequence[str]:
        """Up to ``limit`` ids of the catalogue above ``after``, ascending."""
        ...

    async def write(self, scores: ProductScores) -> int:
        """Stores what differs; a NaN leaves what is stored. Returns the number of changed products."""
        ...

    async def forget_deleted(self) -> None:
        """Drops the scores of products that left the catalogue."""
        ...
