"""Adds to the candidates what the scorer reads: facts, in memory where they are, and features where they weigh."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.recommender.domain.assortment import Places
from services.recommender.domain.candidates import Pool
from services.recommender.domain.learned import Learned
from services.recommender.domain.personal import collaborative
from services.recommender.domain.scoring import Facts, Floats
from services.recommender.domain.signals import Anchor
from services.recommender.domain.whereabouts import Whereabouts
from services.recommender.pipeline.columns import Columns
from services.recommender.pipeline.context import Context, Degraded
from services.recommender.pipeline.deadline import Breaker, CircuitOpenError, within
from services.recommender.pipeline.mirror import Mirror
from services.recommender.ranking_ports import FactRow, FeatureReader, ProductReading, Retrieval
from services.runtime.logs import get_logger

log = get_logger(__name__)

LOW_STOCK = "low_stock"

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Hydrated:
    """The candidates that are available at this moment, their places in the assortment, and their facts, aligned."""

    candidates: Pool
    places: Places
    facts: Facts


@dataclass(frozen=True, slots=True)
class Wants:
    """What a serving config reads of its candidates, for this shopper."""

    # Popularity, rating and stock from the feature service.
    features: bool
    # Likeness of texts to the anchors.
    similarity: bool = True
    prices: bool = True
    # Inner products with the shopper's vector.
    collaborative: bool = True
    # By what the page is made diverse: text, model, or nothing.
    vectors: str = ""

    @property
    def texts(self) -> bool:
        return self.similarity or self.vectors == "text"


class Hydrator:
    """Reads the assortment in memory; asks the store for what is not there, and beside that the feature service."""

    def __init__(
        self,
        retrieval: Retrieval,
        mirror: Mirror,
        features: FeatureReader,
        feature_breaker: Breaker,
        timeout: float,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._retrieval = retrieval
        self._mirror = mirror
        self._features = features
        self._feature_breaker = feature_breaker
        self._timeout = timeout
        self._now = now
        # Of the version that the last page was made with.
        self._where: Whereabouts | None = None

    async def hydrate(
        self,
        candidates: Pool,
        context: Context,
        bands: Mapping[str, Sequence[float]],
        wants: Wants,
        degraded: Degraded,
    ) -> Hydrated:
        """Raises when the store does not answer. Without the feature service, the copied scores stand in."""
        ids = candidates.ids
        anchors = context.anchors if wants.similarity else ()
        missing = self._missing(ids, anchors, wants)
        rows: Sequence[FactRow] = ()
        features: ProductReading | None = None
        if wants.features and ids:
            reading = asyncio.create_task(self._product_features(ids, degraded))
            try:
                if missing:
                    rows = await self._facts(missing, anchors, wants)
                features = await reading
            finally:
                reading.cancel()
        elif missing:
            rows = await self._facts(missing, anchors, wants)
        return self._align(candidates, rows, missing, features, context, bands, wants)

    async def _facts(self, ids: Sequence[str], anchors: Sequence[Anchor], wants: Wants) -> Sequence[FactRow]:
        return await within(None, self._retrieval.facts(ids, anchors, wants.vectors == "text"))

    def _missing(self, ids: Sequence[str], anchors: Sequence[Anchor], wants: Wants) -> list[str]:
        """Those of which the store has to be asked: all where the likeness to an anchor can be found only there."""
        mirror = self._mirror
        near = [anchor.id for anchor in anchors]
        if mirror.unsure(near) or self._lacking(near):
            return list(ids)
        missing = mirror.unsure(ids)
        return missing + self._lacking(ids) if wants.texts else missing

    def _lacking(self, ids: Sequence[str]) -> list[str]:
        """Those whose texts did not fit into memory."""
        assortment = self._mirror.assortment
        if not assortment.crowded:
            return []
        places = assortment.find(ids)
        lacking = assortment.lacks_vector[places] & (places >= 0)
        return [ids[row] for row in np.flatnonzero(lacking).tolist()]

    async def _product_features(self, ids: Sequence[str], degraded: Degraded) -> ProductReading | None:
        try:
            reading = await self._feature_breaker.watch(lambda: self._features.products(ids, self._timeout))
        except Exception as error:
            degraded.add("features")
            if not isinstance(error, TimeoutError | CircuitOpenError):
                log.debug("features_failed", error=type(error).__name__)
            return None
        if not reading.complete:
            degraded.add("features")
        return reading

    def _align(
        self,
        candidates: Pool,
        rows: Sequence[FactRow],
        asked: Sequence[str],
        features: ProductReading | None,
        context: Context,
        bands: Mapping[str, Sequence[float]],
        wants: Wants,
    ) -> Hydrated:
        """What the store said of those ``asked``, what is in memory of the others."""
        places = self._places(candidates, context.version.learned)
        columns = Columns(self._mirror.assortment, candidates.ids, places, asked, rows, self._now())
        kept = columns.kept
        person = context.person
        own = candidates.take(kept)
        known = None if person is None else own.places
        popularity, rating, low_stock = columns.popularity(), columns.rating(), columns.low_stock()
        if features is not None:
            popularity = _prefer(features.popularity[kept], popularity)
            rating = _prefer(features.rating[kept], rating)
            low_stock |= np.array([features.inventory[row] == LOW_STOCK for row in kept.tolist()], dtype=np.bool_)
        vectors = columns.vectors() if wants.vectors == "text" else None
        if wants.vectors == "model" and person is not None and known is not None:
            vectors = person.learned.vectors[known]
        nothing = np.full(len(own), np.nan)
        facts = Facts(
            top_categories=columns.categories(),
            brands=columns.brands(),
            price_percentile=columns.price_percentile(bands) if wants.prices else nothing,
            similarity=columns.similarity(context.anchors) if wants.similarity else nothing,
            collaborative=collaborative(person, known)
            if wants.collaborative and person and known is not None
            else nothing,
            popularity=popularity,
            rating=rating,
            low_stock=low_stock,
            vectors=None if vectors is None else _directions(vectors),
            places=known,
        )
        return Hydrated(own, columns.places, facts)

    def _places(self, candidates: Pool, learned: Learned | None) -> Places:
        """In the assortment."""
        assortment, where = self._mirror.assortment, self._where
        if learned is None:
            return assortment.find(candidates.ids)
        if where is None or where.learned is not learned or where.assortment is not assortment:
            where = self._where = Whereabouts(learned, assortment)
        return where.find(candidates.ids, candidates.places)


def _directions(vectors: Vector) -> Vector:
    """Of length 1 each; zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0.0] = 1.0
    directions: Vector = (vectors / lengths).astype(np.float32)
    return directions


def _prefer(values: Floats, otherwise: Floats) -> Floats:
    return np.where(np.isnan(values), otherwise, values)
