"""A FeatureService that answers over real gRPC from what a test puts into it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from windowshop.features.v1 import features_pb2 as pb
from windowshop.features.v1 import features_pb2_grpc as rpc

from services.runtime import exchanges
from services.runtime.server import Server
from tests.support.columns import in_rows

SERVICE = pb.DESCRIPTOR.services_by_name["FeatureService"].full_name
_CHUNK = 4_000
_STARTED = time.time()


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
        # An older one answers in columns whatever it is asked for.
        self.knows_sheets = True
        # Users of whom nothing can be said at the moment.
        self.lost: set[str] = set()
        # Reads that arrived, answered or not, and the ids of each.
        self.asked = 0
        self.batches: list[list[str]] = []
        # Of the reads, those over the stream.
        self.streamed = 0
        self.training_reads = 0

    def interact(self, user: str, product: str, event_type: str = "detail-page-view", days_ago: float = 0.0) -> None:
        """Adds a training row."""
        self.rows.append((user, product, event_type, int((time.time() - days_ago * 86_400) * 1000)))

    async def BatchGetFeatures(self, request: pb.BatchGetFeaturesRequest, context: Any) -> pb.BatchGetFeaturesResponse:
        return await self._answer(request)

    async def ReadFeatures(
        self, request_iterator: AsyncIterator[pb.ReadFeaturesRequest], context: Any
    ) -> AsyncIterator[pb.ReadFeaturesResponse]:
        async def answer(request: pb.ReadFeaturesRequest, seconds: float) -> pb.ReadFeaturesResponse:
            self.streamed += 1
            batch = await self._answer(request.read)
            if request.sheet and self.knows_sheets:
                batch = in_rows(batch)
            return pb.ReadFeaturesResponse(number=request.number, answer=batch)

        def refuse(request: pb.ReadFeaturesRequest, error: bytes) -> pb.ReadFeaturesResponse:
            return pb.ReadFeaturesResponse(number=request.number, error=error)

        async for response in exchanges.answers(request_iterator, answer, refuse):
            yield response

    async def _answer(self, request: pb.BatchGetFeaturesRequest) -> pb.BatchGetFeaturesResponse:
        self.batches.append(list(request.ids))
        await self._maybe_hang()
        if request.entity == "Product":
            items = [self.items.get(id_) for id_ in request.ids]
            columns = [_column(name, items) for name in request.features]
        else:
            people = {"User": self.users, "Visitor": self.guests}[request.entity]
            users = [people.get(id_) for id_ in request.ids]
            columns = [self._of_users(name, users, request.ids) for name in request.features]
        return pb.BatchGetFeaturesResponse(
            entity=request.entity, ids=request.ids, columns=columns, degraded=self.degraded
        )

    def _of_users(self, name: str, users: list[User | None], ids: Sequence[str]) -> pb.FeatureColumn:
        column = pb.FeatureColumn(feature=name)
        for id_, known in zip(ids, users, strict=True):
            user = known or User(price_sensitivity="")
            status = pb.NOT_FOUND if known is None else pb.PRESENT
            match name:
                case "user_browsing_category":
                    column.string_values.append(user.browsing_category or "")
                    status = pb.NULL if known is not None and known.browsing_category is None else status
                case "user_price_sensitivity":
                    column.string_values.append(user.price_sensitivity)
                case "user_recent_views":
                    column.string_list_values.add(values=user.views)
                case "user_recent_carts":
                    column.string_list_values.add(values=user.carts)
                case "user_purchase_history":
                    column.table_values.append(_history(user.purchases))
            column.statuses.append(pb.UNAVAILABLE if id_ in self.lost else status)
        return column

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


def _history(purchases: list[str]) -> pb.Table:
    """Each bought once, some days ago; the first is the most habitual one. The same at each read."""
    times = [_STARTED - 86_400 * (5 + place) for place in range(len(purchases))]
    rows = [(1.0, time_, time_, 0.99**place) for place, time_ in enumerate(times)]
    return pb.Table(
        keys=purchases,
        columns=("orders", "first_time", "last_time", "decayed"),
        values=[number for row in rows for number in row],
    )


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
