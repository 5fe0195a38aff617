"""What a PostgreSQL folder may have gone through before a start."""

import asyncio
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from deploy.local.child import StartError
from deploy.local.memory import lent
from deploy.local.postgres import Postgres, shared_buffers
from services.runtime.migrations import migrate_beside
from tests.support.stack import free_port, temporary_folder
from tests.support.waiting import eventually


@pytest.fixture
async def folder() -> AsyncIterator[Path]:
    async with temporary_folder() as path:
        yield path


def server(folder: Path, port: int | None = None) -> Postgres:
    return Postgres(
        folder / "postgres", port or free_port(), log=folder / "log", databases=["features"], settings={"fsync": "off"}
    )


async def test_a_lock_whose_number_another_program_has_is_no_lock(folder: Path) -> None:
    first = server(folder)
    await first.start()
    await first.kill()
    again = server(folder, first.port)
    # None of the server's ancestors: of these it knows that they are no servers.
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    try:
        for name in ("data/postmaster.pid", f".s.PGSQL.{first.port}.lock"):
            lock = folder / "postgres" / name
            lines = lock.read_text().splitlines()
            lock.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n")
        await again.start()
        await again.stop()
    finally:
        await other.communicate(b"\n")


async def test_who_may_read_the_passwords_may_use_the_socket(folder: Path) -> None:
    postgres = server(folder)
    await postgres.start()
    try:
        near = postgres.near_dsn("features")
        connection = await asyncpg.connect(near)
        assert await connection.fetchval("SELECT inet_server_addr() IS NULL")
        await connection.close()
        await migrate_beside(near, folder)
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(near, password="guessed")
        assert stat.S_IMODE((folder / "postgres").stat().st_mode) == 0o700
    finally:
        await postgres.stop()


@pytest.mark.parametrize("name", ["x" * 100, "a,b", "a b"])
async def test_there_is_no_socket_where_its_path_is_too_long_or_odd(folder: Path, name: str) -> None:
    (folder / name).mkdir(mode=0o711)
    postgres = server(folder / name)
    await postgres.start()
    try:
        assert postgres.near_dsn("features") == postgres.dsn("features")
        await (await asyncpg.connect(postgres.near_dsn("features"))).close()
    finally:
        await postgres.stop()


async def test_an_interrupted_initdb_is_done_again(folder: Path) -> None:
    unfinished = folder / "postgres" / "data.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    postgres = server(folder)
    await postgres.start()
    try:
        assert await postgres.ready()
        assert not unfinished.exists()
    finally:
        await postgres.stop()


async def test_port_and_password_may_change_between_starts(folder: Path) -> None:
    first = server(folder)
    await first.start()
    await first.stop()
    (folder / "postgres" / "features.password").unlink()
    again = server(folder)
    await again.start()
    try:
        assert again.port != first.port
        connection = await asyncpg.connect(again.dsn("features"))
        await connection.close()
    finally:
        await again.stop()


async def test_a_database_is_closed_to_other_roles(folder: Path) -> None:
    postgres = server(folder)
    await postgres.start()
    try:
        await postgres.ensure_database("recommender")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(postgres.dsn("features", role="recommender"))
    finally:
        await postgres.stop()


async def test_a_database_that_cannot_be_had_is_a_failed_start_that_leaves_nothing(folder: Path) -> None:
    first = server(folder)
    await first.start()
    admin = await asyncpg.connect(first.admin_dsn)
    await admin.execute("ALTER DATABASE features ALLOW_CONNECTIONS false")
    await admin.close()
    await first.stop()
    again = server(folder)
    with pytest.raises(StartError, match="not currently accepting connections"):
        await again.start()
    assert again.child.returncode is not None


async def test_names_are_no_place_for_sql(folder: Path) -> None:
    with pytest.raises(ValueError, match="not a plain database"):
        await server(folder).ensure_database('x"; DROP DATABASE features')


async def test_what_was_in_its_memory_is_there_again_after_a_start(folder: Path) -> None:
    first = server(folder)
    await first.start()
    await first.stop()
    again = server(folder, first.port)
    await again.start()
    try:
        await eventually(lambda: "previously-loaded blocks" in (folder / "log").read_text())
    finally:
        await again.stop()


def test_a_server_has_a_quarter_of_the_memory_within_bounds() -> None:
    assert shared_buffers(4 * 2**30) == 1_024
    assert shared_buffers(2**28) == 128
    assert shared_buffers(2**40) == 2_048


def test_a_container_has_no_more_memory_than_its_limit(tmp_path: Path) -> None:
    new, old = tmp_path / "memory.max", tmp_path / "limit_in_bytes"
    machine = lent(())
    assert lent((new, old)) == machine
    new.write_text("max\n")
    old.write_text("9223372036854771712\n")  # no limit either
    assert lent((new, old)) == machine
    new.write_text("268435456\n")
    assert lent((new, old)) == 2**28
    new.unlink()
    old.write_text("134217728\n")
    assert lent((new, old)) == 2**27
