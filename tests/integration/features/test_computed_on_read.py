"""materialize = false: computed on read, once for all who read at once, kept for the refresh interval, never queued."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from redis.asyncio import Redis
from windowshop.features.v1 import features_pb2 as pb

from tests.support.features import FeatureServer, event, running_server, running_worker
from tests.support.stack import PostgresServer, ValkeyServer
from tests.support.waiting import eventually

# Each of the users u0, u1, ... has the searches of an hour; a statement for them takes its time, so that reads overlap.
SEARCHES = """
WITH slow AS MATERIALIZED (SELECT pg_sleep(0.3))
SELECT subject_id AS id, {value} AS value FROM events, slow
WHERE subject_id = ANY ($1) AND event_type = 'search' AND event_time > $2::timestamptz - interval '1 hour'
  AND event_time <= $2 GROUP BY subject_id
"""
# By type: what the statement returns, and the answer's field.
TYPES = {
    "int": ("count(*)", "int_value"),
    "double": ("count(*) / 4.0::float8", "double_value"),
    "string": ("'n' || count(*)", "string_value"),
    "bool": ("count(*) > 1", "bool_value"),
    "timestamp": ("timestamptz '2026-01-02 03:04:05.678Z'", "timestamp_value"),
    "vector": ("ARRAY[count(*), -0.5, 0.125]::float8[]", "vector_value"),
    "string_list": ("array_agg(event_type::text)", "string_list_value"),
    "table": ("", "table_value"),
}
TABLE = """
SELECT subject_id AS id, ARRAY['b', 'a'] AS keys, ARRAY[count(*), 2.5]::float8[] AS times FROM events
WHERE subject_id = ANY ($1) AND event_time <= $2 GROUP BY subject_id
"""
FEATURE = """
[features.{name}]
entity = "User"
type = "{type}"
description = "Of a shop's own."
refresh = "{refresh}"
ttl = "1d"
on_event = "{on_event}"
events = ["search"]
sql = "{name}.sql"
"""


def declare(folder: Path, name: str, kind: str, refresh: str, on_event: str, sql: str) -> str:
    (folder / f"{name}.sql").write_text(sql)
    return FEATURE.format(name=name, type=kind, refresh=refresh, on_event=on_event)


@pytest.fixture
async def server(postgres: PostgresServer, valkey: ValkeyServer, tmp_path: Path) -> AsyncIterator[FeatureServer]:
    """With features of the shop's own beside the bundled ones."""
    declared = [
        declare(tmp_path, f"own_{kind}", kind, "1h", "none", SEARCHES.format(value=value) if value else TABLE)
        for kind, (value, _) in TYPES.items()
    ]
    slow = SEARCHES.format(value="count(*)")
    declared.append(declare(tmp_path, "short", "int", "1s", "none", slow))
    declared.append(declare(tmp_path, "live", "int", "1h", "read-through", slow))
    path = tmp_path / "own.toml"
    path.write_text("".join(declared))
    async with running_server(
        await postgres.create_database("features"), valkey.url, FEATURES_DEFINITIONS=path
    ) as running:
        yield running


def computed(name: str, cause: str = "read") -> float:
    labels = {"feature": name, "cause": cause}
    return REGISTRY.get_sample_value("windowshop_feature_computations_total", labels) or 0.0


def statements(name: str) -> float:
    return REGISTRY.get_sample_value("windowshop_feature_compute_seconds_count", {"feature": name}) or 0.0


