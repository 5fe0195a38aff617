"""A FeatureService that answers over real gRPC from what a test puts into it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from windowshop.features.v1 import features_pb2 as pb
from windowshop.features.v1 import features_pb2_grpc as rpc

from services.runtime.errors import not_found
from services.runtime.server import Server

SERVICE = pb.DESCRIPTOR.services_by_name["FeatureService"].full_name
_CHUNK = 1_000


@dataclass
class User:
    """Features of a user; None is null."""

    browsing_category: str | None = None
    price_sensitivity: str = "medium"
    views: list[str] = field(default_factory=list)
    carts: list[str] = field(default_factory=list)
    purchases: list[str] = field(default_factory=list)


@dataclass
class Item:
    """Features of a product."""

    popularity: float = 0.0
    trend: float = 0.0
    rating: float | None = None
    inventory: str = "in_stock"


class FakeFeatures(rpc.FeatureServiceServicer):
    """Holds users, products and interactions; can be told to be slow, degraded or counting."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        # By visitor id.
        self.guests: dict[str, User] = {}
        self.items: dict[str, Item] = {}
        # user, product, event type, milliseconds
        self.rows: list[tuple[str, str, str, int]] = []
        self.degraded: list[str] = []
        self.hang = False
        # Calls that arrived, answered or not.
        self.asked = 0
        self.training_reads = 0

    def interact(self, user: str, product: str, event_type: str = "detail-page-view", days_ago: float = 0.0) -> None:
        """Adds a training row."""
        self.rows.append((user, product, event_type, int((time.time() - days_ago * 86_400) * 1000)))

    async def GetFeatures(self, request: pb.GetFeaturesRequest, context: Any) -> pb.GetFeaturesResponse:
        await self._maybe_hang()
        user = {"User": self.users, "Visitor": self.guests}[request.entity].get(request.id)
        if user is None:
            raise not_found("ENTITY_NOT_FOUND", "no such user")
        values = {
            "user_browsing_category": _text(user.browsing_category),
            "user_price_sensitivity": _text(user.price_sensitivity),
            "user_recent_views": _list(user.views),
            "user_recent_carts": _list(user.carts),
            "user_purchase_history": _history(user.purchases),
        }
        features = {name: values[name] for name in request.features}
        return pb.GetFeaturesResponse(entity=request.entity, id=request.id, features=features, degraded=self.degraded)

    async def BatchGetFeatures(self, request: pb.BatchGetFeaturesRequest, context: Any) -> pb.BatchGetFeaturesResponse:
        await self._maybe_hang()
        items = [self.items.get(id_) for id_ in request.ids]
        columns = [_column(name, items) for name in request.features]
        return pb.BatchGetFeaturesResponse(entity="Product", ids=request.ids, columns=columns, degraded=self.degraded)

    async def ReadTrainingRows(
        self, request: pb.ReadTrainingRowsRequest, context: Any
    ) -> AsyncIterator[pb.ReadTrainingRowsResponse]:
        self.training_reads += 1
        rows = sorted((row for row in self.rows if row[2] in request.event_types), key=lambda row: row[3])
        for start in range(0, len(rows), _CHUNK):
            users, products, types, times = zip(*rows[start : start + _CHUNK], strict=True)
            yield pb.ReadTrainingRowsResponse(
                user_ids=users,
                product_ids=products,
                event_types=types,
                event_times_ms=times,
                quantities=[1] * len(users),
                event_numbers=range(start, start + len(users)),
            )

    async def _maybe_hang(self) -> None:
        self.asked += 1
        while self.hang:
            await asyncio.sleep(0.02)


@dataclass
class FeatureServer:
    """The fake behind a port; may be stopped and started again on the same port."""

    features: FakeFeatures
    port: int = 0
    _server: Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = Server(
            self.port, [SERVICE], lambda server: rpc.add_FeatureServiceServicer_to_server(self.features, server)
        )
        self.port = await self._server.start()
        await self._server.health.set_serving(True)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0.0)
            self._server = None


@contextlib.asynccontextmanager
async def running_features() -> AsyncIterator[FeatureServer]:
    """An empty one, gone afterwards."""
    # what the recommender does not call is not there
    server = FeatureServer(FakeFeatures())  # type: ignore[abstract]
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def _text(value: str | None) -> pb.FeatureValue:
    return pb.FeatureValue(status=pb.NULL) if value is None else pb.FeatureValue(string_value=value, status=pb.PRESENT)


def _history(purchases: list[str]) -> pb.FeatureValue:
    """Each bought once, some days ago; the first is the most habitual one."""
    now = time.time()
    rows = [
        (1.0, now - 86_400 * (5 + place), now - 86_400 * (5 + place), 0.99**place) for place in range(len(purchases))
    ]
    table = pb.Table(
        keys=purchases,
        columns=("orders", "first_time", "last_time", "decayed"),
        values=[number for row in rows for number in row],
    )
    return pb.FeatureValue(table_value=table, status=pb.PRESENT)


def _list(values: list[str]) -> pb.FeatureValue:
    return pb.FeatureValue(string_list_value=pb.StringList(values=values), status=pb.PRESENT)


def _column(name: str, items: list[Item | None]) -> pb.FeatureColumn:
    column = pb.FeatureColumn(feature=name)
    for item in items:
        known = item is not None
        match name:
            case "product_popularity_score":
                column.double_values.append(item.popularity if item else 0.0)
            case "product_trend_score":
                column.double_values.append(item.trend if item else 0.0)
            case "product_rating":
                known = item is not None and item.rating is not None
                column.double_values.append((item.rating or 0.0) if item else 0.0)
            case "product_inventory_level":
                column.string_values.append(item.inventory if item else "")
        column.statuses.append(pb.PRESENT if known else pb.NOT_FOUND)
    return column
