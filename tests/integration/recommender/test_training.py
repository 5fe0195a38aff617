"""Training over gRPC: from rows of the feature service to an active model version."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import grpc
import pytest
from windowshop.recommender.v1 import model_pb2 as pb

from services.recommender.domain import learned as knowledge
from services.recommender.stores.models import INTERRUPTED
from services.recommender.training import process, trainer
from services.recommender.training.learning.version import learn
from services.recommender.training.process import Learnt
from services.runtime.errors import ServiceError, from_rpc
from tests.support.catalogue import import_products, product
from tests.support.feature_service import FakeFeatures, FeatureServer, User, running_features
from tests.support.recommender import RunningRecommender, ids, running_recommender
from tests.support.shoplog import NOW, shop
from tests.support.stack import PostgresServer
from tests.support.waiting import eventually

GROUPS = ("red", "blue")
PRODUCTS = [f"{group}-{number}" for group in GROUPS for number in range(12)]


@dataclass(frozen=True, slots=True)
class Bench:
    """A recommender on an empty model registry."""

    service: RunningRecommender
    features: FakeFeatures
    server: FeatureServer
    dsn: str


@pytest.fixture
async def bench(postgres: PostgresServer) -> AsyncIterator[Bench]:
    dsn = await postgres.create_database("recommender")
    async with running_features() as server, running_recommender(dsn, server.address) as service:
        await import_products(service.catalog, [product(name) for name in PRODUCTS])
        yield Bench(service, server.features, server, dsn)


def behave(features: FakeFeatures) -> None:
    """Twenty users, ten of each group, each of whom bought most of the group's products."""
    for group in GROUPS:
        for user in range(10):
            for number in range(12):
                if (user + number) % 4:
                    features.interact(f"{group}-user-{user}", f"{group}-{number}", "purchase-complete", days_ago=number)


def remember(features: FakeFeatures) -> None:
    """What the log says of two shoppers, as the features that a request reads."""
    for name in ("red-user-0", "red-user-1"):
        features.users[name] = User(purchases=[product for user, product, *_ in features.rows if user == name])


async def models(bench: Bench) -> list[pb.Model]:
    return list((await bench.service.models.ListModels(pb.ListModelsRequest(), timeout=10)).models)


async def error_of(call: object) -> ServiceError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call  # type: ignore[misc]  # an awaitable call
    return from_rpc(caught.value)


async def factors(dsn: str, model_id: str) -> dict[str, tuple[float, ...]]:
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT product_id, embedding::text FROM product_factors WHERE model_id = $1", model_id
        )
        return {row[0]: tuple(map(float, row[1].strip("[]").split(","))) for row in rows}
    finally:
        await connection.close()


async def test_a_run_ends_in_an_active_model_that_recommends(bench: Bench) -> None:
    behave(bench.features)
    remember(bench.features)
    started = await bench.service.models.TrainModel(pb.TrainModelRequest(), timeout=10)
    assert started.state == pb.TRAINING

    async def done() -> pb.Model | None:
        model = await bench.service.models.GetModel(pb.GetModelRequest(id=started.id), timeout=10)
        return None if model.state == pb.TRAINING else model

    model = await eventually(done, timeout=60)
    assert model is not None
    assert model.state == pb.ACTIVE
    assert model.progress == 1.0
    assert model.HasField("finish_time")
    assert model.metrics["users"] == 20
    assert model.metrics["products"] == 24
    assert model.metrics["interactions"] == len(bench.features.rows)
    assert model.lineage["labels"]
    assert model.lineage["ranker_anything"]
    page = await bench.service.recommend("red-user-0", size=8)
    assert page.model_version == model.id
    assert all(id_.startswith("red") for id_ in ids(page)[:5])
    assert any("Shoppers like you bought this" in result.reasons for result in page.results)


