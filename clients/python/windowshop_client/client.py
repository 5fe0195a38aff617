"""The calls of both services behind one object, each with a deadline."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from grpc import aio
from windowshop.features.v1 import features_pb2 as f
from windowshop.features.v1.features_pb2_grpc import FeatureServiceStub
from windowshop.recommender.v1 import catalog_pb2 as c
from windowshop.recommender.v1 import model_pb2 as m
from windowshop.recommender.v1 import privacy_pb2 as p
from windowshop.recommender.v1 import recommendation_pb2 as r
from windowshop.recommender.v1 import serving_config_pb2 as s
from windowshop.recommender.v1.catalog_pb2_grpc import CatalogServiceStub
from windowshop.recommender.v1.model_pb2_grpc import ModelServiceStub
from windowshop.recommender.v1.privacy_pb2_grpc import PrivacyServiceStub
from windowshop.recommender.v1.recommendation_pb2_grpc import RecommendationServiceStub
from windowshop.recommender.v1.serving_config_pb2_grpc import ServingConfigServiceStub

from windowshop_client.channels import open_channel
from windowshop_client.errors import translated
from windowshop_client.streams import upload

Chunk = TypeVar("Chunk")

FEATURES = "feature service"
RECOMMENDER = "recommender"

READ_SECONDS = 5.0
"""Deadline of a read. Reads answer within milliseconds; this is for a machine that is busy."""
WRITE_SECONDS = 30.0
"""Deadline of a unary write."""
TRAINING_ROWS_SECONDS = 3_600.0
"""Deadline of a whole stream of training rows: some millions, each with features of its own instant."""


class Client:
    """A windowshop to talk to. Make it with `connect`.

    Methods return the messages of the contract and raise WindowshopError. After an error they may be called
    again, with two exceptions: `set_inventory` without a set time, and `train_model`, which starts another run.
    """

    def __init__(self, features: aio.Channel, recommender: aio.Channel) -> None:
        self._features = FeatureServiceStub(features)
        self._recommendations = RecommendationServiceStub(recommender)
        self._catalog = CatalogServiceStub(recommender)
        self._models = ModelServiceStub(recommender)
        self._privacy = PrivacyServiceStub(recommender)
        self._configs = ServingConfigServiceStub(recommender)

    async def get_features(
        self, entity: str, entity_id: str, features: Sequence[str] = (), *, timeout: float = READ_SECONDS
    ) -> f.GetFeaturesResponse:
        """Feature values of one entity ("User" or "Product"); all of them when none are named."""
        request = f.GetFeaturesRequest(entity=entity, id=entity_id, features=features)
        with translated(FEATURES):
            return await self._features.GetFeatures(request, timeout=timeout)

    async def batch_get_features(
        self, entity: str, ids: Sequence[str], features: Sequence[str] = (), *, timeout: float = READ_SECONDS
    ) -> f.BatchGetFeaturesResponse:
        """Feature values of up to 1,000 entities of one type, in columns."""
        request = f.BatchGetFeaturesRequest(entity=entity, ids=ids, features=features)
        with translated(FEATURES):
            return await self._features.BatchGetFeatures(request, timeout=timeout)

    async def write_events(self, events: Sequence[f.Event], *, timeout: float = WRITE_SECONDS) -> f.WriteEventsResponse:
        """Appends up to 1,000 events; they are durable when this returns."""
        with translated(FEATURES):
            return await self._features.WriteEvents(f.WriteEventsRequest(events=events), timeout=timeout)

    async def import_events(
        self, chunks: Iterable[Sequence[f.Event]], *, sent: Callable[[int], None] | None = None
    ) -> f.ImportEventsResponse:
        """Appends any number of events, in chunks of up to 5,000; `sent` is told of each chunk's length."""
        requests = (f.ImportEventsRequest(events=chunk) for chunk in chunks)
        with translated(FEATURES):
            call = self._features.ImportEvents()
            return await upload(call, requests, sent=_counted(sent, lambda request: len(request.events)))

    async def training_rows(
        self,
        features: Sequence[str] = (),
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        event_types: Sequence[str] = (),
        timeout: float = TRAINING_ROWS_SECONDS,
    ) -> AsyncIterator[f.ReadTrainingRowsResponse]:
        """What signed-in users did from `start` on and before `end`, oldest first, in columns: a row for each product.

        With `features` (up to 20, of users and products) as they were just before each row. They are computed as
        fast as messages are taken, not faster. Without `event_types`: see the contract.
        """
        request = f.ReadTrainingRowsRequest(
            start_time=_timestamp(start), end_time=_timestamp(end), event_types=event_types, features=features
        )
        with translated(FEATURES):
            async for message in self._features.ReadTrainingRows(request, timeout=timeout):
                yield message

    async def merge_visitor(
        self, visitor_id: str, user_id: str, *, timeout: float = WRITE_SECONDS
    ) -> f.MergeVisitorResponse:
        """A guest signs in: what the visitor did up to now becomes the user's, also what arrives later.

        After an error it may be called again, and finishes the work.
        """
        request = f.MergeVisitorRequest(visitor_id=visitor_id, user_id=user_id)
        with translated(FEATURES):
            return await self._features.MergeVisitor(request, timeout=timeout)

    async def erase(self, entity_id: str, entity: str = "User", *, timeout: float = WRITE_SECONDS) -> dict[str, int]:
        """Erases a person ("User" or "Visitor") in both services; how much of each kind was removed.

        An unknown one answers with zeros. After an error it may be called again, and finishes the work.
        """

        async def of_features() -> f.DeleteEntityResponse:
            with translated(FEATURES):
                request = f.DeleteEntityRequest(entity=entity, id=entity_id)
                return await self._features.DeleteEntity(request, timeout=timeout)

        async def of_recommender() -> p.DeleteEntityResponse:
            with translated(RECOMMENDER):
                request = p.DeleteEntityRequest(entity=entity, id=entity_id)
                return await self._privacy.DeleteEntity(request, timeout=timeout)

        # Both are heard out: the one that is up has done its part when the call is repeated.
        answers = await asyncio.gather(of_features(), of_recommender(), return_exceptions=True)
        removed = Counter[str]()
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
            removed.update(answer.removed)
        return dict(removed)

    async def recommend(self, request: r.RecommendRequest, *, timeout: float = READ_SECONDS) -> r.RecommendResponse:
        """The products to show next."""
        with translated(RECOMMENDER):
            return await self._recommendations.Recommend(request, timeout=timeout)

    async def list_similar_products(
        self, product_id: str, page_size: int = 10, *, timeout: float = READ_SECONDS
    ) -> r.RecommendResponse:
        """Products like one product."""
        request = r.ListSimilarProductsRequest(product_id=product_id, page_size=page_size)
        with translated(RECOMMENDER):
            return await self._recommendations.ListSimilarProducts(request, timeout=timeout)

    async def get_product(self, product_id: str, *, timeout: float = READ_SECONDS) -> c.Product:
        """A product of the catalogue."""
        with translated(RECOMMENDER):
            return await self._catalog.GetProduct(c.GetProductRequest(id=product_id), timeout=timeout)

    async def import_products(
        self,
        chunks: Iterable[Sequence[c.Product]],
        *,
        full: bool = False,
        sent: Callable[[int], None] | None = None,
    ) -> c.ImportProductsResponse:
        """Upserts any number of products, in chunks of up to 1,000.

        `full`: the chunks are the whole catalogue, and products that they do not name are deleted.
        """
        mode = c.FULL if full else c.INCREMENTAL
        requests = (c.ImportProductsRequest(mode=mode, products=chunk) for chunk in chunks)
        with translated(RECOMMENDER):
            call = self._catalog.ImportProducts()
            return await upload(call, requests, sent=_counted(sent, lambda request: len(request.products)))

    async def set_inventory(
        self, product_id: str, quantity: int, *, set_time: datetime | None = None, timeout: float = WRITE_SECONDS
    ) -> c.SetInventoryResponse:
        """Sets a product's stock, counted at `set_time` (aware; left out: when the call arrives).

        Repeating a call without it may undo a count that somebody sent in between.
        """
        counted = None
        if set_time is not None:
            counted = Timestamp()
            counted.FromDatetime(set_time)
        request = c.SetInventoryRequest(id=product_id, available_quantity=quantity, set_time=counted)
        with translated(RECOMMENDER):
            return await self._catalog.SetInventory(request, timeout=timeout)

    async def train_model(self, *, timeout: float = WRITE_SECONDS) -> m.Model:
        """Starts a training run and returns its model, which is not trained yet."""
        with translated(RECOMMENDER):
            return await self._models.TrainModel(m.TrainModelRequest(), timeout=timeout)

    async def get_model(self, model_id: str, *, timeout: float = READ_SECONDS) -> m.Model:
        """A model version."""
        with translated(RECOMMENDER):
            return await self._models.GetModel(m.GetModelRequest(id=model_id), timeout=timeout)

    async def list_models(self, page_size: int = 20, *, timeout: float = READ_SECONDS) -> list[m.Model]:
        """The newest model versions, newest first."""
        with translated(RECOMMENDER):
            answer = await self._models.ListModels(m.ListModelsRequest(page_size=page_size), timeout=timeout)
        return list(answer.models)

    async def list_serving_configs(self, *, timeout: float = READ_SECONDS) -> list[s.ServingConfig]:
        """What each kind of recommendation is made of, by id."""
        found: list[s.ServingConfig] = []
        request = s.ListServingConfigsRequest()
        with translated(RECOMMENDER):
            while True:
                answer = await self._configs.ListServingConfigs(request, timeout=timeout)
                found += answer.serving_configs
                if not answer.next_page_token:
                    return found
                request.page_token = answer.next_page_token

    async def get_serving_config(self, config_id: str, *, timeout: float = READ_SECONDS) -> s.ServingConfig:
        """One of them."""
        with translated(RECOMMENDER):
            return await self._configs.GetServingConfig(s.GetServingConfigRequest(id=config_id), timeout=timeout)

    async def update_serving_config(
        self,
        config: s.ServingConfig,
        fields: Sequence[str] = (),
        *,
        create: bool = False,
        validate_only: bool = False,
        timeout: float = WRITE_SECONDS,
    ) -> s.ServingConfig:
        """Changes the named fields (none: those that are set), such as weights or diversity.mmr_lambda.

        With `config.etag` only if the config is still in that state; `create`: it need not be there yet.
        """
        request = s.UpdateServingConfigRequest(
            serving_config=config,
            update_mask=FieldMask(paths=fields),
            allow_missing=create,
            validate_only=validate_only,
        )
        with translated(RECOMMENDER):
            return await self._configs.UpdateServingConfig(request, timeout=timeout)

    async def delete_serving_config(
        self, config_id: str, etag: str = "", *, timeout: float = WRITE_SECONDS
    ) -> s.DeleteServingConfigResponse:
        """Takes an edit back; the answer has the bundled config that serves again, if there is one."""
        request = s.DeleteServingConfigRequest(id=config_id, etag=etag)
        with translated(RECOMMENDER):
            return await self._configs.DeleteServingConfig(request, timeout=timeout)


@asynccontextmanager
async def connect(*, features: str = "localhost:50051", recommender: str = "localhost:50052") -> AsyncIterator[Client]:
    """A client of the services at these addresses, for the length of an `async with`.

    An address is `host:port`, `dns:///name:port`, or a list of IPv4 addresses and ports with commas: of several
    servers each gets its share, and a restart of one is not seen. Nothing is sent before the first call; a service
    that is not there shows as WindowshopError with code UNAVAILABLE on the calls that need it.
    """
    async with (
        open_channel(features) as to_features,
        open_channel(recommender) as to_recommender,
    ):
        yield Client(to_features, to_recommender)


def _counted(sent: Callable[[int], None] | None, length: Callable[[Chunk], int]) -> Callable[[Chunk], None]:
    return lambda chunk: sent(length(chunk)) if sent is not None else None


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp
