"""Adds to the candidates what the scorer reads: facts of the store of record and features, in one call each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from services.recommender.domain.candidates import Candidate
from services.recommender.domain.personal import Personal, collaborative
from services.recommender.domain.prices import percentile
from services.recommender.domain.scoring import Facts, Floats
from services.recommender.pipeline.context import Context, Degraded
from services.recommender.pipeline.deadline import Breaker, CircuitOpenError
from services.recommender.ranking_ports import FactRow, FeatureReader, ProductReading, Retrieval
from services.runtime.logs import get_logger

log = get_logger(__name__)

LOW_STOCK = "low_stock"

Vector = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Hydrated:
    """The candidates that are available at this moment, and their facts, aligned."""

    candidates: tuple[Candidate, ...]
    facts: Facts


@dataclass(frozen=True, slots=True)
class Wants:
    """What a serving config reads of its candidates."""

    # Popularity, rating and stock from the feature service.
    features: bool
    # By what the page is made diverse: text, model, or nothing.
    vectors: str = ""


class Hydrator:
    """Reads the store and the feature service side by side."""

    def __init__(
        self,
        retrieval: Retrieval,
        features: FeatureReader,
        feature_breaker: Breaker,
        timeout: float,
    ) -> None:
        self._retrieval = retrieval
        self._features = features
        self._feature_breaker = feature_breaker
        self._timeout = timeout

    async def hydrate(
        self,
        candidates: Sequence[Candidate],
        context: Context,
        bands: Mapping[str, Sequence[float]],
        wants: Wants,
        degraded: Degraded,
    ) -> Hydrated:
        """Raises when the store does not answer. Without the feature service, the copied scores stand in."""
        ids = [candidate.id for candidate in candidates]
        reading = asyncio.create_task(self._product_features(ids if wants.features else (), degraded))
        try:
            rows = await self._retrieval.facts(ids, context.anchors, wants.vectors == "text")
            features = await reading
        finally:
            reading.cancel()
        return _align(candidates, {row.card.id: row for row in rows}, features, bands, context.person, wants)

    async def _product_features(self, ids: Sequence[str], degraded: Degraded) -> ProductReading | None:
        if not ids:
            return None
        try:
            reading = await self._feature_breaker.call(
                self._timeout, lambda: self._features.products(ids, self._timeout)
            )
        except Exception as error:
            degraded.add("features")
            if not isinstance(error, TimeoutError | CircuitOpenError):
                log.debug("features_failed", error=type(error).__name__)
            return None
        if not reading.complete:
            degraded.add("features")
        return reading


def _align(
    candidates: Sequence[Candidate],
    rows: Mapping[str, FactRow],
    features: ProductReading | None,
    bands: Mapping[str, Sequence[float]],
    person: Personal | None,
    wants: Wants,
) -> Hydrated:
    places = [place for place, candidate in enumerate(candidates) if candidate.id in rows]
    kept = tuple(candidates[place] for place in places)
    own = [rows[candidate.id] for candidate in kept]
    known = None if person is None else person.learned.find([candidate.id for candidate in kept])
    popularity, rating = _column(row.popularity for row in own), _column(row.rating for row in own)
    low_stock = np.array([row.low_stock for row in own], dtype=np.bool_)
    if features is not None:
        popularity = _prefer(features.popularity[places], popularity)
        rating = _prefer(features.rating[places], rating)
        low_stock |= np.array([features.inventory[place] == LOW_STOCK for place in places], dtype=np.bool_)
    vectors = _stacked([row.vector for row in own]) if wants.vectors == "text" else None
    if wants.vectors == "model" and person is not None and known is not None:
        vectors = person.learned.vectors[known]
    facts = Facts(
        top_categories=[row.card.top_category for row in own],
        brands=[row.card.brand for row in own],
        price_percentile=_column(percentile(row.card.top_category, row.card.price, bands) for row in own),
        similarity=_column(row.similarity for row in own),
        collaborative=np.full(len(own), np.nan) if person is None or known is None else collaborative(person, known),
        popularity=popularity,
        rating=rating,
        low_stock=low_stock,
        vectors=None if vectors is None else _directions(vectors),
        places=known,
    )
    return Hydrated(kept, facts)


def _stacked(vectors: Sequence[Vector | None]) -> Vector | None:
    """One row each, zeros where there is none; None when there is none at all."""
    size = next((len(vector) for vector in vectors if vector is not None), 0)
    if not size:
        return None
    nothing = np.zeros(size, dtype=np.float32)
    return np.stack([nothing if vector is None else vector for vector in vectors])


def _directions(vectors: Vector) -> Vector:
    """Of length 1 each; zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0.0] = 1.0
    directions: Vector = (vectors / lengths).astype(np.float32)
    return directions


def _column(values: Iterable[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _prefer(values: Floats, otherwise: Floats) -> Floats:
    return np.where(np.isnan(values), otherwise, values)
