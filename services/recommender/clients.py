"""The feature service as the recommender sees it: over gRPC, with a deadline on every call."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import partial
from typing import TypeAlias

import grpc
import numpy as np
from windowshop.features.v1 import features_pb2, features_pb2_grpc
from windowshop.recommender.v1 import catalog_pb2, catalog_pb2_grpc

from services.recommender.domain.interactions import EVENT_WEIGHTS, RATE
from services.recommender.domain.product import Product
from services.recommender.domain.signals import UserSignals, habits
from services.recommender.ranking_ports import (
    Floats,
    InteractionChunk,
    ProductReading,
    ProductScores,
    UserReading,
)
from services.runtime.coalescing import Together
from services.runtime.errors import from_rpc, unavailable
from services.runtime.generations import Generations
from services.runtime.streams import StreamedCalls

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
# Tens of millions of rows, and whoever reads them rests in between.
_INTERACTIONS_SECONDS = 3_600.0
# To be counted at once: a message of them is 11 ms of the event loop.
_ROWS = 1_000

# In one message; more would be a long answer for those who came first.
_SHOPPERS = 50

# Bytes of shoppers' rows that are remembered with what was made of them, twice at most: some 5,000 with 40 products.
_REMEMBERED = 16_000_000
# Seconds after which those who do not come back are forgotten, twice at most.
_MEMORY_SECONDS = 60.0
# What is made of a row takes about this many times its bytes.
_MADE = 3

# The most that one ListProducts gives.
_CATALOGUE_PAGE = 1_000

# Columns of the purchase history in the order of UserSignals.bought_table.
_HISTORY = ("orders", "first_time", "last_time", "decayed")
_COLUMNS = list(_HISTORY)
_DECAYED = 3
_NO_HISTORY = np.zeros((0, len(_HISTORY)))

_HAS_VALUE = (features_pb2.PRESENT, features_pb2.STALE, features_pb2.DEFAULT)


_Batches: TypeAlias = StreamedCalls[features_pb2.BatchGetFeaturesRequest, features_pb2.BatchGetFeaturesResponse]


class FeatureClient:
    """Calls of the FeatureService; its errors come out as ServiceError."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = features_pb2_grpc.FeatureServiceStub(channel)
        self._batch: _Batches = StreamedCalls(
            self._stub.ReadFeatures,
            self._stub.BatchGetFeatures,
            lambda request, **fields: features_pb2.ReadFeaturesRequest(read=request, **fields),
            lambda response: response.answer,
            parse=features_pb2.ReadFeaturesResponse.FromString,
        )
        # By the bytes that say it, which change with whatever the shopper does.
        self._known = _nobody()
        # By entity and timeout: those who are asked for at the same moment.
        self._shoppers: dict[tuple[str, float], Together[str, UserReading]] = {}

    async def close(self) -> None:
        """Ends the streams; calls are unary then."""
        await self._batch.close()

    def forget(self, _: object) -> int:
        """Forgets everybody, for what is remembered does not say of whom it is; returns 0, as others count persons."""
        self._known = _nobody()
        return 0

    async def user(self, user_id: str, timeout: float) -> UserReading:
        """The user's signals; empty ones for a user nobody has heard of."""
        return await self._shopper("User", user_id, timeout)

    async def guest(self, visitor_id: str, timeout: float) -> UserReading:
        """The same of somebody who is not signed in."""
        return await self._shopper("Visitor", visitor_id, timeout)

    async def _shopper(self, entity: str, id_: str, timeout: float) -> UserReading:
        together = self._shoppers.get((entity, timeout))
        if together is None:
            together = Together(partial(self._read_shoppers, entity, timeout), _SHOPPERS)
            self._shoppers[entity, timeout] = together
        reading = (await together.run((id_,))).get(id_)
        if reading is None:
            raise unavailable("FEATURES_UNAVAILABLE", "a feature of the shopper cannot be had at the moment")
        return reading

    async def _read_shoppers(self, entity: str, timeout: float, ids: Sequence[str]) -> dict[str, UserReading]:
        """Without those of whom the feature service has no stored value and cannot compute one."""
        answer = await self._answer(entity, ids, USER_FEATURES, timeout, sheet=True)
        if answer.sheet:
            young = self._known.young(None, time.monotonic())
            rows = features_pb2.FeatureSheet.FromString(answer.sheet).rows
            found = [young.get(row) or self._learnt(row) for row in rows]
        else:  # by a call, or of a server that knows columns only
            columns = {column.feature: column for column in answer.columns}
            found = [_of_columns([columns[name] for name in USER_FEATURES], place) for place in range(len(ids))]
        complete = not answer.degraded
        return {
            id_: UserReading(signals, complete) for id_, signals in zip(ids, found, strict=True) if signals is not None
        }

    def _learnt(self, row: bytes) -> UserSignals | None:
        """What a row says that the young do not know."""
        signals = self._known.old(None, row) or _of_row(features_pb2.FeatureRow.FromString(row))
        if signals is not None:
            self._known.keep(None, row, signals, _MADE * len(row))
        return signals

    async def products(self, ids: Sequence[str], timeout: float) -> ProductReading:
        """Live features of products."""
        columns, complete = await self._columns("Product", ids, (POPULARITY, RATING, INVENTORY), timeout)
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
        columns, _ = await self._columns("Product", ids, (POPULARITY, TREND, RATING), _SCORES_SECONDS)
        return ProductScores(ids, _doubles(columns[POPULARITY]), _doubles(columns[TREND]), _doubles(columns[RATING]))

    async def interactions(self) -> AsyncIterator[InteractionChunk]:
        """The log's views, carts, orders and ratings of known users, oldest first, few at a time."""
        request = features_pb2.ReadTrainingRowsRequest(event_types=(*EVENT_WEIGHTS, RATE))
        call = self._stub.ReadTrainingRows(request, timeout=_INTERACTIONS_SECONDS)
        try:
            async for rows in call:
                for start in range(0, len(rows.user_ids), _ROWS):
                    yield _chunk(rows, slice(start, start + _ROWS))
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        finally:
            call.cancel()  # of a reader that went: the server would wait for it until the time is over

    async def _columns(
        self, entity: str, ids: Sequence[str], features: Sequence[str], timeout: float
    ) -> tuple[Mapping[str, features_pb2.FeatureColumn], bool]:
        response = await self._answer(entity, ids, features, timeout)
        return {column.feature: column for column in response.columns}, not response.degraded

    async def _answer(
        self, entity: str, ids: Sequence[str], features: Sequence[str], timeout: float, sheet: bool = False
    ) -> features_pb2.BatchGetFeaturesResponse:
        request = features_pb2.BatchGetFeaturesRequest(entity=entity, ids=ids, features=features)
        try:
            return await self._batch(request, timeout=timeout, sheet=sheet)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error


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