async def test_values_of_all_types_are_computed_once_and_then_kept(server: FeatureServer) -> None:
    await server.write(event("search", "u1"), event("search", "u1"))
    before = Counter({name: computed(name) for name in (f"own_{kind}" for kind in TYPES)})
    first = (await server.get("User", "u1")).features
    for kind, (_, field) in TYPES.items():
        assert first[f"own_{kind}"].WhichOneof("kind") == field
        assert first[f"own_{kind}"].status == pb.PRESENT
    assert first["own_int"].int_value == 2
    assert first["own_double"].double_value == 0.5
    assert first["own_string"].string_value == "n2"
    assert first["own_bool"].bool_value
    assert first["own_timestamp"].timestamp_value.ToJsonString() == "2026-01-02T03:04:05.678Z"
    assert list(first["own_vector"].vector_value.values) == [2.0, -0.5, 0.125]
    assert list(first["own_string_list"].string_list_value.values) == ["search", "search"]
    assert first["own_table"].table_value == pb.Table(keys=["b", "a"], columns=["times"], values=[2.0, 2.5])

    await server.write(event("search", "u1"))  # they do not depend on events: kept for their refresh interval
    again = (await server.get("User", "u1")).features
    columns = {c.feature: c for c in (await server.batch("User", ["u1", "nobody"])).columns}
    for name in before:
        assert (again[name].computed_at, again[name].status) == (first[name].computed_at, pb.PRESENT)
        assert list(columns[name].statuses) == [pb.PRESENT, pb.NOT_FOUND]
        assert columns[name].computed_at_ms[0] == first[name].computed_at.ToMilliseconds()
        for one in (first[name], again[name]):
            one.ClearField("age_seconds")
        assert again[name] == first[name]
        assert computed(name) - before[name] == 1
    assert columns["own_table"].table_values[0] == first["own_table"].table_value


async def test_reads_at_once_compute_each_user_once(server: FeatureServer) -> None:
    users = [f"u{n}" for n in range(8)]
    await server.write(*(event("search", user) for user in users for _ in range(int(user[1:]) + 1)))
    before, statements_before = computed("live"), statements("live")
    batches = [users[start : start + 4] for start in range(5)]
    async with asyncio.TaskGroup() as group:
        pages = [group.create_task(server.batch("User", batch, "live")) for batch in batches]
        singles = [group.create_task(server.get("User", user, "live")) for user in users]
        pages += [group.create_task(server.batch("User", batch, "live")) for batch in reversed(batches)]
    for answer in (single.result() for single in singles):
        assert answer.features["live"].int_value == int(answer.id[1:]) + 1
    for page in (page.result() for page in pages):
        assert list(page.columns[0].int_values) == [int(user[1:]) + 1 for user in page.ids]
    assert computed("live") - before == len(users)
    assert statements("live") - statements_before <= len(users)


async def test_an_event_ends_what_is_kept_of_a_feature_that_reads_through(server: FeatureServer) -> None:
    before = computed("live")
    for count in (1, 2):
        await server.write(event("search", "u1"))
        for _ in range(3):
            assert (await server.get("User", "u1", "live")).features["live"].int_value == count
    assert computed("live") - before == 2


async def test_after_the_refresh_interval_the_next_reads_compute_once_more(server: FeatureServer) -> None:
    await server.write(event("search", "u1"))
    first = (await server.get("User", "u1", "short")).features["short"].computed_at
    before = computed("short")

    async def aged() -> bool:
        """No read in between finds a value older than a second."""
        value = (await server.get("User", "u1", "short")).features["short"]
        assert value.status == pb.PRESENT
        return bool(value.computed_at != first)

    await eventually(aged)
    newest = await asyncio.gather(*(server.get("User", "u1", "short") for _ in range(5)))
    assert (
        1 <= computed("short") - before <= 1 + len({a.features["short"].computed_at.ToMilliseconds() for a in newest})
    )


async def test_the_worker_leaves_them_alone(
    server: FeatureServer, postgres: PostgresServer, valkey: ValkeyServer
) -> None:
    names = [*(f"own_{kind}" for kind in TYPES), "short", "live"]
    due = {name: computed(name, "due") for name in (*names, "user_purchase_count_30d")}
    await server.write(event("purchase-complete", "u1", "p1"), event("search", "u1"), event("search", "u2"))
    for user in ("u1", "u2"):
        await server.get("User", user)
    configured = server.settings.definitions
    async with running_worker(server.dsn, valkey.url, FEATURES_DEFINITIONS=configured):

        async def refreshed() -> bool:
            return computed("user_purchase_count_30d", "due") > due["user_purchase_count_30d"]

        await eventually(refreshed)

        async def left() -> bool:
            """u2 has nothing that the worker keeps fresh."""
            async with Redis.from_url(valkey.url) as redis:
                return await redis.zscore("ws:1:marks:{marks}:due:User", "u2") is None

        await eventually(left)
    assert {name: computed(name, "due") for name in names} == {name: due[name] for name in names}
