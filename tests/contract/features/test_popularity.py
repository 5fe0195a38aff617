"""Popularity by levels and maxima against the statement that reads the whole window."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from services.features.app import Parts
from services.features.domain.events import Event
from services.features.domain.features import Feature
from services.features.domain.relative import Relative
from services.features.level_ports import Greatest
from services.features.stores.asking import instant
from tests.contract.features.test_exact_values import DAY, HOUR, NOW, Shop, event, order, view
from tests.support import popularity

PRODUCTS = [f"p{n}" for n in range(12)]
WINDOW = 30 * DAY


@pytest.fixture
def shop(parts: Parts) -> Shop:
    return Shop(parts)


@pytest.fixture
def feature(parts: Parts) -> Feature:
    return next(f for f in parts.definitions.features if f.name == popularity.NAME)


@pytest.fixture
def relative(feature: Feature) -> Relative:
    assert feature.relative is not None
    return feature.relative


def history(dice: random.Random) -> list[Event]:
    """Many lines of few products over two windows, some at one instant, some at the edges, some yet to come."""
    events = []
    for _ in range(150):
        product = dice.choices(PRODUCTS, weights=range(1, len(PRODUCTS) + 1))[0]
        ago = dice.choice([dice.uniform(0, 2 * WINDOW), dice.uniform(0, DAY), WINDOW, WINDOW + DAY, -120.0, 0.0])
        kind = dice.choice(["detail-page-view", "add-to-cart", "purchase-complete", "click"])
        products = [product, dice.choice(PRODUCTS)] if kind == "purchase-complete" else [product]
        events.append(event(kind, "u", *products, ago=ago, after_us=dice.choice([0, 0, -1, 1])))
    return events


@pytest.mark.parametrize("seed", range(5))
async def test_magnitudes_and_maxima_are_the_scores_of_the_whole_window(
    shop: Shop, feature: Feature, relative: Relative, seed: int
) -> None:
    dice = random.Random(seed)
    await shop.happened(*history(dice))
    instants = [
        NOW,
        NOW + 120_000,
        NOW + 120_001,
        NOW - 1,
        *(NOW - dice.randrange(int(WINDOW * 1_000)) for _ in range(6)),
    ]
    instants += [NOW + round(after * 1_000) for after in (DAY, 29 * DAY, WINDOW, WINDOW + 100, 90 * DAY)]
    greatest = await shop.parts.computer.maximum(feature, instants)
    for at in instants:
        assert await shop.parts.computer.maximum(feature, [at]) == {
            instant_: pytest.approx(value, rel=1e-9) for instant_, value in greatest.items() if instant_ == at
        }
        magnitudes = await shop.outcomes(popularity.NAME, PRODUCTS, at)
        served = {
            i: relative.score(outcome.value, greatest[at])
            for i, outcome in magnitudes.items()
            if isinstance(outcome.value, float)
        }
        assert served == await popularity.scores(shop.parts.database, PRODUCTS, instant(at))
        assert bool(served) == (at in greatest)
    assert len(greatest) == len(instants) - 1  # ninety days later nothing is left


async def test_a_level_stands_still_until_the_statement_says_otherwise(
    shop: Shop, feature: Feature, relative: Relative
) -> None:
    dice = random.Random(1)
    await shop.happened(*history(dice))
    for product, outcome in (await shop.outcomes(popularity.NAME, PRODUCTS)).items():
        assert outcome.until_ms is not None
        if outcome.value is None:
            assert outcome.until_ms > NOW  # what it has is yet to come
            continue
        assert isinstance(outcome.value, float)
        level = relative.level(outcome.value, NOW)
        for later in {outcome.until_ms - 1, (NOW + outcome.until_ms) // 2}:
            value = (await shop.outcomes(popularity.NAME, [product], later))[product].value
            assert isinstance(value, float)
            assert relative.level(value, later) == pytest.approx(level, abs=1e-9)
        changed = (await shop.outcomes(popularity.NAME, [product], outcome.until_ms)).get(product)
        assert (
            changed is None
            or changed.value is None
            or changed.value != pytest.approx(relative.magnitude(level, outcome.until_ms), rel=1e-9)
        )


async def test_an_event_to_come_is_when_a_value_changes(shop: Shop) -> None:
    await shop.happened(
        view("u", "first", ago=-60), view("u", "more", ago=-60, after_us=1), view("u", "more", ago=HOUR),
        view("u", "leaves", ago=WINDOW - 30), view("u", "leaves", ago=-60), view("u", "leaves", ago=-90),
    )  # fmt: skip
    found = await shop.outcomes(popularity.NAME, ["first", "more", "leaves"])
    assert {i: outcome.until_ms for i, outcome in found.items()} == {
        "first": NOW + 60_000, "more": NOW + 60_001, "leaves": NOW + 30_000,
    }  # fmt: skip
    assert found["first"].value is None


class TestLevels:
    async def level(self, parts: Parts, feature: Feature) -> float | None:
        return (await parts.levels.greatest(feature, None)).level

    async def put(self, parts: Parts, feature: Feature, at_ms: int, levels: Mapping[str, float | None]) -> None:
        greatest = await parts.levels.put(feature, levels, at_ms)
        assert greatest == await self.level(parts, feature)

    async def test_the_greatest_of_a_feature(self, parts: Parts, feature: Feature) -> None:
        other = next(f for f in parts.definitions.features if f.name != feature.name)
        assert await parts.levels.greatest(feature, None) == Greatest(False, None, 0, None)
        await self.put(parts, feature, 5, {"a": 1.5, "b": 2.5, "c": None})
        await self.put(parts, other, 5, {"a": 9.0})
        assert await parts.levels.greatest(feature, None) == Greatest(False, 2.5, 5, None)
        await parts.levels.complete(feature)
        await parts.levels.complete(feature)
        assert await parts.levels.greatest(feature, None) == Greatest(True, 2.5, 5, None)
        await self.put(parts, feature, 6, {"b": 1.0})
        assert await self.level(parts, feature) == 1.5

    async def test_of_two_computations_the_later_one_stays(self, parts: Parts, feature: Feature) -> None:
        await self.put(parts, feature, 10, {"a": 1.0, "b": 1.0, "c": 1.0})
        await self.put(parts, feature, 9, {"a": 5.0})
        await self.put(parts, feature, 9, {"b": None})
        assert await self.level(parts, feature) == 1.0
        await self.put(parts, feature, 11, {"a": None, "b": None, "c": None})
        await self.put(parts, feature, 10, {"a": 5.0})
        assert await self.level(parts, feature) is None
        await self.put(parts, feature, 12, {"a": 5.0})
        assert await self.level(parts, feature) == 5.0

    async def test_what_was_not_computed_lately_is_listed_and_what_is_gone_is_cleaned(
        self, parts: Parts, feature: Feature
    ) -> None:
        other = next(f for f in parts.definitions.features if f.name != feature.name)
        await self.put(parts, other, 1, {"z": 1.0})
        await parts.levels.complete(other)
        await self.put(parts, feature, 10, {"a": 1.0, "b": 1.0, "c": 1.0, "gone": 1.0})
        await self.put(parts, feature, 20, {"b": 1.0, "gone": None})
        assert await parts.levels.listed(feature, "", 20, 10) == ["a", "c"]
        assert await parts.levels.listed(feature, "", 21, 2) == ["a", "b"]
        assert await parts.levels.listed(feature, "b", 21, 2) == ["c"]
        await parts.levels.clean([feature], 20)
        assert len(await parts.database.fetch("SELECT FROM entity_levels")) == 4
        await parts.levels.clean([feature], 21)
        rows = await parts.database.fetch("SELECT id, computed_ms FROM entity_levels ORDER BY id")
        assert [tuple(row) for row in rows] == [("a", 10), ("b", 20), ("c", 10)]
        assert not (await parts.levels.greatest(other, None)).complete

    async def test_says_when_the_first_event_from_a_transaction_on_happened(
        self, shop: Shop, parts: Parts, feature: Feature
    ) -> None:
        async def since(cursor: int) -> int | None:
            return (await parts.levels.greatest(feature, cursor)).since_ms

        start = await parts.log.horizon()
        assert await since(start) is None
        now = (await parts.database.fetch("SELECT now() AS now"))[0]["now"]
        ago = NOW / 1_000 - now.timestamp()  # seconds that the database's clock is ahead of NOW, negative
        await shop.happened(order("u", 1.0, "p", ago=ago + 0.5), order("u", 1.0, "p", ago=ago))
        assert await since(start) == pytest.approx(now.timestamp() * 1_000 - 500, abs=2)
        middle = await parts.log.horizon()
        await shop.happened(order("u", 1.0, "p"))  # years late
        ingested = await parts.database.fetch("SELECT max(ingest_time) AS last FROM ingests")
        assert await since(middle) == pytest.approx(ingested[0]["last"].timestamp() * 1_000 - 2_000, abs=2)
        assert await since(await parts.log.horizon()) is None