def _nobody() -> Generations[None, bytes, UserSignals]:
    return Generations(_MADE * _REMEMBERED, _MEMORY_SECONDS)


def _chunk(rows: features_pb2.ReadTrainingRowsResponse, part: slice) -> InteractionChunk:
    return InteractionChunk(
        rows.user_ids[part],
        rows.product_ids[part],
        rows.event_types[part],
        rows.event_times_ms[part],
        rows.event_numbers[part],
        rows.devices[part],
        rows.ratings[part],
    )


def _of_columns(chosen: Sequence[features_pb2.FeatureColumn], place: int) -> UserSignals | None:
    """Of one shopper among several, from columns in the order of USER_FEATURES."""
    browsing, sensitivity, views, carts, purchases = chosen
    return _signals(
        [column.statuses[place] for column in chosen],
        (browsing.string_values[place], sensitivity.string_values[place]),
        (views.string_list_values[place], carts.string_list_values[place]),
        purchases.table_values[place],
    )


def _of_row(row: features_pb2.FeatureRow) -> UserSignals | None:
    """Of the one whom a row of USER_FEATURES is about."""
    return _signals(row.statuses, row.string_values, row.string_list_values, row.table_values[0])


def _signals(
    statuses: Sequence[int],
    texts: Sequence[str],
    lists: Sequence[features_pb2.StringList],
    history: features_pb2.Table,
) -> UserSignals | None:
    """From all that was read; None: something could not be had. Of somebody nobody has heard of all is empty."""
    if features_pb2.UNAVAILABLE in statuses:
        return None
    (browsing, sensitivity), (views, carts) = texts, lists
    keys, table = tuple(history.keys), _history(history)
    return UserSignals(
        browsing_category=browsing if statuses[0] in _HAS_VALUE else None,
        price_sensitivity=sensitivity or "medium",
        recent_views=tuple(views.values),
        recent_carts=tuple(carts.values),
        purchases=habits(keys, table[:, _DECAYED]),
        bought=keys,
        bought_table=table,
    )


def _history(table: features_pb2.Table) -> Floats:
    if not table.keys:
        return _NO_HISTORY
    columns = list(table.columns)
    values = np.array(table.values, dtype=np.float64).reshape(len(table.keys), len(columns))
    values.flags.writeable = False  # it may be remembered for other pages
    return values if columns == _COLUMNS else values[:, [columns.index(name) for name in _HISTORY]]


def _doubles(column: features_pb2.FeatureColumn) -> Floats:
    has_value = np.isin(np.array(column.statuses, dtype=np.int64), _HAS_VALUE)
    return np.where(has_value, np.array(column.double_values, dtype=np.float64), np.nan)
