"""What the declared statements give at any instant over the log and the catalogue as they stood at any other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import asyncpg

from services.features.domain.features import Feature, Value
from services.features.stores.asking import instant
from services.features.stores.computing import PostgresComputer
from tests.support import popularity

# The statements name events, event_lines and product_signals; on this connection these are views of what there was at
# the instant `truth.as_of` (by the test's clock, which also stamps what arrives).
_SCHEMA = """
CREATE SCHEMA truth;
CREATE TABLE truth.clock (now timestamptz NOT NULL);
INSERT INTO truth.clock VALUES ('epoch');
CREATE FUNCTION truth.now() RETURNS timestamptz LANGUAGE sql STABLE RETURN (SELECT now FROM truth.clock);
CREATE FUNCTION truth.as_of() RETURNS timestamptz LANGUAGE sql STABLE
  RETURN current_setting('truth.as_of')::timestamptz;
ALTER TABLE public.events ALTER COLUMN ingest_time SET DEFAULT truth.now();
ALTER TABLE public.ingests ALTER COLUMN ingest_time SET DEFAULT truth.now();

CREATE VIEW truth.events AS SELECT * FROM public.events WHERE ingest_time <= truth.as_of();
CREATE VIEW truth.event_lines AS SELECT * FROM public.event_lines WHERE seq IN (SELECT seq FROM truth.events);

CREATE TABLE truth.signals (
  version bigint GENERATED ALWAYS AS IDENTITY, changed timestamptz NOT NULL, gone boolean NOT NULL,
  LIKE public.product_signals
);
CREATE FUNCTION truth.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO truth.signals OVERRIDING USER VALUE
  SELECT 0, truth.now(), TG_OP = 'DELETE', (CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END).*;
  RETURN NULL;
END $$;
CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON public.product_signals
  FOR EACH ROW EXECUTE FUNCTION truth.note();
CREATE VIEW truth.product_signals AS
SELECT * FROM (
  SELECT DISTINCT ON (product_id) * FROM truth.signals WHERE changed <= truth.as_of() ORDER BY product_id, version DESC
) newest WHERE NOT gone;
"""

_RESET = """
TRUNCATE public.events, public.event_lines, public.event_ids, public.subjects, public.ingests, public.product_signals,
  public.unannounced_products, public.moved_products, public.entity_levels, public.complete_levels, truth.signals;
UPDATE public.product_signals_cursor SET cursor = '', generation = 0;
"""

_LOG = """
SELECT e.event_id, e.event_type::text, e.subject_id,
       ARRAY(SELECT product_id FROM public.event_lines l WHERE l.seq = e.seq),
       ceil(date_part('epoch', e.event_time) * 1000)::bigint,
       round(date_part('epoch', e.ingest_time) * 1000)::bigint
FROM public.events e
"""


class Stamped(NamedTuple):
    """An event of the log, as far as it matters when it counts."""

    event_id: str
    event_type: str
    subject_id: str
    products: tuple[str, ...]
    event_ms: int
    ingest_ms: int


class Truth:
    """Asks the same database on a connection of its own."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()
        self._computer = PostgresComputer(self)  # type: ignore[arg-type]  # it needs no more of a database than fetch

    @classmethod
    @asynccontextmanager
    async def opened(cls, dsn: str) -> AsyncIterator[Truth]:
        connection = await asyncpg.connect(
            dsn, server_settings={"search_path": "truth, public", "timezone": "UTC", "jit": "off"}
        )
        try:
            await connection.execute(_SCHEMA)
            yield cls(connection)
        finally:
            await connection.close()

    async def reset(self, now_ms: int) -> None:
        await self._connection.execute(_RESET)
        await self.at(now_ms)

    async def at(self, now_ms: int) -> None:
        """The instant by which the database stamps what comes next."""
        async with self._turn:
            await self._connection.execute("UPDATE truth.clock SET now = $1", instant(now_ms))

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        """What a computer of features needs of a database."""
        rows: list[Any] = await self._connection.fetch(query, *arguments)
        return rows

    # Planned anew or not, together or alone: the same statements.
    fetch_planned = fetch

    async def values(self, feature: Feature, ids: Sequence[str], now_ms: int, as_of_ms: int) -> dict[str, Value]:
        """The declared statement at ``now_ms``, had nothing happened after ``as_of_ms``."""
        async with self._turn:
            await self._connection.execute("SELECT set_config('truth.as_of', $1, false)", instant(as_of_ms).isoformat())
            if feature.name == popularity.NAME:
                return dict(await popularity.scores(self, ids, instant(now_ms)))
            outcomes = await self._computer.compute(feature, ids, now_ms)
        return {i: outcome.value for i, outcome in outcomes.items() if outcome.value is not None}

    async def magnitudes(self, feature: Feature, ids: Sequence[str], now_ms: int, as_of_ms: int) -> dict[str, float]:
        """Of a feature that is relative to the greatest: what its statement gives, as in ``values``."""
        async with self._turn:
            await self._connection.execute("SELECT set_config('truth.as_of', $1, false)", instant(as_of_ms).isoformat())
            outcomes = await self._computer.compute(feature, ids, now_ms)
        return {i: outcome.value for i, outcome in outcomes.items() if isinstance(outcome.value, float)}

    async def log(self) -> list[Stamped]:
        """All events that are stored."""
        async with self._turn:
            rows = await self._connection.fetch(_LOG)
        return [Stamped(row[0], row[1], row[2], tuple(row[3]), row[4], row[5]) for row in rows]

    async def catalogue(self) -> set[str]:
        """The products in the copy."""
        async with self._turn:
            return {row[0] for row in await self._connection.fetch("SELECT product_id FROM public.product_signals")}
