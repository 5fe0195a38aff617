"""The feature service as the recommender sees it: over gRPC, with a deadline on every call."""

from __future__ import annotations

import grpc
from windowshop.features.v1 import features_pb2_grpc


class FeatureClient:
    """Calls of the FeatureService."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = features_pb2_grpc.FeatureServiceStub(channel)
