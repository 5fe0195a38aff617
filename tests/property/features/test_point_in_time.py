"""No value of a training row depends on what happens at its instant or later; each is what serving would have said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.features.app import MIGRATIONS, Parts, open_parts
from services.features.domain.events import Event, Line
from services.features.domain.features import NO_EVIDENCE, Feature, Reading, Value
from services.features.domain.training import past_reading
from services.features.signal_ports import Signal, SignalPage
from services.features.stores.asking import instant
from services.features.stores.signals import PostgresSignals
from services.features.training import TrainingReader
from services.runtime.migrations import migrate
from tests.property.features.test_machine import PROFILE
from tests.support import features as support
from tests.support import popularity
from tests.support.stack import PostgresServer, ValkeyServer

EXAMPLES = 100 if PROFILE == "short" else 1_000
MINUTE, DAY = 60_000_000, 86_400_000_000  # us
BASE = 1_760_000_000_000_000
# Around the edges of the windows of all declarations. A microsecond after a whole millisecond is what serving, whose
# clock ticks in those, can be asked about: it computes at the instant just before.
INSTANTS = [
    BASE + after + tick
    for after in (0, 30 * MINUTE, 60 * MINUTE, 7 * DAY, 30 * DAY, 90 * DAY, 180 * DAY, 365 * DAY)
    for tick in (1, -999, 0, 2, 1_001)
]
END = max(INSTANTS) + DAY
PRODUCTS = ["p1", "p2", "p3", "unknown"]
KINDS = ["detail-page-view", "add-to-cart", "purchase-complete", "rate", "impression", "click", "search"]
# The row under test is known by its quantity, which no feature reads.
MARK = 77

OWN = """
[features.user_quotes]
entity = "User"
type = "string"
description = "A statement that is hard to read for whoever is not PostgreSQL."
refresh = "1m"
ttl = "1h"
on_event = "none"
sql = "quotes.sql"

[features.product_seen]
entity = "Product"
type = "timestamp"
description = "When it was named last."
refresh = "1m"
ttl = "1h"
on_event = "none"
sql = "seen.sql"

