"""Composes ranking and training: the searches, the pipeline, the trainer, and the servicers in front of them."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc

from services.recommender import serving_configs
from services.recommender.clients import FeatureClient
from services.recommender.domain.assortment import Assortment
from services.recommender.pipeline.active_model import ActiveModel
from services.recommender.pipeline.ahead import NeighboursAhead
from services.recommender.pipeline.aligning import Aligned
from services.recommender.pipeline.announcing import AnnouncingCatalog, AnnouncingScores
from services.recommender.pipeline.cards import Cards
from services.recommender.pipeline.deadline import Breaker
from services.recommender.pipeline.erasures import Erasures
from services.recommender.pipeline.finishing import Finisher
from services.recommender.pipeline.following import Followers, follow_catalogue
from services.recommender.pipeline.hydrating import Hydrator
from services.recommender.pipeline.mirror import Mirror
from services.recommender.pipeline.neighbours import TextNeighbours
from services.recommender.pipeline.newcomers import Newcomers
from services.recommender.pipeline.polling import Poller
from services.recommender.pipeline.recommender import Recommender, Stages
from services.recommender.pipeline.remembering import RememberedOrders
from services.recommender.pipeline.serving_configs import ServingConfigs
from services.recommender.pipeline.shared_lists import SharedLists
from services.recommender.pipeline.shelf import Shelf
from services.recommender.pipeline.shopper import Shoppers
from services.recommender.pipeline.showcase import Showcase
from services.recommender.pipeline.sources import all_sources
from services.recommender.pipeline.stock import Stock
from services.recommender.ports import CatalogStore, ChangeLog, Clock
from services.recommender.servicer import model, privacy, recommendation, serving_config
from services.recommender.servicer.admission import Admission
from services.recommender.servicer.model import ModelServicer
from services.recommender.servicer.privacy import PrivacyServicer
from services.recommender.servicer.recommendation import RecommendationServicer
from services.recommender.servicer.serving_config import ServingConfigServicer
from services.recommender.settings import RecommenderSettings
from services.recommender.stores.erasures import PostgresErasures
from services.recommender.stores.models import PostgresModels
from services.recommender.stores.neighbours import PostgresNeighbours
from services.recommender.stores.postgres import Database
from services.recommender.stores.retrieval import PostgresRetrieval
from services.recommender.stores.scores import PostgresScores
from services.recommender.stores.serving_configs import PostgresServingConfigs
from services.recommender.training import process
from services.recommender.training.scores import ScoreRefresher
from services.recommender.training.trainer import Trainer
from services.runtime.errors import ServiceError

# The usual times are 1 to 5 ms. These are for the bad day, when the breaker soon answers at once; shorter ones would
# drop a shopper's last click whenever the machine is busy.
_FEATURES_SECONDS = 0.2
_CARDS_SECONDS = 0.15

# What is kept of the catalogue in memory, some 350 bytes a product; 512 more for each of those whose texts are: as much
# as a model version of a million products takes. What does not fit is asked of the store.
_PRODUCTS_IN_MEMORY = 1_500_000
_TEXTS_IN_MEMORY = 300_000


@dataclass(frozen=True, slots=True)
class Ranking:
    """What ranking adds to the service."""

    catalog: CatalogStore
    servicers: dict[str, Callable[[grpc.aio.Server], None]]
    background: dict[str, Callable[[], Coroutine[Any, Any, None]]]


async def assemble(
    settings: RecommenderSettings,
    database: Database,
    catalog: CatalogStore,
    changes: ChangeLog,
    features: FeatureClient,
    clock: Clock,
    closers: AsyncExitStack,
) -> Ranking:
    """Builds it; ``Ranking.catalog`` is ``catalog`` for those who change products."""
    retrieval = PostgresRetrieval(database)
    mirror = Mirror(retrieval, Assortment(_PRODUCTS_IN_MEMORY, _TEXTS_IN_MEMORY))
    erasures = Erasures(PostgresErasures(database))
    shelf = Shelf(catalog, clock)
    newcomers = Newcomers(mirror)
    nearest = PostgresNeighbours(database)
    texts = TextNeighbours(retrieval, nearest, mirror)
    lists = SharedLists(retrieval, mirror.sign)
    stages = _stages(retrieval, mirror, texts, lists, newcomers, catalog, shelf, features, erasures, clock)
    sources, showcase, stock = stages.sources, stages.showcase, stages.stock
    # The mirror first: what others derive from it is not to be older than what they are told.
    followers = Followers((mirror, stock, showcase, shelf))
    aligned = Aligned(mirror, [stock.align, newcomers.align])
    models = PostgresModels(database)
    active_model = ActiveModel(models, aligned.begin)
    configs = ServingConfigs(serving_configs.load(sources), PostgresServingConfigs(database), sources)
    recommender = Recommender(configs, stages, active_model, partial(secrets.token_hex, 8), clock)
    scores = ScoreRefresher(features, AnnouncingScores(PostgresScores(database), mirror), settings.scores_every)

    def activated(model_id: str) -> None:
        active_model.switch(model_id)
        scores.ask()

    trainer = Trainer(
        models, features, catalog, process.learn, clock, settings.train_every, active_model.prepare, activated
    )
    closers.push_async_callback(trainer.close)
    await _warm(active_model, configs, showcase, erasures)
    return Ranking(
        catalog=AnnouncingCatalog(catalog, followers),
        servicers={
            recommendation.SERVICE: RecommendationServicer(recommender, Admission(settings.pages_at_once)).register,
            model.SERVICE: ModelServicer(models, trainer, active_model.prepare, active_model.switch).register,
            privacy.SERVICE: PrivacyServicer(erasures).register,
            serving_config.SERVICE: ServingConfigServicer(configs, sources).register,
        },
        background={
            "active model": active_model.follow,
            "serving configs": Poller("serving configs", configs.refresh).follow,
            "erasures": Poller("erasures", erasures.refresh).follow,
            "showcase": showcase.follow,
            "shared lists": lists.follow,
            "catalogue's changes": partial(follow_catalogue, changes, followers),
            "catalogue in memory": mirror.follow,
            "stock of the model": aligned.follow,
            "neighbours by text": NeighboursAhead(texts, nearest, retrieval, lambda: mirror.told).follow,
            "copied scores": scores.follow,
            "training": trainer.follow,
        },
    )


def _stages(
    retrieval: PostgresRetrieval,
    mirror: Mirror,
    texts: TextNeighbours,
    lists: SharedLists,
    newcomers: Newcomers,
    catalog: CatalogStore,
    shelf: Shelf,
    features: FeatureClient,
    erasures: Erasures,
    clock: Clock,
) -> Stages:
    """The parts of the pipeline; erasures reach those that remember persons."""
    feature_breaker = Breaker("features")
    shoppers = Shoppers(features, feature_breaker, _FEATURES_SECONDS, erasures.erased_lately)
    orders = RememberedOrders(mirror, erasures.erased_lately)
    erasures.add_memory(features.forget)
    erasures.add_memory(shoppers.forget)
    erasures.add_memory(orders.forget)
    return Stages(
        shoppers=shoppers,
        cards=Cards(retrieval, mirror, _CARDS_SECONDS),
        sources=all_sources(retrieval, texts, newcomers, lists),
        hydrator=Hydrator(retrieval, mirror, features, feature_breaker, _FEATURES_SECONDS),
        finisher=Finisher(shelf, retrieval),
        showcase=Showcase(retrieval, catalog, mirror, clock),
        stock=Stock(mirror),
        orders=orders,
        store_breaker=Breaker("postgres"),
    )


async def _warm(active_model: ActiveModel, configs: ServingConfigs, showcase: Showcase, erasures: Erasures) -> None:
    """What a first request should find in memory; without the store it comes later, in the background."""
    try:
        await active_model.refresh()
        await configs.refresh()
        await erasures.refresh()
        await showcase.refresh()
    except ServiceError:
        return
