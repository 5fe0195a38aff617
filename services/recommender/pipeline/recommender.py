"""Recommends: gather (signals, candidates, facts), decide (pure), report (the page, its reasons, its token).

No dependency can make this fail: each missing part has a fallback and a name in ``Answer.degraded``.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from services.recommender.domain import attribution
from services.recommender.domain.attribution import Attribution
from services.recommender.domain.candidates import CANDIDATES, merge
from services.recommender.domain.deciding import Choice, decide
from services.recommender.domain.reasons import POPULAR
from services.recommender.domain.serving import ServingConfig
from services.recommender.domain.showing import Hidden
from services.recommender.domain.signals import (
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
from services.recommender.pipeline.metrics import ANSWERS, DEGRADED, MERGED, REMEMBERED, timed
from services.recommender.pipeline.remembering import Basis, Order, Places, RememberedOrders, head
from services.recommender.pipeline.seeing import candidates_of, see, trained_for, wants
from services.recommender.pipeline.shopper import Shoppers
from services.recommender.pipeline.showcase import Showcase
from services.recommender.pipeline.sources import CandidateSource
from services.recommender.pipeline.stock import Stock
from services.recommender.pipeline.telling import Why, empty_reason, explained_from_memory, own_products, results_of
from services.recommender.ports import Clock
from services.runtime.errors import ServiceError, invalid_field, not_found
from services.runtime.logs import get_logger
from services.runtime.turns import Turns

log = get_logger(__name__)

# For everything that needs the store; the usual time is 10 ms. With the other deadlines a request ends within a
# second, which is what the callers wait, and an overloaded machine gets relief from cheaper pages.
_PAGE_SECONDS = 0.5

# Shoppers are read together, so their pages are ready together: ten of them would hold the event loop for 20 ms. Those
# of one turn have their final check together, too.
_TURN_SECONDS = 0.01

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
    orders: RememberedOrders
    store_breaker: Breaker


@dataclass(frozen=True, slots=True)
class _Page:
    """What is the same from the beginning of a page to its end, and what was missing of it."""

    ask: Ask
    config: ServingConfig
    version: Version
    degraded: Degraded


class _AwayError(Exception):
    """The store does not answer. It is waited for once: the page is made of what is in memory."""


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
        self._turns = Turns(_TURN_SECONDS)

    async def recommend(self, ask: Ask) -> Answer:
        """The page. Raises NOT_FOUND for an unknown serving config or, where products are needed, unknown ones."""
        page = _Page(ask, self._config(ask), self._active_model.version, Degraded())
        stages = self._stages
        with timed("signals"):
            signals = await stages.shoppers.signals(ask.user_id, ask.visitor_id, page.degraded)
            await self._turns.begin()
            basis = stages.orders.basis(ask, page.config, page.version.id, signals)
            order = None if basis is None else stages.orders.find(basis)
            context = None if order else await self._context(page, signals)
        try:
            if order is not None:
                placed = await self._in_time(lambda: self._again(ask, order), page.degraded)
                if len(placed) > ask.page_size:
                    return self._answer(page, signals, results_of(placed, None, ask), more=True)
            context = context or await self._context(page, signals)
            made, why = context, Why(context)
            placed = await self._in_time(lambda: self._make(page, made, basis, why), page.degraded)
        except _AwayError:
            results = self._from_memory(page, context or await self._context(page, signals))
            # Nobody can be asked; the next page may be empty.
            return self._answer(page, signals, results, more=len(results) == ask.page_size)
        return self._answer(page, signals, results_of(placed, why, ask), more=len(placed) > ask.page_size)

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

    async def _context(self, page: _Page, signals: UserSignals) -> Context:
        ask, config, version, degraded = page.ask, page.config, page.version, page.degraded
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

    async def _in_time(
        self, making: Callable[[], Coroutine[Any, Any, list[Placed]]], degraded: Degraded
    ) -> list[Placed]:
        """What is made; raises _AwayError where the store does not answer."""
        try:
            return await self._stages.store_breaker.call(_PAGE_SECONDS, making)
        except Exception as error:
            degraded.add("catalogue")
            # A bug must not look like an outage.
            if not isinstance(error, TimeoutError | CircuitOpenError | ServiceError):
                log.error("page_failed", error=type(error).__name__, exc_info=error)
            raise _AwayError from None

    async def _again(self, ask: Ask, order: Order) -> list[Placed]:
        """What of a remembered order may be shown now; where that is no page, too much of it is gone."""
        with timed("final_check"):
            placed = await self._stages.finisher.finish(order.choices(), ask.page_size + 1)
        if len(placed) > ask.page_size:
            REMEMBERED.inc()
            MERGED.observe(order.candidates)
        return placed

    async def _make(self, page: _Page, context: Context, basis: Basis | None, why: Why) -> list[Placed]:
        """The page, and one more if there is one: whoever asks for the next page gets something."""
        ask, config, degraded, stages = page.ask, page.config, page.degraded, self._stages
        bought = context.signals.bought if config.never_bought else ()
        # Each source asks for as much more as may fall out again; those in memory look past what was bought.
        beyond = len(ask.shown) + min(len(bought), _BOUGHT_BEYOND)
        with timed("candidates"):
            found = await gather(config, stages.sources, context, ask.page_size, degraded, beyond)
        await self._turns.begin()
        hidden = _hidden(ask).and_also(bought)
        weights = {spec.name: spec.weight for spec in config.sources}
        limit = max(CANDIDATES, 3 * ask.page_size)
        candidates = merge(found, weights, hidden, limit, context.version.learned)
        with timed("features"):
            trained = trained_for(config, context)
            wanted_facts = wants(config, ranked=trained is not None, in_session=context.signals.in_session)
            hydrated = await stages.hydrator.hydrate(candidates, context, stages.showcase.bands, wanted_facts, degraded)
        MERGED.observe(len(hydrated.candidates))
        with timed("decision"):
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
        # What is read of the feature service live is not to be older than its promise.
        if basis is not None and trained is not None and not wanted_facts.features and not degraded.parts:
            self._remember(basis, choices, hydrated.places, wanted_facts.prices, context, why)
        with timed("final_check"):
            wanted = ask.page_size + 1
            placed = await stages.finisher.finish(choices, wanted)
            if config.fill and len(placed) < wanted:
                placed_ids = [product.id for _, product in placed]
                placed += await stages.finisher.fill(wanted - len(placed), hidden.and_also(placed_ids))
        return placed

    def _remember(
        self, basis: Basis, choices: Sequence[Choice], candidates: Places, prices: bool, context: Context, why: Why
    ) -> None:
        size = head(basis.ask.page_size)
        if len(choices) < size:
            return
        first = [(choice, why.of(choice, choice.top_category)) for choice in choices[:size]]
        self._stages.orders.keep(basis, first, candidates, context.signals.history(), prices)

    def _from_memory(self, page: _Page, context: Context) -> tuple[Result, ...]:
        ask, config, signals, showcase = page.ask, page.config, context.signals, self._stages.showcase
        hidden = _hidden(ask).and_also(signals.bought if config.never_bought else ())
        if config.fill:
            products = showcase.choose(context.categories, hidden, ask.page_size)
        else:
            own = showcase.among(own_products(config, signals))
            products = [product for product in own if product.id not in hidden][: ask.page_size]
        return tuple(
            Result(
                product,
                round(1.0 / rank, 6),
                (f"Popular in {product.top_category}" if product.top_category in context.categories else POPULAR,),
                explanation=explained_from_memory(rank) if ask.explain else None,
            )
            for rank, product in enumerate(products, start=1)
        )

    def _answer(self, page: _Page, signals: UserSignals, results: tuple[Result, ...], more: bool) -> Answer:
        config, model_id, parts = page.config, page.version.id, page.degraded.names()
        outcome = "empty" if not results else "degraded" if parts else "full"
        ANSWERS.labels(config.id, outcome).inc()
        for part in {part.partition(":")[0] for part in parts}:
            DEGRADED.labels(part).inc()
        token = attribution.encode(Attribution(config.id, model_id, self._new_answer_id()))
        why_empty = "" if results else empty_reason(page.ask, config, signals, parts)
        return Answer(results, token, config.id, model_id, parts, why_empty, more)


def _hidden(ask: Ask) -> Hidden:
    return Hidden(frozenset((*ask.excluded, *ask.product_ids)), frozenset(ask.shown))
