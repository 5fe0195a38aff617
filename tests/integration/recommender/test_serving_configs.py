"""Serving configs edited over gRPC while they serve, on a real database."""

from __future__ import annotations

import asyncio

import asyncpg
import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from windowshop.recommender.v1 import recommendation_pb2 as recommendation
from windowshop.recommender.v1 import serving_config_pb2 as pb

from tests.support.recommender import ids, running_recommender
from tests.support.trained_shop import Shop, error_of
from tests.support.waiting import eventually


def popular_only(config_id: str, **more: object) -> pb.ServingConfig:
    source = pb.CandidateSource(name="popular", limit=20, weight=1.0)
    return pb.ServingConfig(id=config_id, sources=[source], **more)  # type: ignore[arg-type]  # each value has its field's type


async def update(shop: Shop, config: pb.ServingConfig, *fields: str, **more: bool) -> pb.ServingConfig:
    mask = FieldMask(paths=fields) if fields else None
    request = pb.UpdateServingConfigRequest(serving_config=config, update_mask=mask, **more)
    return await shop.service.configs.UpdateServingConfig(request, timeout=10)


async def get(shop: Shop, config_id: str) -> pb.ServingConfig:
    return await shop.service.configs.GetServingConfig(pb.GetServingConfigRequest(id=config_id), timeout=10)


async def delete(shop: Shop, config_id: str, etag: str = "") -> pb.DeleteServingConfigResponse:
    request = pb.DeleteServingConfigRequest(id=config_id, etag=etag)
    return await shop.service.configs.DeleteServingConfig(request, timeout=10)


async def test_a_created_config_serves_at_once_here_and_soon_elsewhere(shop: Shop) -> None:
    request = pb.CreateServingConfigRequest(serving_config=popular_only("bestsellers"), validate_only=True)
    assert (await shop.service.configs.CreateServingConfig(request, timeout=10)).origin == pb.CREATED
    missing = recommendation.RecommendRequest(serving_config="bestsellers")
    assert (await error_of(shop.service.recommendations.Recommend(missing, timeout=10))).reason.endswith("_NOT_FOUND")
    async with running_recommender(shop.dsn, shop.features_address) as other:
        request.validate_only = False
        created = await shop.service.configs.CreateServingConfig(request, timeout=10)
        assert created.HasField("update_time")
        page = await shop.service.recommend("audio-fan-0", "bestsellers")
        assert page.serving_config == "bestsellers"
        assert {reason for result in page.results for reason in result.reasons} == {"Popular now"}

        async def elsewhere() -> bool:
            try:
                return ids(await other.recommend("audio-fan-0", "bestsellers")) == ids(page)
            except grpc.aio.AioRpcError:
                return False

        await eventually(elsewhere, timeout=2)
        assert (await error_of(shop.service.configs.CreateServingConfig(request, timeout=10))).reason == (
            "SERVING_CONFIG_EXISTS"
        )
        assert not (await delete(shop, "bestsellers")).HasField("restored")

        async def gone() -> bool:
            try:
                await other.recommend("audio-fan-0", "bestsellers")
            except grpc.aio.AioRpcError as error:
                return error.code() is grpc.StatusCode.NOT_FOUND
            return False

        await eventually(gone, timeout=2)


async def test_an_edit_of_a_bundled_config_is_taken_back_by_deleting_it(shop: Shop) -> None:
    before = await get(shop, "discover")
    assert (before.origin, before.HasField("update_time")) == (pb.BUNDLED, False)
    bought = set(shop.features.users["kitchen-fan-0"].purchases)
    edited = await update(shop, pb.ServingConfig(id="discover"), "never_bought")
    assert (edited.origin, edited.never_bought) == (pb.EDITED, False)
    assert edited.sources == before.sources
    assert bought & set(ids(await shop.service.recommend("kitchen-fan-0", "discover", 100)))
    assert (await delete(shop, "discover")).restored == before
    assert not bought & set(ids(await shop.service.recommend("kitchen-fan-0", "discover", 100)))
    assert (await error_of(delete(shop, "discover"))).reason == "SERVING_CONFIG_BUNDLED"


@pytest.mark.parametrize("config_id", ["unknown", "no id", "no\0text", ""])
async def test_what_is_not_there_cannot_be_taken_back(shop: Shop, config_id: str) -> None:
    assert (await error_of(delete(shop, config_id))).reason == "SERVING_CONFIG_NOT_FOUND"