[features.user_kinds]
entity = "User"
type = "table"
description = "How often each type of event happened."
refresh = "1m"
ttl = "1h"
on_event = "none"
sql = "kinds.sql"
"""
STATEMENTS = {
    "quotes.sql": """-- $1 is no parameter here, and it's no quote
        SELECT subject_id AS "id", /* nor $2 /* here */ */ $q$'$1 $$ $q$ || E'\\'$2' || max($2::timestamptz)::text
               || count(*) AS value
        FROM event_lines AS asked
        WHERE subject_id = ANY ($1) AND event_time <= $2
        GROUP BY asked.subject_id; -- the end""",
    "seen.sql": "SELECT product_id AS id, max(event_time) AS value FROM event_lines"
    " WHERE product_id = ANY ($1) AND event_time <= $2 GROUP BY product_id",
    "kinds.sql": """
        WITH kinds AS (
          SELECT subject_id, event_type::text AS place, count(*)::float8 AS number FROM event_lines
          WHERE subject_id = ANY ($1) AND event_time <= $2 GROUP BY 1, 2
        )
        SELECT subject_id AS id, array_agg(place ORDER BY place) AS keys, array_agg(number ORDER BY place) AS place,
               $2 + interval '1 hour' AS valid_until
        FROM kinds GROUP BY subject_id""",
}


class Happening(NamedTuple):
    """An event but for its id; ``user`` "" is a guest."""

    kind: str
    user: str
    products: tuple[str, ...]
    time_us: int
    number: int  # of stars, or the revenue


happenings = st.builds(
    Happening,
    st.sampled_from(KINDS),
    st.sampled_from(["u1", "u2", ""]),
    st.lists(st.sampled_from(PRODUCTS), min_size=1, max_size=3, unique=True).map(tuple),
    st.sampled_from(INSTANTS),
    st.integers(1, 5),
)
rows = st.builds(
    Happening,
    st.sampled_from(["impression", "purchase-complete"]),
    st.sampled_from(["u1", "u2"]),
    st.lists(st.sampled_from(PRODUCTS), min_size=1, max_size=3, unique=True).map(tuple),
    st.sampled_from(INSTANTS),
    st.integers(1, 5),
)


class History:
    """A log that is filled anew for each example, over a catalogue that stays."""

    def __init__(self, parts: Parts, connection: Any) -> None:
        self._parts = parts
        self._connection = connection
        self.features = parts.definitions.features

    async def happened(self, events: Sequence[Happening], marked: int | None = None) -> None:
        """The log has these events and no others; they came in this order."""
        tables = await self._connection.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
            " AND NOT relispartition AND relname !~ '^(product_signals|erasure_salt|_?yoyo)'"
        )
        await self._connection.execute("".join(f"DELETE FROM {table[0]};" for table in tables))
        if events:
            await self._parts.log.append([_event(e, str(n), MARK if n == marked else 1) for n, e in enumerate(events)])

    async def marked_rows(self) -> dict[str, dict[str, Reading]]:
        """By product and feature, the readings of the rows of the marked event."""
        found: dict[str, dict[str, Reading]] = {}
        reader = TrainingReader(self._parts.training)
        async for rows, readings in reader.read(0, END, ["impression", "purchase-complete"], self.features):
            for place, (product, quantity) in enumerate(zip(rows.product_ids, rows.quantities, strict=True)):
                if quantity == MARK:
                    assert product not in found, "a line is read once"
                    found[product] = {f.name: column[place] for f, column in zip(self.features, readings, strict=True)}
        return found

    async def served(self, user: str, products: Sequence[str], now_ms: int) -> dict[str, dict[str, Reading]]:
        """What a read that computes at ``now_ms`` would answer of the log as it is."""
        return {
            product: {
                f.name: await self._served(f, user if f.entity == "User" else product, now_ms) for f in self.features
            }
            for product in products
        }

    async def _served(self, feature: Feature, id_: str, now_ms: int) -> Reading:
        value: Value | None
        if feature.relative is None:
            outcomes = await self._parts.computer.compute(feature, [id_], now_ms)
            value = outcomes.get(id_, NO_EVIDENCE).value
        else:
            value = (await popularity.scores(self._connection, [id_], instant(now_ms))).get(id_)
        return past_reading(feature, value, 0)


def _event(happening: Happening, event_id: str, quantity: int) -> Event:
    kind, user, products, time_us, number = happening
    lines = () if kind == "search" else tuple(Line(product, quantity, None) for product in products)
    return Event(
        event_id, kind, user, "" if user else "v1", "", time_us, lines,
        float(number) if kind == "purchase-complete" else None, float(number) if kind == "rate" else None,
        None, "", "", {},
    )  # fmt: skip


@pytest.fixture(params=["bundled", "own"])
async def history(
    request: pytest.FixtureRequest, postgres: PostgresServer, valkey: ValkeyServer, tmp_path: Path
) -> AsyncIterator[History]:
    changes = {}
    if request.param == "own":
        (tmp_path / "own.toml").write_text(OWN)
        for name, sql in STATEMENTS.items():
            (tmp_path / name).write_text(sql)
        changes = {"FEATURES_DEFINITIONS": tmp_path / "own.toml"}
    dsn = await postgres.create_database("features")
    await asyncio.to_thread(migrate, dsn, MIGRATIONS)
    async with AsyncExitStack() as closers:
        parts = await open_parts(support.settings(dsn, valkey.url, **changes), closers)
        await parts.computer.check(parts.entities)
        signals = PostgresSignals(parts.database)
        shelf = zip(PRODUCTS, ("Toys", "Books", "Toys"), (1, 2, 3), strict=False)
        known = [_signal(product, category, 10.0 * n, n) for product, category, n in shelf]
        await signals.apply(SignalPage(known, "1", restart=True, caught_up=True))
        await signals.rank_prices(["Toys", "Books"])
        yield History(parts, await closers.enter_async_context(parts.database.connection()))


def _signal(product: str, category: str, price: float, quantity: int) -> Signal:
    fields: dict[str, Any] = dict.fromkeys(Signal.__dataclass_fields__)
    return Signal(
        **fields
        | {
            "product_id": product,
            "deleted": False,
            "top_category": category,
            "price": price,
            "available_quantity": quantity,
            "low_stock_threshold": 2,
            "rating_average": 4.5,
            "rating_count": 3,
            "brand": f"of {product}",
        }
    )


class Case(NamedTuple):
    """A row, what happens beside it in one world, and what happens at its instant or after it in another."""

    row: Happening
    beside: list[Happening]
    later: list[Happening]
    # When what is new in the other world is sent.
    places: list[int]


_events = st.lists(happenings, max_size=12)
cases = st.builds(Case, rows, _events, _events, st.lists(st.integers(0, 30), min_size=13, max_size=13))


async def explore(check: Callable[[Case], Coroutine[Any, Any, None]]) -> None:
    """Runs an asynchronous property: examples are made in a thread, and each is awaited on this loop."""
    loop = asyncio.get_running_loop()

    def wait(case: Case) -> None:
        asyncio.run_coroutine_threadsafe(check(case), loop).result()

    configured = settings(
        max_examples=EXAMPLES,
        derandomize=PROFILE == "short",
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    await asyncio.to_thread(configured(given(cases)(wait)))


@pytest.mark.timeout(180 if PROFILE == "short" else 7_200)
async def test_no_value_depends_on_its_instant_or_later(history: History) -> None:
    async def check(case: Case) -> None:
        row, now_us = case.row, case.row.time_us
        await history.happened([*case.beside, row], len(case.beside))
        expected = await history.marked_rows()
        assert set(expected) == set(row.products)
        past = [event for event in case.beside if event.time_us < now_us]
        # The same past, sent in the same order: who came first settles ties. All else differs and comes at any time,
        # as what is late does; even the row may come before its past.
        other = [(event, False) for event in past]
        new = [(event, False) for event in case.later if event.time_us >= now_us]
        for event, place in zip([(row, True), *new], case.places, strict=False):
            other.insert(place % (len(other) + 1), event)
        await history.happened([event for event, _ in other], other.index((row, True)))
        assert await history.marked_rows() == expected
        if now_us % 1_000 == 1:
            await history.happened(past)
            served = await history.served(row.user, row.products, now_us // 1_000)
            assert _without_time(expected) == _without_time(served)

    await explore(check)


def _without_time(readings: Mapping[str, Mapping[str, Reading]]) -> dict[str, dict[str, tuple[Any, Any]]]:
    return {
        product: {name: (reading.value, reading.status) for name, reading in of_product.items()}
        for product, of_product in readings.items()
    }
