"""The levels of features that are relative to the greatest of all, in the event log's database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from services.features.domain.features import Feature
from services.features.level_ports import Greatest
from services.features.stores.postgres import Database

# In the order of ids: two who put the same wait for each other one way. What differs by less than this is the same sum
# of doubles, added up in another order.
# Returns the greatest of all: of those that are put, and of the others as they were before.
_PUT = """
WITH put AS (
  INSERT INTO entity_levels AS l (feature, id, level, computed_ms)
  SELECT $1, id, level, $4 FROM unnest($2::text[], $3::float8[]) AS n (id, level) ORDER BY id COLLATE "C"
  ON CONFLICT (feature, id) DO UPDATE SET
    level = CASE WHEN abs(l.level - excluded.level) < 1e-11 THEN l.level ELSE excluded.level END,
    computed_ms = excluded.computed_ms
  WHERE excluded.computed_ms >= l.computed_ms
  RETURNING id, level
)
SELECT greatest((SELECT max(level) FROM put), (
  SELECT level FROM entity_levels l
  WHERE feature = $1 AND level IS NOT NULL AND NOT EXISTS (SELECT FROM put WHERE put.id = l.id)
  ORDER BY level DESC LIMIT 1
))
"""
# What has no evidence and never had needs no row.
_WITHOUT = """
WITH there AS (
  SELECT id FROM entity_levels WHERE feature = $1 AND id = ANY ($2) AND computed_ms <= $3 ORDER BY id FOR UPDATE
)
UPDATE entity_levels l SET level = NULL, computed_ms = $3 FROM there WHERE l.feature = $1 AND l.id = there.id
"""
# Events happen before they come. Those that are on their way for more than a moment are late: they change the past.
_GREATEST = """
SELECT EXISTS (SELECT FROM complete_levels WHERE feature = $1) AS complete,
       top.level,
       coalesce(top.computed_ms, 0) AS computed_ms,
       (SELECT floor(date_part('epoch', min(greatest(first_event_time, ingest_time - interval '2 seconds'))) * 1000)
        FROM ingests WHERE ingest_xid >= $2::bigint::text::xid8)::bigint AS since_ms
FROM (VALUES (1)) AS one LEFT JOIN (
  SELECT level, computed_ms FROM entity_levels
  WHERE feature = $1 AND level IS NOT NULL
  ORDER BY level DESC LIMIT 1
) AS top ON true
"""
_COMPLETE = "INSERT INTO complete_levels (feature) VALUES ($1) ON CONFLICT DO NOTHING"
_LISTED = """
SELECT id FROM entity_levels
WHERE feature = $1 AND id > $2 AND computed_ms < $3 AND level IS NOT NULL
ORDER BY id LIMIT $4
"""
_CLEAN = (
    "DELETE FROM complete_levels WHERE feature <> ALL ($1::bigint[])",
    "DELETE FROM entity_levels WHERE feature <> ALL ($1::bigint[]) OR (level IS NULL AND computed_ms < $2)",
)


class PostgresLevels:
    """Implements Levels."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, feature: Feature, levels: Mapping[str, float | None], computed_ms: int) -> float | None:
        """See Levels."""
        known = {i: level for i, level in levels.items() if level is not None}
        gone = [i for i, level in levels.items() if level is None]
        if gone:
            await self._database.fetch(_WITHOUT, feature.number, gone, computed_ms)
        rows = await self._database.fetch_planned(_PUT, feature.number, list(known), list(known.values()), computed_ms)
        greatest: float | None = rows[0][0]
        return greatest

    async def greatest(self, feature: Feature, cursor: int | None) -> Greatest:
        """See Levels."""
        row = (await self._database.fetch_planned(_GREATEST, feature.number, cursor))[0]
        return Greatest(*row)

    async def complete(self, feature: Feature) -> None:
        """See Levels."""
        await self._database.fetch(_COMPLETE, feature.number)

    async def listed(self, feature: Feature, after: str, before_ms: int, limit: int) -> list[str]:
        """See Levels."""
        return [row["id"] for row in await self._database.fetch(_LISTED, feature.number, after, before_ms, limit)]

    async def clean(self, features: Sequence[Feature], before_ms: int) -> None:
        """See Levels."""
        numbers = [feature.number for feature in features]
        await self._database.fetch(_CLEAN[0], numbers)
        await self._database.fetch(_CLEAN[1], numbers, before_ms)
