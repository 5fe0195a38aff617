"""Brings a database to the newest schema: SQL files of a folder, each once, one process at a time."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import psycopg
from yoyo import get_backend, read_migrations

from services.runtime.logs import get_logger

log = get_logger(__name__)

# Any number, the same in every process. An advisory lock, for it ends with its connection: yoyo's own lock is
# a row that a killed process would leave behind for good.
_LOCK_KEY = 7_161_802_531
# Seconds.
_CONNECT = 10
_LOCK_POLL = 0.2


async def migrate_beside(dsn: str, folder: Path) -> None:
    """:func:`migrate` off the event loop; cancelled, it no longer waits for another process's migration."""
    given_up = threading.Event()
    try:
        await asyncio.to_thread(migrate, dsn, folder, given_up)
    finally:
        given_up.set()


def migrate(dsn: str, folder: Path, given_up: threading.Event | None = None) -> None:
    """Applies the migrations of ``folder`` (``0001.name.sql``, ...) that ``dsn`` does not have yet.

    Blocks; call it off the event loop. Waits while another process migrates, until ``given_up`` is set. Raises the
    driver's error when the database cannot be reached.
    """
    given_up = given_up or threading.Event()
    scheme, _, rest = dsn.partition("://")
    if not scheme.startswith("postgres"):
        raise ValueError("the database URL must start with postgresql://")
    with psycopg.connect(f"postgresql://{rest}", autocommit=True, connect_timeout=_CONNECT) as connection:
        while not _locked(connection):
            if given_up.wait(_LOCK_POLL):
                return
        backend = get_backend(f"postgresql+psycopg://{rest}")
        try:
            missing = backend.to_apply(read_migrations(str(folder)))
            for migration in missing:
                log.info("migrating", migration=migration.id)
            backend.apply_migrations(missing)
        finally:
            backend.connection.close()


def _locked(connection: psycopg.Connection[tuple[bool]]) -> bool:
    row = connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK_KEY,)).fetchone()
    return row is not None and row[0]
