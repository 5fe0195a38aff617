"""Tables: from a statement through the record to the answer, and what is none."""

from __future__ import annotations

import dataclasses
import re

import pytest

from services.features import transcoding
from services.features.app import Parts
from services.features.domain.features import (
    NO_TOKEN,
    Entity,
    Entry,
    Feature,
    FeatureType,
    Reading,
    Status,
    Table,
)
from services.features.domain.settled import Column
from tests.contract.features.conftest import ON_EVERY_STORE

NAME = "user_purchase_count_30d"
IDS = "FROM unnest($1::text[]) AS id WHERE $2::timestamptz IS NOT NULL"


def table_feature(entity: Entity, sql: str, kind: FeatureType = FeatureType.TABLE) -> tuple[Entity, Feature]:
    feature = dataclasses.replace(entity.features[NAME], type=kind, sql=sql, default=None)
    return dataclasses.replace(entity, features={**entity.features, NAME: feature}), feature


def sized(count: int) -> Table:
    values = tuple(number for n in range(count) for number in (float(n), 1.76e9 + n + 0.123456, -n / 7))
    return Table(tuple(f"prod_{n}" for n in range(count)), ("orders", "last_time", "decayed"), values)


@ON_EVERY_STORE
@pytest.mark.parametrize("count", [0, 1, 2_000])
async def test_a_table_comes_back_as_it_was_computed(parts: Parts, count: int) -> None:
    sql = (
        "SELECT id, coalesce(array_agg('prod_' || n ORDER BY n) FILTER (WHERE n IS NOT NULL), '{}') AS keys,"
        " coalesce(array_agg(n::float8 ORDER BY n) FILTER (WHERE n IS NOT NULL), '{}') AS orders,"
        " coalesce(array_agg(1.76e9::float8 + n + 0.123456 ORDER BY n) FILTER (WHERE n >= 0), '{}') AS last_time,"
        " coalesce(array_agg(-n::float8 / 7 ORDER BY n) FILTER (WHERE n IS NOT NULL), '{}') AS decayed,"
        " $2::timestamptz + interval '5 seconds' AS valid_until"
        f" FROM unnest($1::text[]) AS id LEFT JOIN generate_series(0, {count - 1}) AS n ON true"
        " WHERE $2::timestamptz IS NOT NULL GROUP BY id"
    )
    entity, feature = table_feature(parts.definitions.entities["User"], sql)
    await parts.computer.check([entity])
    outcome = (await parts.computer.compute(feature, ["u1"], 1_000))["u1"]
    assert outcome == (sized(count), 6_000)

    entry = Entry(1_000, NO_TOKEN, *outcome)
    (begun,) = await parts.online.begin("User", ["u1"])
    await parts.online.write("User", 60_000, {"u1": (begun, {feature.number: entry})})
    (record,) = await parts.online.read("User", ["u1"])
    assert record.entries == {feature.number: entry}

    value = record.entries[feature.number].value
    for message in (
        transcoding.feature_value(feature, Reading(value, Status.PRESENT, 1_000), 1_000).table_value,
        transcoding.feature_column(feature, Column([value], [Status.PRESENT], [1_000])).table_values[0],
    ):
        assert Table(tuple(message.keys), tuple(message.columns), tuple(message.values)) == sized(count)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("ARRAY['a'] AS keys, ARRAY['NaN'::float8] AS x", "not finite"),
        ("ARRAY['a', 'b'] AS keys, ARRAY[1, 'Infinity'::float8] AS x", "not finite"),
        ("ARRAY['a', 'b'] AS keys, ARRAY[1]::float8[] AS x", "not as long as keys"),
        ("ARRAY['a'] AS keys, NULL::float8[] AS x", "not as long as keys"),
        ("ARRAY['a', 'a'] AS keys, ARRAY[1, 2]::float8[] AS x", "a key twice"),
        ("ARRAY['a', NULL] AS keys, ARRAY[1, 2]::float8[] AS x", "null for one"),
        ("ARRAY['a'] AS keys, ARRAY[NULL]::float8[] AS x", "NoneType"),
    ],
)
async def test_what_is_no_table_is_not_served(parts: Parts, columns: str, message: str) -> None:
    _, feature = table_feature(parts.definitions.entities["User"], f"SELECT id, {columns} {IDS}")
    with pytest.raises((TypeError, ValueError), match=message):
        await parts.computer.compute(feature, ["u1"], 1_000)


async def test_a_table_without_keys_is_none_and_one_of_no_keys_is_empty(parts: Parts) -> None:
    sql = "SELECT id, CASE id WHEN 'a' THEN '{}'::text[] END AS keys, '{}'::float8[] AS x " + IDS
    _, feature = table_feature(parts.definitions.entities["User"], sql)
    outcomes = await parts.computer.compute(feature, ["a", "b"], 1_000)
    assert {i: outcome.value for i, outcome in outcomes.items()} == {"a": Table((), ("x",), ()), "b": None}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("1 AS value", "must return id, keys; it returns id, value"),
        ("ARRAY['a'] AS keys", "must return id, keys, its columns[, valid_until]; it has no column"),
        ("'a' AS keys, ARRAY[1]::float8[] AS x", "keys must be text[] or varchar[]; it is text"),
        ("ARRAY['a'] AS keys, ARRAY[1] AS x", "x must be float8[]; it is int4[]"),
        (
            "ARRAY['a'] AS keys, ARRAY[1]::float8[] AS x, 1 AS valid_until",
            "valid_until must be timestamptz; it is int4",
        ),
    ],
)
async def test_mistakes_in_a_tables_statement_are_found_at_start(parts: Parts, columns: str, message: str) -> None:
    entity, _ = table_feature(parts.definitions.entities["User"], f"SELECT id, {columns} {IDS}")
    with pytest.raises(ValueError, match=re.escape(message)):
        await parts.computer.check([entity])


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (FeatureType.INT, "'1'", "value must be int2 or int4 or int8 or numeric; it is text"),
        (FeatureType.DOUBLE, "true", "it is bool"),
        (FeatureType.BOOL, "1", "value must be bool; it is int4"),
        (FeatureType.TIMESTAMP, "$2::timestamptz::timestamp", "value must be timestamptz; it is timestamp"),
        (FeatureType.VECTOR, "1.0", "it is numeric"),
        (FeatureType.STRING_LIST, "'a'", "value must be text[] or varchar[]; it is text"),
    ],
)
async def test_a_value_of_another_type_is_found_at_start(
    parts: Parts, kind: FeatureType, value: str, message: str
) -> None:
    entity, _ = table_feature(parts.definitions.entities["User"], f"SELECT id, {value} AS value {IDS}", kind)
    with pytest.raises(ValueError, match=re.escape(message)):
        await parts.computer.check([entity])