async def test_one_run_at_a_time(bench: Bench) -> None:
    behave(bench.features)
    calls = (bench.service.models.TrainModel(pb.TrainModelRequest(), timeout=10) for _ in range(3))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    begun = [outcome for outcome in outcomes if isinstance(outcome, pb.Model)]
    refused = [from_rpc(outcome) for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert len(begun) == 1
    assert {(error.code, error.reason) for error in refused} == {(grpc.StatusCode.ABORTED, "TRAINING_RUNNING")}

    async def done() -> bool:
        return (await models(bench))[0].state == pb.ACTIVE

    await eventually(done, timeout=60)


async def test_an_empty_log_is_no_model(bench: Bench) -> None:
    model = await bench.service.train()
    assert model.state == pb.FAILED
    assert model.reason.startswith("NO_INTERACTIONS")
    assert not (await bench.service.recommend()).model_version


async def test_a_log_of_products_that_the_catalogue_does_not_have_is_no_model(bench: Bench) -> None:
    bench.features.interact("somebody", "gone", "purchase-complete")
    model = await bench.service.train()
    assert model.state == pb.FAILED
    assert model.reason.startswith("NO_INTERACTIONS")


async def test_a_version_that_is_worse_is_rejected_and_what_serves_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    behave(bench.features)
    first = await bench.service.train()

    async def worse(*_: object) -> Learnt:
        log, products = shop(users=4, days=10.0)
        artifact = knowledge.encode(learn(log, NOW, products))
        return Learnt({knowledge.ARTIFACT: artifact}, {"ndcg_anything": 0.1}, {"labels": "none"}, "by far")

    monkeypatch.setattr(process, "learn", worse)
    async with running_recommender(bench.dsn, bench.server.address) as other:
        model = await other.train()
        assert model.state == pb.REJECTED
        assert model.reason == "WORSE: by far"
        assert model.metrics["ndcg_anything"] == 0.1
        assert model.lineage["labels"] == "none"
        assert model.HasField("finish_time")
        error = await error_of(other.models.ActivateModel(pb.ActivateModelRequest(id=model.id), timeout=10))
        assert error.reason == "MODEL_NOT_READY"
    assert {one.id: one.state for one in await models(bench)} == {first.id: pb.ACTIVE, model.id: pb.REJECTED}
    assert (await bench.service.recommend("red-user-0")).model_version == first.id


async def test_the_same_log_makes_the_same_model(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    behave(bench.features)
    first, second = await bench.service.train(), await bench.service.train()
    one, two = await factors(bench.dsn, first.id), await factors(bench.dsn, second.id)
    assert one.keys() == two.keys()
    # Ages differ by the seconds between the runs.
    assert all(two[name] == pytest.approx(vector, abs=1e-3) for name, vector in one.items())


async def test_old_versions_go_and_the_one_before_stays_for_a_rollback(bench: Bench) -> None:
    behave(bench.features)
    trained = [(await bench.service.train()).id for _ in range(3)]
    kept = await models(bench)
    assert [(model.id, model.state) for model in kept] == [(trained[2], pb.ACTIVE), (trained[1], pb.READY)]
    assert await factors(bench.dsn, trained[1])
    assert not await factors(bench.dsn, trained[0])
    back = await bench.service.models.ActivateModel(pb.ActivateModelRequest(id=trained[1]), timeout=10)
    assert back.state == pb.ACTIVE
    assert (await bench.service.recommend("red-user-1")).model_version == trained[1]
    assert {model.id: model.state for model in await models(bench)}[trained[2]] == pb.READY


async def test_only_ready_models_can_be_activated(bench: Bench) -> None:
    failed = await bench.service.train()
    activate = bench.service.models.ActivateModel
    error = await error_of(activate(pb.ActivateModelRequest(id=failed.id), timeout=10))
    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "MODEL_NOT_READY")
    error = await error_of(activate(pb.ActivateModelRequest(id="none"), timeout=10))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "MODEL_NOT_FOUND")
    error = await error_of(bench.service.models.GetModel(pb.GetModelRequest(id="none"), timeout=10))
    assert error.code is grpc.StatusCode.NOT_FOUND
    error = await error_of(bench.service.models.GetModel(pb.GetModelRequest(id="a b"), timeout=10))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_models_are_listed_newest_first_in_pages(bench: Bench) -> None:
    made = [(await bench.service.train()).id for _ in range(3)]
    listed: list[str] = []
    token = ""
    while True:
        request = pb.ListModelsRequest(page_size=2, page_token=token)
        page = await bench.service.models.ListModels(request, timeout=10)
        listed += [model.id for model in page.models]
        token = page.next_page_token
        if not token:
            break
    assert listed == made[::-1]
    error = await error_of(bench.service.models.ListModels(pb.ListModelsRequest(page_token="x"), timeout=10))
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_run_left_over_from_a_crash_is_marked(bench: Bench) -> None:
    connection = await asyncpg.connect(bench.dsn)
    await connection.execute("INSERT INTO models (id, state) VALUES ('als-crashed', 'TRAINING')")
    await connection.execute("SELECT create_model_storage('als-crashed')")
    async with running_recommender(bench.dsn, bench.server.address) as restarted:

        async def marked() -> bool:
            model = await restarted.models.GetModel(pb.GetModelRequest(id="als-crashed"), timeout=10)
            return model.state == pb.FAILED and model.reason == INTERRUPTED

        await eventually(marked)
    assert await connection.fetchval("SELECT to_regclass('product_factors_als-crashed')") is None
    await connection.close()


