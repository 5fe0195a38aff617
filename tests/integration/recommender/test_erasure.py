"""Erasure in the recommender: vectors of every version, a run under way, and what processes remember."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import grpc
import pytest
from windowshop.recommender.v1 import model_pb2 as pb

from services.recommender import ranking
from services.recommender.pipeline.shopper import Shoppers
from services.recommender.training.trainer import Trainer
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

    async def vectors(self, user: str) -> set[str]:
        """The models that know a user."""
        connection = await asyncpg.connect(self.dsn)
        try:
            rows = await connection.fetch("SELECT model_id FROM user_factors WHERE user_id = $1", user)
            return {row["model_id"] for row in rows}
        finally:
            await connection.close()

    def leave_the_log(self, user: str) -> None:
        """What the feature service's own erasure does."""
        fake = self.features.features
        fake.rows = [row for row in fake.rows if row[0] != user]
        fake.users.pop(user, None)


@pytest.fixture
async def bench(postgres: PostgresServer) -> AsyncIterator[Bench]:
    dsn = await postgres.create_database()
    async with running_features() as server, running_recommender(dsn, server.address) as service:
        await import_products(service.catalog, [product(name) for name in PRODUCTS])
        for group in ("red", "blue"):
            for user in range(10):
                server.features.users[f"{group}-user-{user}"] = User(group, views=[f"{group}-3"])
                for number in range(12):
                    if (user + number) % 4:
                        server.features.interact(f"{group}-user-{user}", f"{group}-{number}", days_ago=number)
        yield Bench(service, server, dsn)


async def test_the_vectors_of_every_model_version_go(bench: Bench) -> None:
    first, second = await bench.service.train(), await bench.service.train()
    assert await bench.vectors(PERSON) == {first.id, second.id}

    assert (await bench.service.erase(PERSON))["vectors"] == 2

    assert await bench.vectors(PERSON) == set()
    assert await bench.vectors("red-user-2") == {first.id, second.id}
    assert await bench.service.erase(PERSON) == {"vectors": 0, "signals": 0}
    connection = await asyncpg.connect(bench.dsn)
    try:
        assert PERSON not in str(await connection.fetch("SELECT t::text FROM erased_shoppers t"))
    finally:
        await connection.close()


async def test_a_guest_is_not_the_user_of_the_same_id(bench: Bench) -> None:
    model = await bench.service.train()

    assert (await bench.service.erase(PERSON, "Visitor"))["vectors"] == 0

    assert await bench.vectors(PERSON) == {model.id}


@pytest.mark.parametrize("stage", ["read", "stored"])
async def test_a_training_run_under_way_does_not_bring_a_person_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """Erased after the run has read the log; or when the vectors are stored, and before they serve."""
    reached, release = asyncio.Event(), asyncio.Event()
    name = {"read": "_read", "stored": "_serve"}[stage]
    original = getattr(Trainer, name)

    async def paused(self: Any, *arguments: Any) -> Any:
        result = await original(self, *arguments) if stage == "read" else None
        reached.set()
        await release.wait()
        return result if stage == "read" else await original(self, *arguments)

    monkeypatch.setattr(Trainer, name, paused)
    training = asyncio.create_task(bench.service.train())
    await reached.wait()
    bench.leave_the_log(PERSON)
    await bench.service.erase(PERSON)
    release.set()

    model = await training
    assert model.state == pb.ACTIVE
    assert await bench.vectors(PERSON) == set()
    assert await bench.vectors("red-user-2") == {model.id}


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
