"""Both services in memory, on a real gRPC port: what the client needs of them and no more."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc import aio
from windowshop.features.v1 import features_pb2 as f
from windowshop.features.v1 import features_pb2_grpc
from windowshop.recommender.v1 import (
    catalog_pb2 as c,
)  # fmt: skip
from windowshop.recommender.v1 import (
    catalog_pb2_grpc,
    model_pb2_grpc,
    privacy_pb2_grpc,
    recommendation_pb2_grpc,
    serving_config_pb2_grpc,
)
from windowshop.recommender.v1 import (
    model_pb2 as m,
)
from windowshop.recommender.v1 import (
    privacy_pb2 as p,
)
from windowshop.recommender.v1 import (
    recommendation_pb2 as r,
)
from windowshop.recommender.v1 import (
    serving_config_pb2 as s,
)

Context = Any
"""The generated code's own type is private; it is grpc.aio.ServicerContext."""


@dataclass
class State:
    """What the fakes remember."""

    events: dict[str, f.Event] = field(default_factory=dict)
    products: dict[str, c.Product] = field(default_factory=dict)
    models: dict[str, m.Model] = field(default_factory=dict)
    configs: dict[str, s.ServingConfig] = field(default_factory=dict)
    config_updates: list[s.UpdateServingConfigRequest] = field(default_factory=list)
    import_mode: int | None = None
    completed_imports: int = 0
    training_ends_as: "m.ModelState.ValueType" = m.ACTIVE
    knows_catalogue: bool = True
    """Whether the feature service has heard of the products."""
    recommender_is_away: bool = False
    training_rows: list[f.ReadTrainingRowsResponse] = field(default_factory=list)
    training_reads: list[f.ReadTrainingRowsRequest] = field(default_factory=list)
    fail_after_events: int | None = None
    """Ends ImportEvents with UNAVAILABLE once this many events have arrived."""


async def abort(context: Context, code: grpc.StatusCode, reason: str, message: str, field_name: str = "") -> None:
    """Ends a call the way the services do, with google.rpc details."""
    status = status_pb2.Status(code=code.value[0], message=message)
    details = [error_details_pb2.ErrorInfo(reason=reason, domain="windowshop")]
    packed = [_pack(detail) for detail in details]
    if field_name:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field_name, description="is wrong")
        packed.append(_pack(error_details_pb2.BadRequest(field_violations=[violation])))
    status.details.extend(packed)
    await context.abort(code, message, (("grpc-status-details-bin", status.SerializeToString()),))


def _pack(message: object) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)  # type: ignore[arg-type]  # google.rpc publishes no types
    return packed