async def test_however_much_is_wrong_the_error_arrives(shop: Shop) -> None:
    wrong = pb.ServingConfig(id="discover", weights={f"colour-{number}": 1.0 for number in range(2_000)})
    wrong.sources.extend(pb.CandidateSource(name=f"source-{number}") for number in range(200))
    error = await error_of(update(shop, wrong))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "TOO_MANY")
    assert 1 < len(error.violations) <= 10


async def test_single_shares_can_be_changed(shop: Shop) -> None:
    config = pb.ServingConfig(id="trending", diversity=pb.Diversity(mmr_lambda=0.5, category_cap=0.1))
    edited = await update(shop, config, "diversity.mmr_lambda")
    assert (edited.diversity.mmr_lambda, edited.diversity.category_cap) == (0.5, 0.5)
    whole = await update(shop, config)
    assert (whole.diversity.category_cap, whole.diversity.brand_cap) == (0.1, 1.0)
    await delete(shop, "trending")


async def test_who_edits_on_old_news_is_told(shop: Shop) -> None:
    read = await get(shop, "new-arrivals")
    mine = pb.ServingConfig(id="new-arrivals", etag=read.etag, fill=True)
    theirs = pb.ServingConfig(id="new-arrivals", etag=read.etag, empty_reason="other")
    outcomes = await asyncio.gather(
        update(shop, mine, "fill"), update(shop, theirs, "empty_reason"), return_exceptions=True
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, grpc.aio.AioRpcError)]
    assert [error.code() for error in refused] == [grpc.StatusCode.ABORTED]
    assert (await error_of(delete(shop, "new-arrivals", read.etag))).reason == "SERVING_CONFIG_CHANGED"
    now = await get(shop, "new-arrivals")
    assert (await delete(shop, "new-arrivals", now.etag)).restored.etag == read.etag


@pytest.mark.parametrize(
    ("config", "fields", "field", "reason"),
    [
        (popular_only("UPPER"), (), "id", "INVALID_ID"),
        (popular_only("unknown"), (), "", "SERVING_CONFIG_NOT_FOUND"),
        (pb.ServingConfig(id="discover"), ("sources",), "sources", "REQUIRED"),
        (pb.ServingConfig(id="discover", weights={"colour": 1}), (), "weights.colour", "UNKNOWN_COLUMN"),
        (pb.ServingConfig(id="discover"), ("colour",), "updateMask", "INVALID_UPDATE_MASK"),
        (
            pb.ServingConfig(id="discover", sources=[pb.CandidateSource(name="popular")]),
            (),
            "sources[0].limit",
            "OUT_OF_RANGE",
        ),
        (
            pb.ServingConfig(id="discover", diversity=pb.Diversity(mmr_lambda=2)),
            ("diversity.mmr_lambda",),
            "diversity.mmrLambda",
            "OUT_OF_RANGE",
        ),
    ],
)
async def test_what_cannot_serve_is_refused_by_its_path(
    shop: Shop, config: pb.ServingConfig, fields: tuple[str, ...], field: str, reason: str
) -> None:
    error = await error_of(update(shop, config, *fields))
    assert error.reason == reason
    assert [violation.field for violation in error.violations] == ([field] if field else [])


async def test_pages_of_configs(shop: Shop) -> None:
    found: list[str] = []
    token = ""
    while True:
        request = pb.ListServingConfigsRequest(page_size=3, page_token=token)
        answer = await shop.service.configs.ListServingConfigs(request, timeout=10)
        found += [config.id for config in answer.serving_configs]
        token = answer.next_page_token
        if not token:
            break
    assert found == sorted(found)
    assert {"discover", "recommended-for-you", "trending"} <= set(found)


async def test_a_row_that_cannot_be_read_never_stops_serving(shop: Shop) -> None:
    connection = await asyncpg.connect(shop.dsn)
    try:
        await connection.execute(
            "INSERT INTO serving_configs VALUES ('recommended-for-you', '{}', now()), ('mine', '5', now())"
        )
        await update(shop, popular_only("sound"), allow_missing=True)  # which reads them all
        page = await shop.service.recommend("audio-fan-0")
        assert len(page.results) == 10
        async with running_recommender(shop.dsn, shop.features_address) as other:
            assert len((await other.recommend("audio-fan-0")).results) == 10
            assert (await other.recommend("audio-fan-0", "sound")).results
        assert (await delete(shop, "recommended-for-you")).restored.origin == pb.BUNDLED
        assert not (await delete(shop, "mine")).HasField("restored")
        await delete(shop, "sound")
    finally:
        await connection.close()
