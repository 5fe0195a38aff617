"""The RPCs that routes can name, and one reused channel to each service."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc
from google.protobuf.descriptor import Descriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass
from windowshop.features.v1 import features_pb2
from windowshop.recommender.v1 import catalog_pb2, model_pb2, privacy_pb2, recommendation_pb2, serving_config_pb2

from gateway.coalescing import CoalescedReads
from gateway.routes import Timeout
from gateway.settings import GatewaySettings
from services.runtime.client import channel
from services.runtime.streams import StreamedCalls

FEATURES, RECOMMENDER = "features", "recommender"
_BATCH, _BATCHES = "FeatureService.BatchGetFeatures", "FeatureService.ReadFeatures"
_PAGE, _PAGES = "RecommendationService.Recommend", "RecommendationService.StreamRecommend"

# Streams to the recommenders, which are opened to them in turn: a server that has none of them gets no pages from here
# until one is made anew.
_STREAMS_OF_PAGES = 12

# Methods that are not called for a route: other ways to ask.
STREAMS = (_BATCHES, _PAGES)

UnaryCall = Callable[..., Awaitable[Any]]
StreamCall = Callable[..., "grpc.aio.StreamUnaryCall[Any, Any]"]


@dataclass(frozen=True, slots=True)
class Rpc:
    """One RPC of the contract: which service answers it, under which path, with which messages."""

    name: str
    service: str
    path: str
    request: Descriptor
    response: Descriptor


def _rpcs(service: str, descriptor: ServiceDescriptor) -> dict[str, Rpc]:
    return {
        f"{descriptor.name}.{method.name}": Rpc(
            f"{descriptor.name}.{method.name}",
            service,
            f"/{descriptor.full_name}/{method.name}",
            method.input_type,
            method.output_type,
        )
        for method in descriptor.methods
    }


RPCS: dict[str, Rpc] = {
    **_rpcs(FEATURES, features_pb2.DESCRIPTOR.services_by_name["FeatureService"]),
    **_rpcs(RECOMMENDER, recommendation_pb2.DESCRIPTOR.services_by_name["RecommendationService"]),
    **_rpcs(RECOMMENDER, catalog_pb2.DESCRIPTOR.services_by_name["CatalogService"]),
    **_rpcs(RECOMMENDER, model_pb2.DESCRIPTOR.services_by_name["ModelService"]),
    **_rpcs(RECOMMENDER, serving_config_pb2.DESCRIPTOR.services_by_name["ServingConfigService"]),
    **_rpcs(RECOMMENDER, privacy_pb2.DESCRIPTOR.services_by_name["PrivacyService"]),
}

# A second run of these is not a repetition: in between, somebody may have set a newer stock or field, made the
# product again or activated another model; a deleted product is no longer found, a created config is there already, one
# that was changed has another etag, and a training is under way already.
ONCE = (
    "CatalogService.SetInventory",
    "CatalogService.UpdateProduct",
    "CatalogService.DeleteProduct",
    "ModelService.TrainModel",
    "ModelService.ActivateModel",
    "ServingConfigService.CreateServingConfig",
    "ServingConfigService.UpdateServingConfig",
    "ServingConfigService.DeleteServingConfig",
)


def _serializers(rpc: Rpc) -> dict[str, Callable[[Any], Any]]:
    return {
        "request_serializer": GetMessageClass(rpc.request).SerializeToString,
        "response_deserializer": GetMessageClass(rpc.response).FromString,
    }


class Clients:
    """The channels, open from construction to `close`."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._channels = {
            FEATURES: channel(settings.features_address),
            RECOMMENDER: channel(settings.recommender_address, once=[RPCS[name].path for name in ONCE]),
        }
        self._reached: set[str] = set()
        self._batches: StreamedCalls[Any, Any] = StreamedCalls(
            self._both_ways(RPCS[_BATCHES]),
            self._unary(RPCS[_BATCH]),
            lambda request, **fields: features_pb2.ReadFeaturesRequest(read=request, **fields),
            lambda response: response.answer,
            parse=features_pb2.ReadFeaturesResponse.FromString,
        )
        self._pages: StreamedCalls[Any, Any] = StreamedCalls(
            self._both_ways(RPCS[_PAGES]),
            self._unary(RPCS[_PAGE]),
            lambda request, **fields: recommendation_pb2.StreamRecommendRequest(ask=request, **fields),
            lambda response: response.answer,
            leave=lambda number: recommendation_pb2.StreamRecommendRequest(number=number),
            parse=recommendation_pb2.StreamRecommendResponse.FromString,
            # A recommender remembers what it made for somebody a moment ago.
            affinity=lambda request: request.user_id or request.visitor_id,
            streams=_STREAMS_OF_PAGES,
        )
        # Reads of single entities, together.
        self.reads = CoalescedReads(
            self._unary(RPCS["FeatureService.GetFeatures"]), self._batches, Timeout.READ.value or 0.0
        )

    def unary(self, rpc: Rpc) -> UnaryCall:
        """The callable of a unary RPC; made once per route, not per request."""
        streamed = {_BATCH: self._batches, _PAGE: self._pages}
        return streamed.get(rpc.name) or self._unary(rpc)

    def in_rows(self) -> UnaryCall:
        """BatchGetFeatures, whose answer may come in rows."""
        return partial(self._batches, sheet=True)

    def _unary(self, rpc: Rpc) -> UnaryCall:
        call: UnaryCall = self._channels[rpc.service].unary_unary(rpc.path, **_serializers(rpc))
        return call

    def _both_ways(self, rpc: Rpc) -> Callable[..., Any]:
        call: Callable[..., Any] = self._channels[rpc.service].stream_stream(rpc.path, **_serializers(rpc))
        return call

    def streaming(self, rpc: Rpc) -> StreamCall:
        """The callable of an RPC that takes a stream of requests and gives one answer."""
        call: StreamCall = self._channels[rpc.service].stream_unary(rpc.path, **_serializers(rpc))
        return call

    def reachable(self) -> dict[str, bool]:
        """Which services answer; looks at the channels' own health watch and makes no call."""
        return {service: self._is_reachable(service) for service in self._channels}

    def _is_reachable(self, service: str) -> bool:
        state = self._channels[service].get_state(try_to_connect=True)
        if state is grpc.ChannelConnectivity.READY:
            self._reached.add(service)
            return True
        if state is grpc.ChannelConnectivity.IDLE:  # gone to sleep without traffic, or never awake yet
            return service in self._reached
        self._reached.discard(service)
        return False

    async def close(self) -> None:
        """Ends the channels; calls still under way are cancelled."""
        await self._batches.close()
        await self._pages.close()
        for opened in self._channels.values():
            await opened.close()