async def test_a_run_of_another_process_is_left_alone(bench: Bench) -> None:
    behave(bench.features)
    connection = await asyncpg.connect(bench.dsn)
    await connection.execute("INSERT INTO models (id, state) VALUES ('als-elsewhere', 'TRAINING')")
    assert await connection.fetchval("SELECT pg_try_advisory_lock(7161802533)")
    async with running_recommender(bench.dsn, bench.server.address) as other:
        error = await error_of(other.models.TrainModel(pb.TrainModelRequest(), timeout=10))
        assert error.reason == "TRAINING_RUNNING"
        model = await other.models.GetModel(pb.GetModelRequest(id="als-elsewhere"), timeout=10)
        assert model.state == pb.TRAINING
    await connection.close()


async def test_a_worker_that_dies_is_a_failed_run(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    behave(bench.features)
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\necho 'out of luck' >&2\nexit 7\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    model = await bench.service.train()
    assert model.state == pb.FAILED
    assert "out of luck" in model.reason
    monkeypatch.undo()
    assert (await bench.service.train()).state == pb.ACTIVE


async def test_stopping_the_service_ends_its_run(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "python"
    mark = tmp_path / "pid"
    fake.write_text(f"#!/bin/sh\necho $$ > {mark}\nexec sleep 600\n")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))
    dsn = await postgres.create_database("recommender")
    async with running_features() as server:
        behave(server.features)
        async with running_recommender(dsn, server.address) as service:
            await import_products(service.catalog, [product(name) for name in PRODUCTS])
            started = await service.models.TrainModel(pb.TrainModelRequest(), timeout=10)
            await eventually(lambda: mark.exists() and mark.read_text().strip(), timeout=30)
        with pytest.raises(ProcessLookupError):
            os.kill(int(mark.read_text()), 0)
    connection = await asyncpg.connect(dsn)
    state, reason = await connection.fetchrow("SELECT state, reason FROM models WHERE id = $1", started.id)
    await connection.close()
    assert state == "FAILED"
    assert reason.startswith("INTERRUPTED")


async def test_the_schedule_trains_once_there_is_something_to_learn_and_not_again_without_news(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "_TICK_SECONDS", 0.05)
    dsn = await postgres.create_database("recommender")
    async with running_features() as server, running_recommender(dsn, server.address, train_every=0.1) as service:

        async def listed() -> list[pb.Model]:
            return list((await service.models.ListModels(pb.ListModelsRequest(), timeout=10)).models)

        await eventually(lambda: server.features.training_reads >= 3)
        assert await listed() == []
        await import_products(service.catalog, [product(name) for name in PRODUCTS])
        behave(server.features)

        async def active() -> bool:
            found = await listed()
            return bool(found) and found[0].state == pb.ACTIVE

        await eventually(active, timeout=60)
        first = await listed()
        reads = server.features.training_reads
        await eventually(lambda: server.features.training_reads >= reads + 3)
        assert [model.id for model in await listed()] == [model.id for model in first]
        server.features.interact("red-user-0", "blue-1")

        async def again() -> bool:
            found = await listed()
            return found[0].id != first[0].id and found[0].state == pb.ACTIVE

        await eventually(again, timeout=60)
        back = await service.models.ActivateModel(pb.ActivateModelRequest(id=first[0].id), timeout=10)
        assert back.state == pb.ACTIVE
        reads = server.features.training_reads
        await eventually(lambda: server.features.training_reads >= reads + 3)
        assert {model.id: model.state for model in await listed()}[first[0].id] == pb.ACTIVE, "a rollback lasts"