class FakeFeatures(features_pb2_grpc.FeatureServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def GetFeatures(self, request: f.GetFeaturesRequest, context: Context) -> f.GetFeaturesResponse:
        if request.id == "bad id":
            await abort(context, grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", "the id is malformed", "id")
        known = request.id in self._state.products if self._state.knows_catalogue else False
        if not known and not any(event.user_id == request.id for event in self._state.events.values()):
            await abort(context, grpc.StatusCode.NOT_FOUND, "ENTITY_NOT_FOUND", f"unknown {request.id}")
        value = f.FeatureValue(int_value=4, status=f.PRESENT, age_seconds=0.5, refresh_seconds=3600)
        value.computed_at.FromSeconds(1_700_000_000)
        null = f.FeatureValue(status=f.NULL, refresh_seconds=300)
        names = list(request.features) or ["user_purchase_count_30d", "user_browsing_category"]
        values = {name: value if name == "user_purchase_count_30d" else null for name in names}
        return f.GetFeaturesResponse(entity=request.entity, id=request.id, features=values, degraded=["event-log"])

    async def ImportEvents(
        self, requests: AsyncIterator[f.ImportEventsRequest], context: Context
    ) -> f.ImportEventsResponse:
        answer = f.ImportEventsResponse()
        seen = 0
        async for request in requests:
            for event in request.events:
                if event.event_type == "nonsense":
                    answer.rejected += 1
                    answer.rejected_samples.add(
                        index=seen, reason="EVENT_TYPE_UNKNOWN", field="eventType", message="no"
                    )
                elif event.event_id in self._state.events:
                    answer.duplicates += 1
                else:
                    self._state.events[event.event_id] = event
                    answer.accepted += 1
                seen += 1
            if self._state.fail_after_events is not None and seen >= self._state.fail_after_events:
                await abort(context, grpc.StatusCode.UNAVAILABLE, "EVENT_LOG_UNAVAILABLE", "the event log is down")
        return answer

    async def DeleteEntity(self, request: f.DeleteEntityRequest, context: Context) -> f.DeleteEntityResponse:
        whose = "user_id" if request.entity == "User" else "visitor_id"
        gone = [name for name, event in self._state.events.items() if getattr(event, whose) == request.id]
        for name in gone:
            del self._state.events[name]
        return f.DeleteEntityResponse(removed={"events": len(gone)})

    async def ReadTrainingRows(
        self, request: f.ReadTrainingRowsRequest, context: Context
    ) -> AsyncIterator[f.ReadTrainingRowsResponse]:
        self._state.training_reads.append(request)
        for message in self._state.training_rows:
            yield message
        if "broken" in request.features:
            await abort(context, grpc.StatusCode.UNAVAILABLE, "EVENT_LOG_UNAVAILABLE", "the event log is down")

    async def MergeVisitor(self, request: f.MergeVisitorRequest, context: Context) -> f.MergeVisitorResponse:
        guests = [e for e in self._state.events.values() if not e.user_id and e.visitor_id == request.visitor_id]
        for event in guests:
            event.user_id = request.user_id
        return f.MergeVisitorResponse(events=len(guests), erased=1 if request.user_id == "erased" else 0)


class FakePrivacy(privacy_pb2_grpc.PrivacyServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def DeleteEntity(self, request: p.DeleteEntityRequest, context: Context) -> p.DeleteEntityResponse:
        if self._state.recommender_is_away:
            await abort(context, grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE", "the database does not answer")
        return p.DeleteEntityResponse(removed={"signals": len(self._state.models)})


class FakeCatalog(catalog_pb2_grpc.CatalogServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def GetProduct(self, request: c.GetProductRequest, context: Context) -> c.Product:
        if request.id not in self._state.products:
            await abort(context, grpc.StatusCode.NOT_FOUND, "PRODUCT_NOT_FOUND", f"unknown {request.id}")
        return self._state.products[request.id]

    async def ImportProducts(
        self, requests: AsyncIterator[c.ImportProductsRequest], context: Context
    ) -> c.ImportProductsResponse:
        answer = c.ImportProductsResponse()
        seen = set()
        first = True
        async for request in requests:
            if first:
                self._state.import_mode, first = request.mode, False
            for product in request.products:
                seen.add(product.id)
                old = self._state.products.get(product.id)
                self._state.products[product.id] = product
                if old is None:
                    answer.created += 1
                elif old == product:
                    answer.unchanged += 1
                else:
                    answer.updated += 1
        if self._state.import_mode == c.FULL:
            for gone in set(self._state.products) - seen:
                del self._state.products[gone]
                answer.deleted += 1
        self._state.completed_imports += 1
        return answer

    async def SetInventory(self, request: c.SetInventoryRequest, context: Context) -> c.SetInventoryResponse:
        self._state.products[request.id].available_quantity = request.available_quantity
        return c.SetInventoryResponse(available_quantity=request.available_quantity, applied=True)


class FakeModels(model_pb2_grpc.ModelServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def TrainModel(self, request: m.TrainModelRequest, context: Context) -> m.Model:
        if any(model.state == m.TRAINING for model in self._state.models.values()):
            await abort(context, grpc.StatusCode.ABORTED, "TRAINING_UNDER_WAY", "a run is under way")
        model = m.Model(id=f"model-{len(self._state.models) + 1}", state=m.TRAINING)
        self._state.models[model.id] = model
        return model

    async def GetModel(self, request: m.GetModelRequest, context: Context) -> m.Model:
        """Every look at a model brings its training half the rest of the way."""
        model = self._state.models[request.id]
        if model.state == m.TRAINING:
            model.progress += 0.5
            if model.progress >= 1:
                model.state = self._state.training_ends_as
                model.metrics["users"] = 2
                model.metrics["train_seconds"] = 0.25
                model.reason = "not enough rows" if model.state == m.FAILED else ""
        return model

    async def ListModels(self, request: m.ListModelsRequest, context: Context) -> m.ListModelsResponse:
        return m.ListModelsResponse(models=list(self._state.models.values())[::-1])


class FakeRecommendations(recommendation_pb2_grpc.RecommendationServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def Recommend(self, request: r.RecommendRequest, context: Context) -> r.RecommendResponse:
        answer = r.RecommendResponse(serving_config=request.serving_config or "recommended-for-you")
        for product in list(self._state.products.values())[: request.page_size]:
            answer.results.add(id=product.id, score=1.5, reasons=["popular now"], product=product)
        answer.empty_reason = "" if answer.results else "the catalogue is empty"
        return answer

    async def ListSimilarProducts(self, request: r.ListSimilarProductsRequest, context: Context) -> r.RecommendResponse:
        return r.RecommendResponse(empty_reason=f"nothing like {request.product_id}")


class FakeServingConfigs(serving_config_pb2_grpc.ServingConfigServiceServicer):
    def __init__(self, state: State) -> None:
        self._state = state

    async def ListServingConfigs(
        self, request: s.ListServingConfigsRequest, context: Context
    ) -> s.ListServingConfigsResponse:
        """One a page."""
        ids = sorted(id_ for id_ in self._state.configs if id_ > request.page_token)
        token = ids[0] if len(ids) > 1 else ""
        found = [self._state.configs[id_] for id_ in ids[:1]]
        return s.ListServingConfigsResponse(serving_configs=found, next_page_token=token)

    async def GetServingConfig(self, request: s.GetServingConfigRequest, context: Context) -> s.ServingConfig:
        if request.id not in self._state.configs:
            await abort(context, grpc.StatusCode.NOT_FOUND, "SERVING_CONFIG_NOT_FOUND", "there is no such one")
        return self._state.configs[request.id]

    async def UpdateServingConfig(self, request: s.UpdateServingConfigRequest, context: Context) -> s.ServingConfig:
        self._state.config_updates.append(request)
        changed = s.ServingConfig()
        changed.CopyFrom(request.serving_config)
        changed.origin, changed.etag = s.EDITED, "e2"
        if not request.validate_only:
            self._state.configs[changed.id] = changed
        return changed

    async def DeleteServingConfig(
        self, request: s.DeleteServingConfigRequest, context: Context
    ) -> s.DeleteServingConfigResponse:
        gone = self._state.configs.pop(request.id)
        return s.DeleteServingConfigResponse(restored=gone if gone.origin == s.EDITED else None)


@asynccontextmanager
async def serving(state: State) -> AsyncIterator[str]:
    """Both services at one address."""
    server = aio.server()
    features_pb2_grpc.add_FeatureServiceServicer_to_server(FakeFeatures(state), server)  # type: ignore[abstract]  # the client calls no more
    privacy_pb2_grpc.add_PrivacyServiceServicer_to_server(FakePrivacy(state), server)
    catalog_pb2_grpc.add_CatalogServiceServicer_to_server(FakeCatalog(state), server)  # type: ignore[abstract]  # the client calls no more
    model_pb2_grpc.add_ModelServiceServicer_to_server(FakeModels(state), server)  # type: ignore[abstract]  # the client calls no more
    recommendations = FakeRecommendations(state)  # type: ignore[abstract]  # the client calls no more
    recommendation_pb2_grpc.add_RecommendationServiceServicer_to_server(recommendations, server)
    serving_config_pb2_grpc.add_ServingConfigServiceServicer_to_server(FakeServingConfigs(state), server)  # type: ignore[abstract]  # the client calls no more
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)
