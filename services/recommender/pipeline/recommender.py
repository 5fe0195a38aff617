"""Recommends: gather (signals, candidates, facts), decide (pure), report (the page, its reasons, its token).

No dependency can make this fail: each missing part has a fallback and a name in ``Answer.degraded``.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from prometheus_client import Histogram

from services.recommender.domain import attribution
from services.recommender.domain.attribution import Attribution
from services.recommender.domain.candidates import CANDIDATES, merge
from services.recommender.domain.deciding import decide
from services.recommender.domain.explaining import MEMORY, Contribution, Explanation
from services.recommender.domain.reasons import POPULAR, reasons
from services.recommender.domain.serving import ServingConfig
from services.recommender.domain.showing import Hidden
from services.recommender.domain.signals import (
    Card,
    UserSignals,
    category_tastes,
    leading_categories,
    page_anchors,
    session_anchors,
)
from services.recommender.domain.version import Version
from services.recommender.pipeline.active_model import ActiveModel
from services.recommender.pipeline.cards import Cards
from services.recommender.pipeline.context import Answer, Ask, Context, Degraded, Result
from services.recommender.pipeline.deadline import Breaker, CircuitOpenError
from services.recommender.pipeline.finishing import Finisher, Placed
from services.recommender.pipeline.gathering import gather
from services.recommender.pipeline.hydrating import Hydrator
from services.recommender.pipeline.metrics import ANSWERS, DEGRADED, MERGED, STAGE_SECONDS
from services.recommender.pipeline.seeing import candidates_of, see, trained_for, wants
from services.recommender.pipeline.shopper import Shoppers
from services.recommender.pipeline.showcase import Showcase
from services.recommender.pipeline.sources import CandidateSource, own_history
from services.recommender.pipeline.stock import Stock
from services.recommender.ports import Clock
from services.runtime.errors import ServiceError, invalid_field, not_found
from services.runtime.logs import get_logger

log = get_logger(__name__)

# For everything that needs the store; the usual time is 10 ms. With the other deadlines a request ends within a
# second, which is what the callers wait, and an overloaded machine gets relief from cheaper pages.
_PAGE_SECONDS = 0.5

# A search around texts or popular lists is asked for as many more hits as a shopper bought products, up to this.
_BOUGHT_BEYOND = 40


class Configs(Protocol):
    """Where serving configs are looked up: once per request."""

    def get(self, config_id: str, /) -> ServingConfig | None: ...


@dataclass(frozen=True, slots=True)
class Stages:
    """The parts of the pipeline, in the order of their use."""

    shoppers: Shoppers
    cards: Cards
    sources: Mapping[str, CandidateSource]
    hydrator: Hydrator
    finisher: Finisher
    showcase: Showcase
    stock: Stock
    store_breaker: Breaker


class Recommender:
    """Answers one :class:`Ask` at a time; holds no state of its own."""

    def __init__(
        self,
        configs: Configs,
        stages: Stages,
        active_model: ActiveModel,
        new_answer_id: Callable[[], str],
        now: Clock,
    ) -> None:
        self._configs = configs
        self._stages = stages
        self._active_model = active_model
        self._new_answer_id = new_answer_id
        self._now = now

    async def recommend(self, ask: Ask) -> Answer:
        """The page. Raises NOT_FOUND for an unknown serving config or, where products are needed, unknown ones."""
        config = self._config(ask)
        degraded = Degraded()
        version = self._active_model.version
        with _timed("signals"):
            signals = await self._stages.shoppers.signals(ask.user_id, ask.visitor_id, degraded)
            context = await self._context(ask, config, signals, version, degraded)
        try:
            placed = await self._stages.store_breaker.call(
                _PAGE_SECONDS, lambda: self._page(ask, config, context, degraded)
            )
        except Exception as error:
            degraded.add("catalogue")
            # A bug must not look like an outage.
            if not isinstance(error, TimeoutError | CircuitOpenError | ServiceError):
                log.error("page_failed", error=type(error).__name__, exc_info=error)
            results = self._from_memory(ask, config, context)
            # Nobody can be asked; the next page may be empty.
            more = len(results) == ask.page_size
        else:
            results = _results(placed[: ask.page_size], context, ask.explain)
            more = len(placed) > ask.page_size
        return self._answer(ask, config, version.id, results, more, context, degraded)

    async def knows(self, product_id: str) -> bool:
        """Whether the catalogue has the product; true when nobody can say."""
        try:
            return bool(await self._stages.cards.of([product_id]))
        except Exception:
            return True

    def _config(self, ask: Ask) -> ServingConfig:
        config = self._configs.get(ask.serving_config)
        if config is None:
            raise not_found("SERVING_CONFIG_NOT_FOUND", "there is no such serving config")
        if config.needs_products and not ask.product_ids:
            raise invalid_field("productIds", f"{config.id} needs at least one product", "REQUIRED")
        return config

    async def _context(
        self, ask: Ask, config: ServingConfig, signals: UserSignals, version: Version, degraded: Degraded
    ) -> Context:
        wanted = (*ask.product_ids, *signals.history())
        try:
            if self._stages.store_breaker.open:
                raise CircuitOpenError
            cards = self._stages.cards.at_once(wanted)
            if cards is None:
                cards = await self._stages.cards.of(wanted)
        except Exception:
            degraded.add("catalogue")
            cards = self._stages.cards.known(wanted)
        else:
            if config.needs_products and not any(product_id in cards for product_id in ask.product_ids):
                raise not_found("PRODUCT_NOT_FOUND", "the catalogue has none of the products")
        tastes = category_tastes(signals, cards)
        if config.anchors == "page":
            anchors = page_anchors(ask.product_ids)
            categories = tuple(dict.fromkeys(cards[id_].top_category for id_ in ask.product_ids if id_ in cards))
        else:
            anchors = session_anchors(signals, ask.product_ids)
            categories = leading_categories(tastes, signals.browsing_category)
        person = see(config, version, signals, self._now().timestamp(), degraded, ask.device)
        hidden = (*ask.excluded, *ask.product_ids, *(signals.bought if config.never_bought else ()))
        allowed = None if person is None else candidates_of(person, self._stages.stock, hidden)
        return Context(ask.user_id, signals, anchors, tastes, categories, cards, version, person, allowed)

    async def _page(self, ask: Ask, config: ServingConfig, context: Context, degraded: Degraded) -> list[Placed]:
        """The page, and one more if there is one: whoever asks for the next page gets something."""
        stages = self._stages
        bought = context.signals.bought if config.never_bought else ()
        # Each source asks for as much more as may fall out again; those in memory look past what was bought.
        beyond = len(ask.shown) + min(len(bought), _BOUGHT_BEYOND)
        with _timed("candidates"):
            found = await gather(config, stages.sources, context, ask.page_size, degraded, beyond)
        hidden = _hidden(ask).and_also(bought)
        weights = {spec.name: spec.weight for spec in config.sources}
        limit = max(CANDIDATES, 3 * ask.page_size)
        candidates = merge(found, weights, hidden, limit, context.version.learned)
        with _timed("features"):
            trained = trained_for(config, context)
            wanted_facts = wants(config, ranked=trained is not None, in_session=context.signals.in_session)
            hydrated = await stages.hydrator.hydrate(candidates, context, stages.showcase.bands, wanted_facts, degraded)
        MERGED.observe(len(hydrated.candidates))
        with _timed("decision"):
            choices = decide(
                config,
                hydrated.candidates,
                hydrated.facts,
                context.signals,
                context.tastes,
                ask.page_size,
                ask.explain,
                trained,
            )
        with _timed("final_check"):
            wanted = ask.page_size + 1
            placed = await stages.finisher.finish(choices, wanted)
            if config.fill and len(placed) < wanted:
                placed_ids = [product.id for _, product in placed]
                placed += await stages.finisher.fill(wanted - len(placed), hidden.and_also(placed_ids))
        return placed

    def _from_memory(self, ask: Ask, config: ServingConfig, context: Context) -> tuple[Result, ...]:
        showcase = self._stages.showcase
        signals = context.signals
        hidden = _hidden(ask).and_also(signals.bought if config.never_bought else ())
        if config.fill:
            products = showcase.choose(context.categories, hidden, ask.page_size)
        else:
            own = showcase.among(_own(config, signals))
            products = [product for product in own if product.id not in hidden][: ask.page_size]
        return tuple(
            Result(
                product,
                round(1.0 / rank, 6),
                (f"Popular in {product.top_category}" if product.top_category in context.categories else POPULAR,),
                explanation=_remembered(rank) if ask.explain else None,
            )
            for rank, product in enumerate(products, start=1)
        )

    def _answer(
        self,
        ask: Ask,
        config: ServingConfig,
        model_id: str,
        results: tuple[Result, ...],
        more: bool,
        context: Context,
        degraded: Degraded,
    ) -> Answer:
        parts = degraded.names()
        outcome = "empty" if not results else "degraded" if parts else "full"
        ANSWERS.labels(config.id, outcome).inc()
        for part in {part.partition(":")[0] for part in parts}:
            DEGRADED.labels(part).inc()
        token = attribution.encode(Attribution(config.id, model_id, self._new_answer_id()))
        empty_reason = "" if results else _empty_reason(ask, config, context, parts)
        return Answer(results, token, config.id, model_id, parts, empty_reason, more)


def _hidden(ask: Ask) -> Hidden:
    return Hidden(frozenset((*ask.excluded, *ask.product_ids)), frozenset(ask.shown))


def _results(placed: Sequence[Placed], context: Context, explain: bool) -> tuple[Result, ...]:
    origins = {anchor.id: anchor.origin for anchor in context.anchors}
    cards: Mapping[str, Card] = context.cards
    return tuple(
        Result(
            product,
            choice.score,
            reasons(choice.candidate.traces, product.top_category, cards, origins),
            choice.candidate.traces if explain else (),
            choice.explanation if explain else None,
        )
        for choice, product in placed
    )


def _remembered(rank: int) -> Explanation:
    return Explanation((Contribution("memory_rank", 1.0 / rank, 1.0, 1.0 / rank),), (MEMORY,))


def _own(config: ServingConfig, signals: UserSignals) -> list[str]:
    return [id_ for spec in config.sources for id_ in own_history(spec.name, signals)]


def _empty_reason(ask: Ask, config: ServingConfig, context: Context, degraded: Sequence[str]) -> str:
    if "catalogue" in degraded:
        return "the catalogue is not available"
    if ask.shown:
        return "everything was shown"
    if _own(config, context.signals) and not config.fill:
        return "nothing of it is in stock"
    return config.empty_reason


class _timed:  # noqa: N801  # read as a function
    """Observes how long its block took."""

    __slots__ = ("_stage", "_started")

    def __init__(self, stage: str) -> None:
        self._stage = stage

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        _seconds(self._stage).observe(time.perf_counter() - self._started)


@functools.cache
def _seconds(stage: str) -> Histogram:
    """Looking it up takes as long as observing."""
    return STAGE_SECONDS.labels(stage)
