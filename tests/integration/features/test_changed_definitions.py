"""A feature that is declared anew starts anew."""

from __future__ import annotations

import shutil
from pathlib import Path

from services.features.definitions import BUNDLED
from tests.support.features import event, running_server
from tests.support.stack import PostgresServer, ValkeyServer

COUNT = "user_purchase_count_30d"


async def test_values_of_another_type_or_statement_are_not_served(
    postgres: PostgresServer, valkey: ValkeyServer, tmp_path: Path
) -> None:
    shutil.copytree(BUNDLED.parent / "sql", tmp_path / "sql")
    declared = BUNDLED.read_text(encoding="utf-8")
    statement = (BUNDLED.parent / "sql" / f"{COUNT}.sql").read_text(encoding="utf-8")
    path = tmp_path / "definitions.toml"
    path.write_text(declared, encoding="utf-8")
    dsn = await postgres.create_database("features")
    async with running_server(dsn, valkey.url) as server:
        await server.write(event("purchase-complete", "u1", "p1"))
        assert (await server.get("User", "u1", COUNT)).features[COUNT].int_value == 1
    (tmp_path / "sql" / f"{COUNT}.sql").write_text(statement.replace("count(*)", "10 * count(*)"), encoding="utf-8")
    async with running_server(dsn, valkey.url, FEATURES_DEFINITIONS=path) as server:
        assert (await server.get("User", "u1", COUNT)).features[COUNT].int_value == 10
    (tmp_path / "sql" / f"{COUNT}.sql").write_text(
        statement.replace("count(*)", "count(*)::text || ' orders'"), encoding="utf-8"
    )
    path.write_text(
        declared.replace('type = "int"', 'type = "string"', 1).replace("default = 0\n", "", 1), encoding="utf-8"
    )
    async with running_server(dsn, valkey.url, FEATURES_DEFINITIONS=path) as server:
        assert (await server.get("User", "u1", COUNT)).features[COUNT].string_value == "1 orders"
