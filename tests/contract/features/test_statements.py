"""Declared statements are checked at start; one that is slow or wrong costs its own feature only."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from services.features.app import MIGRATIONS, Parts, clock_ms, open_parts
from services.features.domain.features import EMPTY, NO_TOKEN, Entity, Entry, Feature, Outcome
from services.features.ports import SlowStatementError, StoreDownError
from services.features.refreshing import Refresher
from services.features.stores.computing import PostgresComputer
from services.runtime.lifecycle import background
from services.runtime.migrations import migrate
from tests.contract.features.test_exact_values import order
from tests.support.features import settings
from tests.support.stack import PostgresServer, ValkeyServer
from tests.support.waiting import eventually


def with_statement(entity: Entity, name: str, sql: str) -> Entity:
    changed = dataclasses.replace(entity.features[name], sql=sql)
    return dataclasses.replace(entity, features={**entity.features, name: changed})


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT subject_id AS id, 1 AS value FROM events WHERE subject_id = ANY ($1)", "it takes text"),
        ("SELECT 'a' AS id, 1 AS value", "it takes nothing"),
        ("SELECT 'a' AS id, 1 AS value WHERE $1::text = '' AND $2::timestamptz < now()", "it takes text, timestamptz"),
        ("SELECT 'a' AS id, 1 AS val WHERE 'a' = ANY ($1::text[]) AND $2::timestamptz < now()", "returns id, val"),
        (
            "SELECT 'a' AS id, 1 AS value, $2::timestamptz AS validuntil WHERE 'a' = ANY ($1::text[])",
            r"must return id, value\[, valid_until\]; it returns id, value, validuntil",
        ),
        (
            "SELECT 'a' AS id, 1 AS value, $2::timestamptz::date AS valid_until WHERE 'a' = ANY ($1::text[])",
            "valid_until must be timestamptz; it is date",
        ),
        ("SELEC 1", "is refused: syntax error"),
    ],
)
async def test_mistakes_in_statements_are_found_at_start(parts: Parts, sql: str, message: str) -> None:
    user = parts.definitions.entities["User"]
    with pytest.raises(ValueError, match=message) as failure:
        await parts.computer.check([with_statement(user, "user_purchase_count_30d", sql)])
    assert str(failure.value).startswith("features.user_purchase_count_30d: ")
    with pytest.raises(ValueError, match=r"entities\.User: active: .* must take .1 text after"):
        await parts.computer.check([dataclasses.replace(user, active=user.known)])
    await parts.computer.check(parts.entities)


async def test_statements_of_who_is_known_may_end_as_statements_do(parts: Parts) -> None:
    user = parts.definitions.entities["User"]
    await parts.log.append([order("u1", 5.0, "p1")])
    ended = dataclasses.replace(user, known=f"{user.known.rstrip()};\n")
    await parts.computer.check([ended])
    assert (await parts.computer.standing(ended, ["u1", "u2"], clock_ms())).known == {"u1"}
    with pytest.raises(ValueError, match=r"entities\.User: known: its statement is refused"):
        await parts.computer.check([dataclasses.replace(user, known=f"{user.known.rstrip()}; -- all\n")])


@pytest.mark.parametrize(
    ("after", "until_ms"),
    [("1 millisecond", 1), ("1 microsecond", 1), ("1001 microseconds", 2), ("0", None), ("-1 microsecond", None)],
)
async def test_until_when_a_value_holds_is_the_next_whole_millisecond(
    parts: Parts, after: str, until_ms: int | None
) -> None:
    name = "user_purchase_count_30d"
    sql = f"SELECT id, 1 AS value, $2::timestamptz + interval '{after}' AS valid_until FROM unnest($1::text[]) AS id"
    feature = with_statement(parts.definitions.entities["User"], name, sql).features[name]
    if until_ms is None:
        with pytest.raises(ValueError, match="valid_until that is not after now"):
            await parts.computer.compute(feature, ["a"], 1_000)
    else:
        assert await parts.computer.compute(feature, ["a"], 1_000) == {"a": Outcome(1, 1_000 + until_ms)}


async def counted_computer(parts: Parts) -> tuple[PostgresComputer, list[bool]]:
    """A computer, and for each statement that it asks whether its plan is kept."""
    fetched: list[bool] = []

    def counting(planned: bool) -> Callable[..., Awaitable[list[Any]]]:
        async def fetch(query: str, *arguments: Any) -> list[Any]:
            fetched.append(planned)
            return await (parts.database.fetch_planned if planned else parts.database.fetch)(query, *arguments)

        return fetch

    asked = SimpleNamespace(fetch=counting(False), fetch_planned=counting(True), describe=parts.database.describe)
    counted = PostgresComputer(asked)  # type: ignore[arg-type]
    await counted.check(parts.entities)
    return counted, fetched


@pytest.mark.parametrize("name", ["User", "Product"])
async def test_a_refresh_of_a_few_is_one_statement(parts: Parts, name: str) -> None:
    """Whatever each of them lacks, and whether they are known and to be kept fresh."""
    await parts.log.append([order(f"u{n}", 5.0, f"p{n}") for n in range(9)])
    counted, fetched = await counted_computer(parts)
    entity = parts.definitions.entities[name]
    ids, old_ms = [f"{name[0].lower()}{n}" for n in range(9)], 5
    await parts.online.begin(name, [*ids, "nobody"])
    for place, feature in enumerate(entity.materialized):
        entries = {feature.number: Entry(old_ms, NO_TOKEN, None)}
        await parts.online.write(name, 60_000, dict.fromkeys(ids[: place + 3], (EMPTY, entries)))
    await parts.queue.enqueue(name, dict.fromkeys([*ids, "nobody"], old_ms))
    refresher = Refresher([entity], parts.online, parts.queue, counted, parts.levels, clock_ms, lambda: 0.0, 1.0)
    assert await refresher.refresh(entity) == 10
    assert fetched == [True]
    *records, nobody = await parts.online.read(name, [*ids, "nobody"])
    numbers = {feature.number for feature in entity.materialized}
    assert all(numbers <= {n for n, one in record.entries.items() if one.computed_ms > old_ms} for record in records)
    assert nobody == EMPTY


async def test_what_is_asked_together_is_one_statement_with_the_same_answers(parts: Parts) -> None:
    """Of every bundled feature: of people and products with events, with others, and without.

    One more for those that are planned anew.
    """
    await parts.computer.check(parts.entities)
    now_ms = clock_ms()
    kinds = ("detail-page-view", "add-to-cart", "purchase-complete", "rate")
    await parts.log.append(
        [
            order(f"u{n % 7}", 5.0 + n, f"p{n % 5}")._replace(
                event_type=kinds[n % 4], rating=4.0, event_time_us=(now_ms - n * n * 40_000_000) * 1_000 - 1
            )
            for n in range(120)
        ]
    )
    counted, fetched = await counted_computer(parts)
    for entity, ids, statements in (
        ("User", ["u1", "u2", "nobody", "u3"], [False, True]),
        ("Product", ["p1", "p3", "none"], [True]),
    ):
        features = list(parts.definitions.entities[entity].features.values())
        alone = [await parts.computer.compute(feature, ids, now_ms) for feature in features]
        assert sum(map(bool, alone)) > len(features) // 2
        fetched.clear()
        together = await asyncio.gather(*(counted.compute(feature, ids, now_ms) for feature in features))
        assert (together, sorted(fetched)) == (alone, statements)
        # Callers with other ids share the statements of what both ask for, and get their own.
        fetched.clear()
        first, others = await asyncio.gather(
            counted.compute(features[0], ids[:1], now_ms), counted.compute(features[0], ids[1:], now_ms)
        )
        assert ({**first, **others}, len(fetched)) == (alone[0], 1)
        assert not first.keys() & others.keys()
        # Nobody waits for the many of somebody else.
        fetched.clear()
        many = [f"{entity}{n}" for n in range(1_000)]
        await asyncio.gather(*(counted.compute(features[0], some, now_ms) for some in (ids, many, many)))
        assert len(fetched) == 2


async def test_a_plan_over_all_days_that_the_log_has_is_not_kept(parts: Parts) -> None:
    """It would lock each of them with each read, take megabytes of every connection, and a second to make."""
    await parts.database.fetch(
        "SELECT ensure_log_partitions(ARRAY(SELECT date '2025-01-01' + n FROM generate_series(0, 11) n))"
    )
    for feature in parts.definitions.features:
        plan = await kept_plan(parts, feature)
        removed = sum(map(int, re.findall(r"Subplans Removed: (\d+)", plan)))
        assert (removed >= 10) == feature.plan_anew, plan
        # However much cheaper it looks: to start other processes takes longer than all that they could do.
        assert "Gather" not in plan


async def kept_plan(parts: Parts, feature: Feature) -> str:
    """Of a feature's statement, as PostgreSQL explains it, were other processes there already."""
    async with parts.database.connection(planned=True) as connection, connection.transaction():
        await connection.execute("SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0")
        await connection.execute(f"PREPARE kept AS {feature.sql}")
        rows = await connection.fetch("EXPLAIN EXECUTE kept ('{u}', now())")
        await connection.execute("DEALLOCATE kept")
    return "\n".join([row[0] for row in rows])


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        (
            "SELECT id, 1 / (length(id) - 2) AS value FROM unnest($1::text[]) AS id WHERE $2::timestamptz IS NOT NULL",
            "zero",
        ),
        ("SELECT id, 1 AS value, $2::timestamptz AS valid_until FROM unnest($1::text[]) AS id", "not after now"),
        ("SELECT id, 1 AS value FROM unnest($1::text[]) AS id WHERE $2::timestamptz > '1970-01-02'; -- the end", ""),
        ("SELECT id, 1 AS value FROM unnest($1::varchar[]) AS id WHERE $2::timestamptz > '1970-01-02'", ""),
    ],
)
async def test_who_asks_together_pays_for_no_others_statement(parts: Parts, sql: str, error: str) -> None:
    """What is wrong alone fails alone; what only cannot stand beside others does not fail."""
    name, now_ms = "user_purchase_count_30d", clock_ms()
    user = with_statement(parts.definitions.entities["User"], name, sql)
    await parts.computer.check([user])
    await parts.log.append([order("u1", 5.0)._replace(event_time_us=now_ms * 1_000 - 1_000)])
    features = [user.features[name], user.features["user_avg_order_value"], user.features["user_recent_orders"]]
    for _ in range(2):
        wrong, *right = await asyncio.gather(
            *(parts.computer.compute(feature, ["u1"], now_ms) for feature in features), return_exceptions=True
        )
        assert [outcomes["u1"].value for outcomes in right if isinstance(outcomes, dict)] == [5.0, ["p"]]
        if error:
            assert error in str(wrong)
        else:
            assert wrong == {"u1": Outcome(1)}


