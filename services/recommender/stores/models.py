"""Model versions and their contents in PostgreSQL: one training run at a time, one active version, few kept."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from services.recommender.ranking_ports import ModelContents, ModelVersion
from services.recommender.stores.postgres import Connection, Database
from services.runtime.errors import aborted, failed_precondition, not_found
from services.runtime.logs import get_logger

log = get_logger(__name__)

_COLUMNS = "id, state, create_time, finish_time, progress, metrics, reason, lineage"
_LIST = f"""
SELECT {_COLUMNS} FROM models
WHERE $2::timestamptz IS NULL OR (create_time, id) < ($2, $3::text)
ORDER BY create_time DESC, id DESC LIMIT $1"""  # noqa: S608 - column names of this module

# Held by the connection of a running training, so that it ends with the run, whatever ends the run: a row in
# state TRAINING without the lock is left over from a crash.
_TRY_LOCK = "SELECT pg_try_advisory_lock(7161802533)"
_UNLOCK = "SELECT pg_advisory_unlock(7161802533)"
INTERRUPTED = "INTERRUPTED: the process that trained it ended"

# How long a new run waits for one that is over to let go of the lock.
_RELEASE_TRIES = 20
_RELEASE_SECONDS = 0.05

# Of an index build over a million vectors, with room.
_BUILD_SECONDS = 900.0
# 100,000 vectors and their graph fit; beyond it the build spills and slows down ten times.
_BUILD_MEMORY = "256MB"
# Encoding this many vectors keeps the event loop busy for a few milliseconds.
_COPY_ROWS = 1_000
# Tens of megabytes from a busy disk.
_LOAD_SECONDS = 60.0
# Copying that much keeps the event loop for a part of a millisecond.
_PIECE_BYTES = 1 << 20
_PIECES = "SELECT name, content FROM model_artifacts WHERE model_id = $1 ORDER BY name, piece"
# Failed and rejected versions are history only: so many of them, and for so long.
_HISTORY = 20
_HISTORY_AGE = timedelta(days=90)


class PostgresModels:
    """The :class:`~services.recommender.ranking_ports.ModelStore` of a running service."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._run: Connection | None = None

    async def list(self, limit: int, after: tuple[datetime, str] | None) -> list[ModelVersion]:
        time, model_id = after or (None, None)
        async with self._database.connection() as connection:
            return [_version(row) for row in await connection.fetch(_LIST, limit, time, model_id)]

    async def get(self, model_id: str) -> ModelVersion | None:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM models WHERE id = $1", model_id)  # noqa: S608
            return _version(row) if row else None

    async def active(self) -> ModelVersion | None:
        async with self._database.connection() as connection:
            row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM models WHERE state = 'ACTIVE'")  # noqa: S608
            return _version(row) if row else None

    async def begin(self, model_id: str) -> ModelVersion:
        run = await self._lock_for_run()
        try:
            async with self._database.transaction() as connection:
                await _fail_left_over(connection)
                # Here, not only when a run succeeds: where all fail, they pile up.
                await _forget_history(connection)
                row = await connection.fetchrow(
                    f"INSERT INTO models (id, state) VALUES ($1, 'TRAINING') RETURNING {_COLUMNS}",  # noqa: S608
                    model_id,
                )
        except BaseException:
            await _release(run)
            raise
        self._run = run
        return _version(row)

    async def end(self) -> None:
        if self._run is not None:
            run, self._run = self._run, None
            await _release(run)

    async def recover(self) -> None:
        run = await self._lock()
        if run is None:
            return
        try:
            async with self._database.transaction() as connection:
                await _fail_left_over(connection)
        finally:
            await _release(run)

    async def report(self, model_id: str, progress: float) -> None:
        async with self._database.connection() as connection:
            await connection.execute("UPDATE models SET progress = $2 WHERE id = $1", model_id, progress)

    async def fail(self, model_id: str, reason: str) -> None:
        async with self._database.transaction() as connection:
            # Not one that serves: that it completed may be all that its run was not told any more.
            failed = await connection.fetchval(
                "UPDATE models SET state = 'FAILED', reason = $2, finish_time = now()"
                " WHERE id = $1 AND state NOT IN ('ACTIVE', 'READY') RETURNING id",
                model_id,
                reason,
            )
            if failed:
                await connection.execute("SELECT drop_model_storage($1)", model_id)

    async def reject(
        self, model_id: str, reason: str, metrics: Mapping[str, float], lineage: Mapping[str, str]
    ) -> None:
        async with self._database.connection() as connection:
            await connection.execute(
                "UPDATE models SET state = 'REJECTED', reason = $2, metrics = $3, lineage = $4, progress = 1,"
                " finish_time = now() WHERE id = $1",
                model_id,
                reason,
                msgspec.json.encode(dict(metrics)).decode(),
                msgspec.json.encode(dict(lineage)).decode(),
            )

    async def store(
        self,
        model_id: str,
        contents: ModelContents,
        metrics: Mapping[str, float],
        lineage: Mapping[str, str] | None = None,
    ) -> None:
        async with self._database.connection() as connection:
            table = await connection.fetchval("SELECT create_model_storage($1)", model_id)
            await _copy(connection, table, model_id, contents.product_ids, contents.products)
            for name, content in contents.artifacts.items():
                await _put(connection, model_id, name, content)
            async with connection.transaction():
                await connection.execute(f"SET LOCAL maintenance_work_mem = '{_BUILD_MEMORY}'")
                await connection.execute("SELECT attach_model_storage($1)", model_id, timeout=_BUILD_SECONDS)
                await connection.execute(
                    "UPDATE models SET metrics = $2, lineage = $3 WHERE id = $1",
                    model_id,
                    msgspec.json.encode(dict(metrics)).decode(),
                    msgspec.json.encode(dict(lineage or {})).decode(),
                )

    async def artifacts(self, model_id: str) -> dict[str, bytes]:
        found: dict[str, io.BytesIO] = {}
        # A cursor needs a transaction.
        async with self._database.transaction() as connection:
            async for name, content in connection.cursor(_PIECES, model_id, prefetch=2, timeout=_LOAD_SECONDS):
                found.setdefault(name, io.BytesIO()).write(content)
        # Without copying it once more.
        return {name: content.getvalue() for name, content in found.items()}

    async def complete(self, model_id: str) -> None:
        async with self._database.transaction() as connection:
            await _switch(connection, model_id, "TRAINING")

    async def activate(self, model_id: str) -> ModelVersion:
        async with self._database.transaction() as connection:
            return await _switch(connection, model_id, "READY")

    async def prune(self) -> None:
        async with self._database.connection() as connection:
            rows = await connection.fetch("SELECT id FROM models WHERE state = 'READY'")
            for row in rows:
                async with connection.transaction():
                    # It may have become the active one since it was listed.
                    gone = "DELETE FROM models WHERE id = $1 AND state = 'READY' RETURNING id"
                    if await connection.fetchval(gone, row["id"]):
                        await connection.execute("SELECT drop_model_storage($1)", row["id"])
            await _forget_history(connection)

    async def _lock_for_run(self) -> Connection:
        for _ in range(_RELEASE_TRIES):
            run = await self._lock()
            if run is not None:
                return run
            async with self._database.connection() as connection:
                if await connection.fetchval("SELECT EXISTS (SELECT FROM models WHERE state = 'TRAINING')"):
                    break
            # Its run is over for everyone to see, and about to let go.
            await asyncio.sleep(_RELEASE_SECONDS)
        raise aborted("TRAINING_RUNNING", "a training run is under way")

    async def _lock(self) -> Connection | None:
        """A connection of its own that holds the training lock; None when another one does."""
        connection = await self._database.dedicated()
        locked = False
        try:
            with self._database.errors():
                locked = await connection.fetchval(_TRY_LOCK)
        finally:
            if not locked:
                connection.terminate()
        return connection if locked else None


