"""Edits of serving configs in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from services.recommender.serving_ports import StoredConfig
from services.recommender.stores.postgres import Connection, Database

_ALL = "SELECT id, declaration, update_time FROM serving_configs"
# Edits are rare: one at a time, so that what an edit was decided on is what it replaces, be it the absence of a row.
# Readers are not held up.
_LOCK = "LOCK TABLE serving_configs IN SHARE ROW EXCLUSIVE MODE"
_PUT = """
INSERT INTO serving_configs (id, declaration, update_time) VALUES ($1, $2, clock_timestamp())
ON CONFLICT (id) DO UPDATE SET declaration = excluded.declaration, update_time = excluded.update_time
RETURNING id, declaration, update_time"""
_REMOVE = "DELETE FROM serving_configs WHERE id = $1"


class PostgresServingConfigs:
    """The :class:`~services.recommender.serving_ports.ServingConfigStore` of a running service."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> Sequence[StoredConfig]:
        async with self._database.connection() as connection:
            return [_stored(row) for row in await connection.fetch(_ALL)]

    async def change(
        self, config_id: str, decide: Callable[[StoredConfig | None, int], str | None]
    ) -> StoredConfig | None:
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK)
            stored, count = await _read(connection, config_id)
            declaration = decide(stored, count)
            if declaration is None:
                await connection.execute(_REMOVE, config_id)
                return None
            return _stored(await connection.fetchrow(_PUT, config_id, declaration))


async def _read(connection: Connection, config_id: str) -> tuple[StoredConfig | None, int]:
    row = await connection.fetchrow(f"{_ALL} WHERE id = $1", config_id)
    count: int = await connection.fetchval("SELECT count(*)::int FROM serving_configs")
    return (_stored(row) if row else None), count


def _stored(row: Any) -> StoredConfig:
    return StoredConfig(row["id"], row["declaration"], row["update_time"])
