"""A plausible answer of every RPC behind the gateway."""

from __future__ import annotations

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from windowshop.features.v1 import features_pb2 as features
from windowshop.recommender.v1 import catalog_pb2 as catalog
from windowshop.recommender.v1 import model_pb2 as model
from windowshop.recommender.v1 import privacy_pb2 as privacy
from windowshop.recommender.v1 import recommendation_pb2 as recommendation
from windowshop.recommender.v1 import serving_config_pb2 as configs

from services.runtime.errors import not_found
from tests.support.gateway import Answer

NOON = Timestamp(seconds=1_795_435_200, nanos=250_000_000)  # 2026-11-23T12:00:00.25Z

VALUES = {
    "user_browsing_category": features.FeatureValue(
        string_value="electronics", status=features.PRESENT, computed_at=NOON, age_seconds=0.4, refresh_seconds=300
    ),
    "user_purchase_count_30d": features.FeatureValue(
        int_value=4, status=features.STALE, computed_at=NOON, age_seconds=4000, refresh_seconds=3600
    ),
    "user_avg_order_value": features.FeatureValue(
        status=features.NULL, computed_at=NOON, age_seconds=1, refresh_seconds=86400
    ),
}


def product(product_id: str = "prod_100") -> catalog.Product:
    """A product with some fields set and some not."""
    return catalog.Product(
        id=product_id, title="Lamp", categories=["Home > Lamps"], price=19.5, available_quantity=3, create_time=NOON
    )


def get_features(request: features.GetFeaturesRequest) -> features.GetFeaturesResponse:
    if request.id == "nobody":
        raise not_found("ENTITY_NOT_FOUND", f"{request.entity} nobody is not known", entity=request.entity)
    names = list(request.features) or sorted(VALUES)
    unknown = [name for name in names if name not in VALUES]
    if unknown:
        raise not_found("FEATURE_NOT_FOUND", f"{unknown[0]} is not defined", feature=unknown[0])
    return features.GetFeaturesResponse(
        entity=request.entity, id=request.id, features={name: VALUES[name] for name in names}
    )


def batch_get_features(request: features.BatchGetFeaturesRequest) -> features.BatchGetFeaturesResponse:
    count = len(request.ids)
    status = [features.NOT_FOUND if entity_id == "nobody" else features.PRESENT for entity_id in request.ids]
    return features.BatchGetFeaturesResponse(
        entity=request.entity,
        ids=request.ids,
        columns=[
            features.FeatureColumn(
                feature="product_rating",
                type=features.DOUBLE,
                statuses=status,
                computed_at_ms=[0 if one == features.NOT_FOUND else 1_795_435_200_250 for one in status],
                refresh_seconds=86400,
                double_values=[0.0 if one == features.NOT_FOUND else 4.5 for one in status],
            ),
            features.FeatureColumn(
                feature="similar",
                type=features.STRING_LIST,
                statuses=[features.DEFAULT] * count,
                computed_at_ms=[1_795_435_200_000] * count,
                refresh_seconds=60,
                string_list_values=[features.StringList(values=["a"])] * count,
            ),
        ],
    )


def serving_config(config_id: str = "discover") -> configs.ServingConfig:
    """A config with every kind of field."""
    return configs.ServingConfig(
        id=config_id,
        sources=[configs.CandidateSource(name="popular", limit=20, deadline_ms=300, weight=0.5)],
        anchors=configs.SESSION,
        objective=configs.NEVER_BOUGHT,
        fill=True,
        diversity=configs.Diversity(category_cap=0.5, mmr_lambda=0.7),
        weights={"fusion": 2.0},
        origin=configs.EDITED,
        etag="ab12",
        update_time=NOON,
    )


EXPLANATION = recommendation.Explanation(
    sources=[recommendation.FoundBy(source="popular", rank=1, score=34.5, share=0.25)],
    contributions=[recommendation.Contribution(column="fusion", value=0.25, weight=2, contribution=0.5)],
    moved_by=["category-cap"],
)


