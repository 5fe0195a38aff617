"""The feature service as the recommender sees it: over gRPC, with a deadline on every call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence

import grpc
import numpy as np
from windowshop.features.v1 import features_pb2, features_pb2_grpc
from windowshop.recommender.v1 import catalog_pb2, catalog_pb2_grpc

from services.recommender.domain.interactions import EVENT_WEIGHTS
from services.recommender.domain.product import Product
from services.recommender.domain.signals import UserSignals, habits
from services.recommender.ranking_ports import (
    Floats,
    InteractionChunk,
    ProductReading,
    ProductScores,
    UserReading,
)
from services.runtime.errors import from_rpc

USER_FEATURES = (
    "user_browsing_category",
    "user_price_sensitivity",
    "user_recent_views",
    "user_recent_carts",
    "user_purchase_history",
)
POPULARITY = "product_popularity_score"
TREND = "product_trend_score"
RATING = "product_rating"
INVENTORY = "product_inventory_level"

# Off the request path: a page of 1,000 products that all have to be computed anew takes a second or two.
_SCORES_SECONDS = 10.0
# Millions of rows; a stream that stands still longer is broken.
_INTERACTIONS_SECONDS = 600.0

# The most that one ListProducts gives.
_CATALOGUE_PAGE = 1_000

# Columns of the purchase history in the order of UserSignals.bought_table.
_HISTORY = ("orders", "first_time", "last_time", "decayed")
_DECAYED = 3

_HAS_VALUE = (features_pb2.PRESENT, features_pb2.STALE, features_pb2.DEFAULT)


class FeatureClient:
    """Calls of the FeatureService; its errors come out as ServiceError."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = features_pb2_grpc.FeatureServiceStub(channel)

    async def user(self, user_id: str, timeout: float) -> UserReading:
        """The user's signals; empty ones for a user nobody has heard of."""
        return await self._shopper("User", user_id, timeout)

    async def guest(self, visitor_id: str, timeout: float) -> UserReading:
        """The same of somebody who is not signed in."""
        return await self._shopper("Visitor", visitor_id, timeout)

    async def _shopper(self, entity: str, id_: str, timeout: float) -> UserReading:
        request = features_pb2.GetFeaturesRequest(entity=entity, id=id_, features=USER_FEATURES)
        try:
            response = await self._stub.GetFeatures(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            failure = from_rpc(error)
            if failure.reason == "ENTITY_NOT_FOUND":
                return UserReading(UserSignals())
            raise failure from error
        return UserReading(_signals(response.features), complete=not response.degraded)

    async def products(self, ids: Sequence[str], timeout: float) -> ProductReading:
        """Live features of products."""
        columns, complete = await self._columns(ids, (POPULARITY, RATING, INVENTORY), timeout)
        inventory = columns[INVENTORY]
        return ProductReading(
            popularity=_doubles(columns[POPULARITY]),
            rating=_doubles(columns[RATING]),
            inventory=[
                level if status in _HAS_VALUE else None
                for level, status in zip(inventory.string_values, inventory.statuses, strict=True)
            ],
            complete=complete,
        )

    async def scores(self, ids: Sequence[str]) -> ProductScores:
        """What ranks products without a user."""
        columns, _ = await self._columns(ids, (POPULARITY, TREND, RATING), _SCORES_SECONDS)
        return ProductScores(ids, _doubles(columns[POPULARITY]), _doubles(columns[TREND]), _doubles(columns[RATING]))

    async def interactions(self) -> AsyncIterator[InteractionChunk]:
        """The log's views, carts and orders of known users, oldest first."""
        request = features_pb2.ReadTrainingRowsRequest(event_types=tuple(EVENT_WEIGHTS))
        try:
            async for rows in self._stub.ReadTrainingRows(request, timeout=_INTERACTIONS_SECONDS):
                yield InteractionChunk(
                    rows.user_ids, rows.product_ids, rows.event_types, rows.event_times_ms, rows.event_numbers
                )
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error

    async def _columns(
        self, ids: Sequence[str], features: Sequence[str], timeout: float
    ) -> tuple[Mapping[str, features_pb2.FeatureColumn], bool]:
        request = features_pb2.BatchGetFeaturesRequest(entity="Product", ids=ids, features=features)
        try:
            response = await self._stub.BatchGetFeatures(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        return {column.feature: column for column in response.columns}, not response.degraded


class CatalogClient:
    """The recommender's own catalogue, as anybody else sees it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = catalog_pb2_grpc.CatalogServiceStub(channel)

    async def products(self) -> AsyncIterator[Product]:
        """Every product, in the order of ids; of each what learning reads."""
        token = ""
        while True:
            request = catalog_pb2.ListProductsRequest(page_size=_CATALOGUE_PAGE, page_token=token)
            try:
                page = await self._stub.ListProducts(request, timeout=_SCORES_SECONDS)
            except grpc.aio.AioRpcError as error:
                raise from_rpc(error) from error
            for one in page.products:
                price = one.price if one.HasField("price") else None
                yield Product(one.id, one.title, categories=tuple(one.categories), brand=one.brand, price=price)
            token = page.next_page_token
            if not token:
                return


def _signals(features: Mapping[str, features_pb2.FeatureValue]) -> UserSignals:
    def ids(name: str) -> tuple[str, ...]:
        return tuple(features[name].string_list_value.values)

    browsing = features["user_browsing_category"]
    history = features["user_purchase_history"].table_value
    table = _history(history)
    return UserSignals(
        browsing_category=browsing.string_value if browsing.WhichOneof("kind") is not None else None,
        price_sensitivity=features["user_price_sensitivity"].string_value or "medium",
        recent_views=ids("user_recent_views"),
        recent_carts=ids("user_recent_carts"),
        purchases=habits(history.keys, table[:, _DECAYED]),
        bought=tuple(history.keys),
        bought_table=table,
    )


def _history(table: features_pb2.Table) -> Floats:
    if not table.keys:
        return np.zeros((0, len(_HISTORY)))
    columns = list(table.columns)
    values = np.array(table.values, dtype=np.float64).reshape(len(table.keys), len(columns))
    return values[:, [columns.index(name) for name in _HISTORY]]


def _doubles(column: features_pb2.FeatureColumn) -> Floats:
    has_value = np.isin(np.array(column.statuses, dtype=np.int64), _HAS_VALUE)
    return np.where(has_value, np.array(column.double_values, dtype=np.float64), np.nan)
