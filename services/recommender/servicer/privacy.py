"""PrivacyService: erasure over gRPC."""

from __future__ import annotations

from typing import Any

import grpc
from windowshop.recommender.v1 import privacy_pb2, privacy_pb2_grpc

from services.recommender.domain.shoppers import Shopper
from services.recommender.pipeline.erasures import Erasures
from services.runtime.errors import invalid_field
from services.runtime.identifiers import check_id

SERVICE = privacy_pb2.DESCRIPTOR.services_by_name["PrivacyService"].full_name

# By entity type: whether it is a guest.
_GUESTS = {"User": False, "Visitor": True}


class PrivacyServicer(privacy_pb2_grpc.PrivacyServiceServicer):
    """Checks, erases, answers."""

    def __init__(self, erasures: Erasures) -> None:
        self._erasures = erasures

    def register(self, server: grpc.aio.Server) -> None:
        """Adds this service to a server."""
        privacy_pb2_grpc.add_PrivacyServiceServicer_to_server(self, server)

    async def DeleteEntity(
        self, request: privacy_pb2.DeleteEntityRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> privacy_pb2.DeleteEntityResponse:
        """See the contract."""
        guest = _GUESTS.get(request.entity)
        if guest is None:
            raise invalid_field("entity", "must be User or Visitor: only persons are erased")
        removed = await self._erasures.erase(Shopper(check_id(request.id, "id"), guest))
        return privacy_pb2.DeleteEntityResponse(removed=removed)
