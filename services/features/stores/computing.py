"""Features computed by their declared statements over the event log."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from services.features.domain.features import Entity, Feature, FeatureType, Value
from services.features.stores.postgres import Database


class PostgresComputer:
    """Implements FeatureComputer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def check(self, entities: Sequence[Entity]) -> None:
        """Prepares every statement, so that a mistake in one is found at start and not by a reader."""
        async with self._database.connection() as connection:
            for entity in entities:
                statements = [entity.known, entity.active, entity.of_products]
                for sql in [*filter(None, statements), *(f.sql for f in entity.features.values())]:
                    await connection.prepare(sql)

    async def compute(self, feature: Feature, ids: Sequence[str], now_ms: int) -> dict[str, Value]:
        """See FeatureComputer."""
        rows = await self._database.fetch(feature.sql, list(ids), instant(now_ms))
        return {row["id"]: _value(feature, row["value"]) for row in rows if row["value"] is not None}

    async def known(self, entity: Entity, ids: Sequence[str]) -> set[str]:
        """See FeatureComputer."""
        return {row["id"] for row in await self._database.fetch(entity.known, list(ids))}

    async def active(self, entity: Entity, after: str, now_ms: int, limit: int) -> list[str]:
        """See FeatureComputer."""
        return [row["id"] for row in await self._database.fetch(entity.active, after, instant(now_ms), limit)]

    async def of_products(self, entity: Entity, product_ids: Sequence[str], now_ms: int) -> list[str]:
        """See FeatureComputer."""
        if entity.of_products is None:
            return []
        rows = await self._database.fetch(entity.of_products, list(product_ids), instant(now_ms))
        return [row["id"] for row in rows]


def instant(ms: int) -> datetime:
    """Milliseconds since 1970 as PostgreSQL's driver takes them."""
    seconds, rest = divmod(ms, 1_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest * 1_000)


def _value(feature: Feature, raw: Any) -> Value:
    """A column's value as the feature's type; TypeError or ValueError when the statement returns something else."""
    kind = feature.type
    if kind is FeatureType.INT:
        return int(raw)
    if kind is FeatureType.DOUBLE:
        number = float(raw)
        if not math.isfinite(number):
            raise ValueError(f"{feature.name}: its statement returned {number}")
        return number
    if kind is FeatureType.TIMESTAMP:
        instant_ms: int = round(raw.timestamp() * 1_000)
        return instant_ms
    if kind is FeatureType.VECTOR:
        return [float(element) for element in raw]
    if kind is FeatureType.STRING_LIST:
        return [str(element) for element in raw]
    expected = str if kind is FeatureType.STRING else bool
    if not isinstance(raw, expected):
        raise TypeError(f"{feature.name}: its statement returned {type(raw).__name__}, not {kind.value}")
    value: Value = raw
    return value
