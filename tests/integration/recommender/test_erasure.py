"""Erasure in the recommender: nothing is stored of persons, and what processes remember goes."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import grpc
import numpy as np
import pytest

from services.recommender import ranking
from services.recommender.pipeline.shopper import Shoppers
from services.runtime.errors import from_rpc
from tests.support.catalogue import import_products, product
from tests.support.feature_service import FeatureServer, User, running_features
from tests.support.recommender import RunningRecommender, ids, running_recommender
from tests.support.stack import PostgresServer
from tests.support.waiting import eventually

PRODUCTS = [f"{group}-{number}" for group in ("red", "blue") for number in range(12)]
PERSON = "red-user-1"


@dataclass(frozen=True, slots=True)
class Bench:
    """A recommender whose feature service knows two groups of users."""

    service: RunningRecommender
    features: FeatureServer
    dsn: str


@pytest.fixture
async def bench(postgres: PostgresServer) -> AsyncIterator[Bench]:
    dsn = await postgres.create_database("recommender")
    async with running_features() as server, running_recommender(dsn, server.address) as service:
        await import_products(service.catalog, [product(name) for name in PRODUCTS])
        for group in ("red", "blue"):
            for user in range(10):
                server.features.users[f"{group}-user-{user}"] = User(group, views=[f"{group}-3"])
                for number in range(12):
                    if (user + number) % 4:
                        server.features.interact(f"{group}-user-{user}", f"{group}-{number}", days_ago=number)
        yield Bench(service, server, dsn)


async def test_nothing_is_stored_of_persons(bench: Bench) -> None:
    """Neither in what a model version keeps nor in the tombstone: the user's vector is made at the request."""
    await bench.service.train()
    assert (await bench.service.recommend(PERSON)).results
    assert await bench.service.erase(PERSON) == {"signals": 1}
    assert await bench.service.erase(PERSON) == {"signals": 0}
    connection = await asyncpg.connect(bench.dsn)
    try:
        tables = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        for table in (row["relname"] for row in tables):
            assert PERSON not in str(await connection.fetch(f'SELECT t::text FROM "{table}" t')), table
        for row in await connection.fetch("SELECT content FROM model_artifacts"):
            with np.load(io.BytesIO(row["content"]), allow_pickle=False) as arrays:
                assert not any(PERSON.encode() in arrays[name].tobytes() for name in arrays)
    finally:
        await connection.close()


async def test_a_guest_is_not_the_user_of_the_same_id(bench: Bench) -> None:
    await bench.service.recommend(PERSON)

    assert await bench.service.erase(PERSON, "Visitor") == {"signals": 0}
    assert await bench.service.erase(PERSON) == {"signals": 1}


async def test_no_process_uses_what_it_remembered(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes have seen the person; one is asked to erase. Then the feature service goes down."""
    made: list[Any] = []
    monkeypatch.setattr(ranking, "Shoppers", _noting(Shoppers, made))
    async with (
        running_recommender(bench.dsn, bench.features.address) as one,
        running_recommender(bench.dsn, bench.features.address) as other,
    ):
        for service in (one, other):
            await service.recommend(PERSON)
            await service.recommend("red-user-2")
        assert [len(shoppers._last) for shoppers in made] == [2, 2]

        assert (await one.erase(PERSON))["signals"] == 1
        assert {shopper.id for shopper in made[0]._last} == {"red-user-2"}
        # The feature service is erased a moment later: what it still says is not remembered.
        await one.recommend(PERSON)
        assert {shopper.id for shopper in made[0]._last} == {"red-user-2"}

        async def other_forgets() -> bool:
            await other.recommend(PERSON)
            return {shopper.id for shopper in made[1]._last} == {"red-user-2"}

        await eventually(other_forgets, timeout=3)
        await bench.features.stop()
        for service in (one, other):
            page, stranger = await service.recommend(PERSON), await service.recommend("stranger")
            assert "features" in page.degraded
            assert ids(page) == ids(stranger)


def _noting(kind: Any, made: list[Any]) -> Any:
    def make(*arguments: Any) -> Any:
        made.append(kind(*arguments))
        return made[-1]

    return make


@pytest.mark.parametrize(("entity", "id_"), [("Product", "red-1"), ("", "a"), ("User", "~a"), ("User", "")])
async def test_only_persons_are_erased(bench: Bench, entity: str, id_: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await bench.service.erase(id_, entity)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert from_rpc(raised.value).violations[0].field in {"entity", "id"}
