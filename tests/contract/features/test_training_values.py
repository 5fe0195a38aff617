"""Each declared feature, as of an instant of the past: by its own statement, planned into the query that asks it."""

from __future__ import annotations

from services.features.app import Parts
from services.features.domain.features import Status
from services.features.domain.training import Moment, TrainingChunk
from services.features.signal_ports import SignalPage
from services.features.stores.asking import instant
from services.features.stores.signals import PostgresSignals
from services.features.training import TrainingReader
from services.features.training_ports import Question
from tests.contract.features.test_exact_values import DAY, HOUR, MINUTE, NOW, event, order, product, rate, view
from tests.support import popularity

USER, PRODUCT = "u1", "p1"


async def lived(parts: Parts) -> None:
    """A past in which every declared feature has a value; then the user is shown a product."""
    signals = PostgresSignals(parts.database)
    await signals.apply(SignalPage([product("p1", brand="Acme"), product("p2", brand="Umbra")], "1", True, True))
    await signals.rank_prices(["Toys"])
    await parts.log.append(
        [
            order(USER, 30.0, "p1", "p2", ago=40 * DAY),
            order(USER, 10.0, "p1", ago=2 * DAY),
            order("u2", 99.0, "p2", "p1", ago=3 * DAY),
            rate("u2", "p1", 4.0, ago=2 * DAY),
            event("add-to-cart", USER, "p2", ago=1 * HOUR),
            view(USER, "p2", "p1", ago=20 * MINUTE),
            view(USER, "p1", ago=10 * MINUTE),
            # At its instant, and after it.
            event("impression", USER, "p1", ago=MINUTE, after_us=1),
            order(USER, 1_000.0, "p1", "p2", ago=MINUTE, after_us=1),
            rate("u2", "p1", 1.0, ago=0.0),
        ]
    )


async def shown(parts: Parts) -> TrainingChunk:
    """The row of the impression, with all features."""
    reader = TrainingReader(parts.training)
    (chunk,) = [c async for c in reader.read(0, NOW * 1_000, ["impression"], parts.definitions.features)]
    assert (list(chunk.rows.user_ids), list(chunk.rows.product_ids)) == ([USER], [PRODUCT])
    return chunk


async def test_every_declared_feature_is_what_serving_would_have_computed(parts: Parts) -> None:
    await lived(parts)
    readings = {
        f.name: column[0] for f, column in zip(parts.definitions.features, (await shown(parts)).readings, strict=True)
    }
    assert [name for name, reading in readings.items() if reading.status is not Status.PRESENT] == []
    assert {reading.computed_ms for reading in readings.values()} == {NOW - 60_000}
    for feature in parts.definitions.features:
        id_ = USER if feature.entity == "User" else PRODUCT
        if feature.relative is None:
            expected = {i: o.value for i, o in (await parts.computer.compute(feature, [id_], NOW - 60_000)).items()}
        else:
            expected = dict(await popularity.scores(parts.database, [id_], instant(NOW - 60_000)))
        assert readings[feature.name].value == expected[id_], feature.name


async def test_statements_are_planned_into_the_query(parts: Parts) -> None:
    """A function that is called, and not replaced by its body, is planned without the row's id and instant."""
    moments = [Moment(id_, NOW * 1_000) for id_ in (USER, PRODUCT)]
    await parts.training.values([Question(feature, moments) for feature in parts.definitions.features])
    async with parts.database.patient() as connection:
        for feature in parts.definitions.features:
            statement = await parts.training._prepared(connection, feature)
            rows = await connection.fetch("EXPLAIN (VERBOSE) " + statement.call, [USER], [instant(NOW)])
            assert statement.function not in "\n".join(row[0] for row in rows), feature.name