async def test_a_wrong_call_is_no_outage(parts: Parts) -> None:
    for _ in range(5):
        with pytest.raises(Exception, match="expects 1 argument") as failure:
            await parts.database.fetch("SELECT $1::int", 1, 2)
        assert not isinstance(failure.value, StoreDownError)
    assert (await parts.database.fetch("SELECT 1"))[0][0] == 1


@pytest.fixture
async def hurried(postgres: PostgresServer, valkey: ValkeyServer) -> AsyncIterator[Parts]:
    """Stores that give statements half a second."""
    dsn = await postgres.create_database("features")
    await asyncio.to_thread(migrate, dsn, MIGRATIONS)
    async with AsyncExitStack() as closers:
        yield await open_parts(settings(dsn, valkey.url, FEATURES_DATABASE_TIMEOUT=0.5), closers)


def refreshing(parts: Parts, *entities: Entity) -> Refresher:
    return Refresher(entities, parts.online, parts.queue, parts.computer, parts.levels, clock_ms, random.random, 1.0)


async def test_a_slow_statement_is_no_outage_and_costs_its_own_feature_only(hurried: Parts) -> None:
    count, average = "user_purchase_count_30d", "user_avg_order_value"
    await hurried.log.append([order("u1", 5.0)._replace(event_time_us=clock_ms() * 1_000 - 1_000_000)])
    user = hurried.definitions.entities["User"]
    slow = with_statement(
        user,
        count,
        "SELECT id, 1 AS value FROM unnest($1::text[]) AS id, pg_sleep(30) WHERE $2::timestamptz IS NOT NULL",
    )
    for _ in range(3):
        with pytest.raises(SlowStatementError):
            await hurried.computer.compute(slow.features[count], ["u1"], clock_ms())
    refresher = refreshing(hurried, slow)
    await hurried.queue.enqueue("User", {"u1": 1})
    assert await refresher.refresh(slow) == 1
    (record,) = await hurried.online.read("User", ["u1"])
    assert record.entries[user.features[average].number].value == 5.0
    assert user.features[count].number not in record.entries


