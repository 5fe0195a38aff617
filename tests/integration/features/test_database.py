"""What our connections ask of PostgreSQL."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from services.features.ports import StoreDownError
from services.features.stores import erasure
from services.features.stores import postgres as driver
from tests.support.event_log import process
from tests.support.proxy import running_proxy
from tests.support.stack import PostgresServer
from tests.support.waiting import eventually


async def test_the_locks_of_a_machine_that_is_gone_are_free_within_a_minute(postgres: PostgresServer) -> None:
    async with driver.connect(await postgres.create_database(), 2, 10.0) as database:
        rows = await database.fetch(
            "SELECT current_setting('tcp_keepalives_idle')::int"
            " + current_setting('tcp_keepalives_interval')::int * current_setting('tcp_keepalives_count')::int"
        )
    assert 0 < rows[0][0] <= 60


async def test_a_lock_that_others_hold_is_no_outage(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls that repeat an erasure under way wait for it in vain; everybody else goes on."""
    monkeypatch.setattr(erasure, "_LOCK_TIMEOUT", "SET LOCAL lock_timeout = '50ms'")
    async with process(await postgres.create_database()) as one:
        eraser = erasure.PostgresErasure(one.database)
        await eraser.bury("u", 0)
        async with one.database.transaction() as connection:
            await connection.execute("SELECT FROM erased_subjects FOR UPDATE")
            for _ in range(3):
                with pytest.raises(StoreDownError, match="lock"):
                    await eraser.bury("u", 0)
            assert await one.column("SELECT 1") == [1]


@pytest.mark.parametrize("planned", [False, True])
async def test_one_statement_after_another_goes_over_the_same_connection(
    postgres: PostgresServer, planned: bool
) -> None:
    async with driver.connect(await postgres.create_database(), 12, 10.0) as database:
        fetch = database.fetch_planned if planned else database.fetch
        assert len({(await fetch("SELECT pg_backend_pid()"))[0][0] for _ in range(5)}) == 1


async def test_nobody_gets_a_connection_in_another_ones_transaction(postgres: PostgresServer) -> None:
    async with driver.connect(await postgres.create_database(), 12, 10.0) as database:
        async with database.connection() as connection:
            await connection.execute("BEGIN; CREATE TABLE begun (value text)")
        assert [row[0] for row in await database.fetch("SELECT to_regclass('begun')::text")] == [None]


async def test_a_connection_that_broke_at_rest_is_replaced(postgres: PostgresServer) -> None:
    dsn = await postgres.create_database()
    port = urlsplit(dsn).port
    assert port
    async with running_proxy(port) as proxy, driver.connect(dsn.replace(f":{port}", f":{proxy.port}"), 12, 10.0) as one:
        async with one.connection() as connection:
            await connection.fetch("SELECT 1")
        proxy.cut()
        await eventually(lambda: driver._is_lost(connection))
        assert await answers(one)


async def test_a_connection_that_is_cut_amid_a_copy_is_an_outage(postgres: PostgresServer) -> None:
    """Wherever that is: at times its driver takes it for busy then, and refuses even to roll back."""
    dsn = await postgres.create_database()
    port = urlsplit(dsn).port
    assert port
    async with running_proxy(port) as proxy, driver.connect(dsn.replace(f":{port}", f":{proxy.port}"), 1, 10.0) as one:
        await one.fetch("CREATE TABLE copied (value text)")
        for answered in range(60):
            with pytest.raises(StoreDownError):
                async with one.transaction() as connection:
                    proxy.cut_after(answered)
                    for _ in range(100):
                        rows = [("x" * 10_000,)] * 10
                        await connection.copy_records_to_table("copied", records=rows, columns=["value"])
            await eventually(lambda: answers(one))


async def test_a_worker_with_few_connections_is_not_kept_out_by_its_own_locks(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of them are kept as long as it follows the catalogue and looks after the log's days."""
    monkeypatch.setattr(driver, "_CONNECT_SECONDS", 0.5)
    async with (
        driver.connect(await postgres.create_database(), 2, 10.0) as database,
        database.sole(1) as first,
        database.sole(2) as second,
    ):
        assert first
        assert second
        assert await answers(database)


async def answers(database: driver.Database) -> bool:
    try:
        await database.fetch("SELECT 1")
    except StoreDownError:
        return False
    return True