async def _switch(connection: Connection, model_id: str, expected: str) -> ModelVersion:
    # One switch at a time; readers are not held up.
    await connection.execute("LOCK TABLE models IN SHARE ROW EXCLUSIVE MODE")
    state = await connection.fetchval("SELECT state FROM models WHERE id = $1", model_id)
    if state is None:
        raise not_found("MODEL_NOT_FOUND", "there is no such model")
    if state != expected:
        raise failed_precondition("MODEL_NOT_READY", f"the model is {state}, not {expected}", state=state)
    await connection.execute("UPDATE models SET state = 'READY' WHERE state = 'ACTIVE'")
    row = await connection.fetchrow(
        "UPDATE models SET state = 'ACTIVE', progress = 1, finish_time = coalesce(finish_time, now())"  # noqa: S608
        f" WHERE id = $1 RETURNING {_COLUMNS}",
        model_id,
    )
    return _version(row)


async def _release(run: Connection) -> None:
    """Gives the lock back at once where the server answers; it ends with the connection in any case."""
    try:
        await run.execute(_UNLOCK, timeout=1.0)
    except Exception:
        log.debug("training_lock_lost")
    run.terminate()


async def _fail_left_over(connection: Connection) -> None:
    rows = await connection.fetch(
        "UPDATE models SET state = 'FAILED', reason = $1, finish_time = now() WHERE state = 'TRAINING' RETURNING id",
        INTERRUPTED,
    )
    for row in rows:
        await connection.execute("SELECT drop_model_storage($1)", row["id"])


async def _forget_history(connection: Connection) -> None:
    await connection.execute(
        "DELETE FROM models WHERE state IN ('FAILED', 'REJECTED') AND (create_time < now() - $2::interval OR id IN"
        " (SELECT id FROM models WHERE state IN ('FAILED', 'REJECTED') ORDER BY create_time DESC OFFSET $1))",
        _HISTORY,
        _HISTORY_AGE,
    )


async def _put(connection: Connection, model_id: str, name: str, content: bytes) -> None:
    whole = memoryview(content)
    for piece, start in enumerate(range(0, max(len(content), 1), _PIECE_BYTES)):
        part = whole[start : start + _PIECE_BYTES]
        await connection.execute(
            "INSERT INTO model_artifacts (model_id, name, piece, content) VALUES ($1, $2, $3, $4)",
            model_id,
            name,
            piece,
            part,
            timeout=_BUILD_SECONDS,
        )


async def _copy(
    connection: Connection, table: str, model_id: str, ids: Sequence[str], vectors: npt.NDArray[np.float32]
) -> None:
    for start in range(0, len(ids), _COPY_ROWS):
        rows: Iterable[tuple[object, ...]] = (
            (model_id, ids[place], vectors[place]) for place in range(start, min(start + _COPY_ROWS, len(ids)))
        )
        await connection.copy_records_to_table(table, columns=("model_id", "product_id", "embedding"), records=rows)
        await asyncio.sleep(0)


def _version(row: Any) -> ModelVersion:
    return ModelVersion(
        id=row["id"],
        state=row["state"],
        create_time=row["create_time"],
        finish_time=row["finish_time"],
        progress=row["progress"],
        metrics=msgspec.json.decode(row["metrics"], type=dict[str, float]),
        reason=row["reason"],
        lineage=msgspec.json.decode(row["lineage"], type=dict[str, str]),
    )