async def test_what_was_slow_keeps_those_who_ask_with_it_waiting_once(hurried: Parts) -> None:
    """Whichever features these are."""
    slow = "SELECT id, 1 AS value FROM unnest($1::text[]) AS id, pg_sleep(30) WHERE $2::timestamptz IS NOT NULL"
    user = with_statement(hurried.definitions.entities["User"], "user_purchase_count_30d", slow)
    await hurried.computer.check([user])
    others = ["user_avg_order_value", "user_recent_orders", "user_recent_views", "user_recent_carts"]
    waited = []
    for some in (others[:2], others[2:], others):
        stuck = asyncio.ensure_future(hurried.computer.compute(user.features["user_purchase_count_30d"], ["u1"], 1))
        answers = asyncio.gather(*(hurried.computer.compute(user.features[name], ["u1"], 1) for name in some))
        assert await answers == [{}] * len(some)
        waited.append(stuck.done())
        with pytest.raises(SlowStatementError):
            await stuck
    assert waited == [True, False, False]


async def test_an_entity_that_cannot_be_refreshed_stops_no_other(hurried: Parts) -> None:
    await hurried.log.append([order("u1", 5.0, "p1")._replace(event_time_us=clock_ms() * 1_000 - 1_000_000)])
    user, product = (hurried.definitions.entities[name] for name in ("User", "Product"))
    stuck = dataclasses.replace(user, known="SELECT id FROM unnest($1::text[]) AS id, pg_sleep(30)")
    refresher = refreshing(hurried, stuck, product)
    await hurried.queue.enqueue("User", {"u1": 1})
    await hurried.queue.enqueue("Product", {"p1": 1})

    async def stored() -> bool:
        (record,) = await hurried.online.read("Product", ["p1"])
        return product.features["product_popularity_score"].number in record.entries

    async with background("refresh", refresher.run()):
        await eventually(stored)


async def test_a_pool_that_is_used_up_is_no_outage(parts: Parts) -> None:
    held = [parts.database.connection() for _ in range(6)]  # half of them plan anew
    for one in held:
        await one.__aenter__()
    for _ in range(3):
        with pytest.raises(StoreDownError, match="no free connection"):
            await parts.database.fetch("SELECT 1")
    for one in held:
        await one.__aexit__(None, None, None)
    assert (await parts.database.fetch("SELECT 1"))[0][0] == 1
