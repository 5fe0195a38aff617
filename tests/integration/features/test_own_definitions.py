"""A feature is one declaration and one SQL file, also in a file of the shop's own."""

from __future__ import annotations

from pathlib import Path

from windowshop.features.v1 import features_pb2 as pb

from tests.support.features import event, running_server
from tests.support.stack import PostgresServer, ValkeyServer

DEFINITIONS = """
[entities.User]
known = "known.sql"
active = "active.sql"

[features.user_searches]
entity = "User"
type = "int"
description = "Searches of the last hour."
refresh = "1m"
ttl = "1h"
default = 0
events = ["search"]
on_event = "read-through"
sql = "searches.sql"

[features.user_last_seen]
entity = "User"
type = "timestamp"
description = "Time of the newest event."
refresh = "1m"
ttl = "1h"
on_event = "read-through"
events = ["search"]
sql = "seen.sql"

[features.user_taste]
entity = "User"
type = "vector"
description = "Two numbers."
refresh = "1m"
ttl = "1h"
on_event = "none"
sql = "taste.sql"

[features.user_is_new]
entity = "User"
type = "bool"
description = "Whether the first event is of this decade."
refresh = "1m"
ttl = "1h"
on_event = "none"
sql = "new.sql"

[features.user_terms]
entity = "User"
type = "table"
description = "Each session, with its searches and half of them."
refresh = "1m"
ttl = "1h"
on_event = "read-through"
events = ["search"]
sql = "terms.sql"
"""
WINDOW = "FROM events WHERE subject_id = ANY ($1) AND event_time <= $2::timestamptz"


async def test_a_feature_of_the_shops_own(postgres: PostgresServer, valkey: ValkeyServer, tmp_path: Path) -> None:
    (tmp_path / "features.toml").write_text(DEFINITIONS)
    (tmp_path / "known.sql").write_text("SELECT DISTINCT subject_id AS id FROM events WHERE subject_id = ANY ($1)")
    (tmp_path / "active.sql").write_text(
        "SELECT DISTINCT subject_id AS id FROM events WHERE subject_id > $1 AND event_time <= $2 ORDER BY 1 LIMIT $3"
    )
    statements = {
        "searches": f"SELECT subject_id AS id, count(*) AS value {WINDOW} AND event_type = 'search' GROUP BY 1",
        "seen": f"SELECT subject_id AS id, max(event_time) AS value {WINDOW} GROUP BY 1",
        "taste": f"SELECT DISTINCT subject_id AS id, ARRAY[0.5, -1]::float8[] AS value {WINDOW}",
        "new": f"SELECT subject_id AS id, min(event_time) > timestamptz '2020-01-01' AS value {WINDOW} GROUP BY 1",
        "terms": (
            "SELECT subject_id AS id, array_agg(session_id ORDER BY session_id) AS keys, array_agg(number) AS searches,"
            f" array_agg(number / 2) AS half FROM (SELECT subject_id, session_id, count(*)::float8 AS number {WINDOW}"
            " AND session_id IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2) AS s GROUP BY 1"
        ),
    }
    for name, statement in statements.items():
        (tmp_path / f"{name}.sql").write_text(statement)
    path = tmp_path / "features.toml"
    async with running_server(
        await postgres.create_database("features"), valkey.url, FEATURES_DEFINITIONS=path
    ) as server:
        last = event("search", "u1")
        await server.write(event("search", "u1", ago=50), last)
        sessions = [event("search", "u3", session_id=session) for session in ("b", "a", "b")]
        await server.write(*sessions, event("search", "u4"))
        for _ in range(2):  # computed, then from Redis
            values = (await server.get("User", "u1")).features
            assert values["user_searches"].int_value == 2
            assert values["user_last_seen"].timestamp_value.ToMilliseconds() == round(
                last.event_time.ToMicroseconds() / 1e3
            )
            assert list(values["user_taste"].vector_value.values) == [0.5, -1.0]
            assert values["user_is_new"].bool_value is True
            assert not values["user_terms"].HasField("table_value")
            table = (await server.get("User", "u3", "user_terms")).features["user_terms"].table_value
            assert table == pb.Table(keys=["a", "b"], columns=["searches", "half"], values=[1, 0.5, 2, 1])
            batch = (await server.batch("User", ["u4", "u3", "nobody"], "user_terms")).columns[0]
            assert list(batch.table_values) == [pb.Table(), table, pb.Table()]
            assert list(batch.statuses) == [pb.NULL, pb.PRESENT, pb.NOT_FOUND]
        columns = {c.feature: c for c in (await server.batch("User", ["u1", "u2"])).columns}
        assert list(columns["user_searches"].int_values) == [2, 0]
        assert [list(v.values) for v in columns["user_taste"].vector_values] == [[0.5, -1.0], []]
        assert list(columns["user_is_new"].bool_values) == [True, False]
        listed = await server.stub.ListFeatureDefinitions(pb.ListFeatureDefinitionsRequest(), timeout=5)
        of_users = {d.name for d in listed.feature_definitions if d.entity == "User" and not d.on_request}
        assert of_users == set(values)
        assert of_users > {"user_searches", "user_browsing_category"}  # laid over the bundled file
