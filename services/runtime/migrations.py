"""Brings a database to the newest schema: SQL files of a folder, each once, one process at a time."""

from __future__ import annotations

from pathlib import Path

import psycopg
from yoyo import get_backend, read_migrations

from services.runtime.logs import get_logger

log = get_logger(__name__)

# Any number, the same in every process. An advisory lock, for it ends with its connection: yoyo's own lock is
# a row that a killed process would leave behind for good.
_LOCK_KEY = 7_161_802_531


def migrate(dsn: str, folder: Path) -> None:
    """Applies the migrations of ``folder`` (``0001.name.sql``, ...) that ``dsn`` does not have yet.

    Blocks; call it off the event loop. Raises the driver's error when the database cannot be reached.
    """
    scheme, _, rest = dsn.partition("://")
    if not scheme.startswith("postgres"):
        raise ValueError("the database URL must start with postgresql://")
    with psycopg.connect(f"postgresql://{rest}", autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK_KEY,))
        backend = get_backend(f"postgresql+psycopg://{rest}")
        try:
            missing = backend.to_apply(read_migrations(str(folder)))
            for migration in missing:
                log.info("migrating", migration=migration.id)
            backend.apply_migrations(missing)
        finally:
            backend.connection.close()
