"""Brings a database to the newest schema: SQL files of a folder, each once, one process at a time."""

from __future__ import annotations

from pathlib import Path

from yoyo import get_backend, read_migrations

from services.runtime.logs import get_logger

log = get_logger(__name__)

# Another process may be migrating; a long index build must not fail this one.
_LOCK_SECONDS = 120


def migrate(dsn: str, folder: Path) -> None:
    """Applies the migrations of ``folder`` (``0001.name.sql``, ...) that ``dsn`` does not have yet.

    Blocks; call it off the event loop. Raises the driver's error when the database cannot be reached.
    """
    scheme, _, rest = dsn.partition("://")
    if not scheme.startswith("postgres"):
        raise ValueError("the database URL must start with postgresql://")
    backend = get_backend(f"postgresql+psycopg://{rest}")
    try:
        with backend.lock(timeout=_LOCK_SECONDS):
            missing = backend.to_apply(read_migrations(str(folder)))
            for migration in missing:
                log.info("migrating", migration=migration.id)
            backend.apply_migrations(missing)
    finally:
        backend.connection.close()