def recommend(request: Any) -> recommendation.RecommendResponse:
    explanation = EXPLANATION if request.explain else None
    return recommendation.RecommendResponse(
        results=[
            recommendation.Recommendation(
                id="prod_1", score=0.5, reasons=["popular"], product=product("prod_1"), explanation=explanation
            )
        ],
        attribution_token="token",
        serving_config="recommended-for-you",
        next_page_token="more",
    )


def import_events(requests: list[features.ImportEventsRequest]) -> features.ImportEventsResponse:
    """Refuses events without an id, as the service does."""
    answer = features.ImportEventsResponse()
    events = [event for request in requests for event in request.events]
    for index, event in enumerate(events):
        if event.event_id:
            answer.accepted += 1
            continue
        answer.rejected += 1
        if len(answer.rejected_samples) < 100:
            answer.rejected_samples.add(index=index, reason="EVENT_ID_MISSING", field="eventId", message="is missing")
    return answer


def import_products(requests: list[catalog.ImportProductsRequest]) -> catalog.ImportProductsResponse:
    """Refuses products without a title, as the service does."""
    answer = catalog.ImportProductsResponse()
    products = [item for request in requests for item in request.products]
    for index, item in enumerate(products):
        if item.id and item.title:
            answer.created += 1
            continue
        answer.rejected += 1
        if len(answer.error_samples) < 100:
            answer.error_samples.add(
                index=index, id=item.id, reason="TITLE_MISSING", field="title", message="is missing"
            )
    return answer


def delete_entity(request: Any) -> Any:
    """Of either service."""
    if isinstance(request, privacy.DeleteEntityRequest):
        return privacy.DeleteEntityResponse(removed={"signals": 2})
    return features.DeleteEntityResponse(removed={"events": 3, "lines": 4, "records": 1, "queued": 1})


def answers() -> dict[str, Answer]:
    """By RPC name; a test replaces what it wants to be otherwise."""
    ready = model.Model(id="m1", state=model.READY, create_time=NOON, metrics={"users": 500.0})
    return {
        "GetFeatures": get_features,
        "BatchGetFeatures": batch_get_features,
        "ListFeatureDefinitions": lambda _: features.ListFeatureDefinitionsResponse(
            feature_definitions=[
                features.FeatureDefinition(
                    name="user_purchase_count_30d",
                    entity="User",
                    type=features.INT,
                    refresh_seconds=3600,
                    default_value=features.FeatureValue(int_value=0),
                )
            ]
        ),
        "RefreshFeatures": lambda request: features.RefreshFeaturesResponse(
            entity=request.entity, id=request.id, features=VALUES
        ),
        "WriteEvents": lambda request: features.WriteEventsResponse(accepted=len(request.events)),
        "ImportEvents": import_events,
        "DeleteEntity": delete_entity,
        "MergeVisitor": lambda _: features.MergeVisitorResponse(events=3, lines=2),
        "Recommend": recommend,
        "ListSimilarProducts": recommend,
        "ListServingConfigs": lambda _: configs.ListServingConfigsResponse(serving_configs=[serving_config()]),
        "GetServingConfig": lambda request: serving_config(request.id),
        "CreateServingConfig": lambda request: request.serving_config,
        "UpdateServingConfig": lambda request: request.serving_config,
        "DeleteServingConfig": lambda request: configs.DeleteServingConfigResponse(restored=serving_config(request.id)),
        "GetProduct": lambda request: product(request.id),
        "ListProducts": lambda _: catalog.ListProductsResponse(products=[product()], next_page_token="next"),
        "UpdateProduct": lambda request: request.product,
        "DeleteProduct": lambda _: catalog.DeleteProductResponse(),
        "ImportProducts": import_products,
        "SetInventory": lambda request: catalog.SetInventoryResponse(
            available_quantity=request.available_quantity, applied=True
        ),
        "ListModels": lambda _: model.ListModelsResponse(models=[ready]),
        "GetModel": lambda _: ready,
        "TrainModel": lambda _: model.Model(id="m2", state=model.TRAINING, create_time=NOON),
        "ActivateModel": lambda _: model.Model(id="m1", state=model.ACTIVE, create_time=NOON),
    }
