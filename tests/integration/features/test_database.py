"""What our connections ask of PostgreSQL."""

from __future__ import annotations

from services.features.stores import postgres as driver
from tests.support.stack import PostgresServer


async def test_the_locks_of_a_machine_that_is_gone_are_free_within_a_minute(postgres: PostgresServer) -> None:
    async with driver.connect(await postgres.create_database(), 2, 10.0) as database:
        rows = await database.fetch(
            "SELECT current_setting('tcp_keepalives_idle')::int"
            " + current_setting('tcp_keepalives_interval')::int * current_setting('tcp_keepalives_count')::int"
        )
    assert 0 < rows[0][0] <= 60
