"""Candidate sources: each looks for products in one way. To add one: a class here, a line in :func:`all_sources`,
and its name in ``serving_configs.toml``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import ClassVar, Protocol

from services.recommender.domain.candidates import Hit
from services.recommender.domain.signals import UserSignals
from services.recommender.pipeline.context import Context
from services.recommender.ranking_ports import Lists, Retrieval

# Each anchor costs an index search that grows with this; so many neighbours of each fill a page of mixed ones.
_PER_ANCHOR = 20


class CandidateSource(Protocol):
    """Finds products for a context. May fail or be late: the page is made without it then."""

    name: ClassVar[str]

    async def fetch(self, context: Context, limit: int) -> list[Hit]:
        """At most ``limit`` hits worth showing, or none when the context has nothing to go by."""
        ...


@dataclass(frozen=True, slots=True)
class Semantic:
    """Products whose texts resemble what is on the page or was viewed, carted or bought. Finds new products too."""

    name: ClassVar[str] = "semantic"
    retrieval: Retrieval

    async def fetch(self, context: Context, limit: int) -> list[Hit]:
        if not context.anchors:
            return []
        hits = await self.retrieval.semantic(context.anchors, min(limit, max(_PER_ANCHOR, limit // 2)))
        return _best(hits, limit)


@dataclass(frozen=True, slots=True)
class CoChosen:
    """Products chosen by the same people as what is on the page or was viewed, carted or bought."""

    name: ClassVar[str] = "co_chosen"
    retrieval: Retrieval

    async def fetch(self, context: Context, limit: int) -> list[Hit]:
        if not context.anchors or not context.model_id:
            return []
        per_anchor = min(limit, max(_PER_ANCHOR, limit // 2))
        return _best(await self.retrieval.co_chosen(context.model_id, context.anchors, per_anchor), limit)


@dataclass(frozen=True, slots=True)
class Collaborative:
    """Products that the model expects the user to take, from everyone's behaviour."""

    name: ClassVar[str] = "collaborative"
    retrieval: Retrieval

    async def fetch(self, context: Context, limit: int) -> list[Hit]:
        if not context.user_id or not context.model_id:
            return []
        return await self.retrieval.collaborative(context.model_id, context.user_id, limit)


@dataclass(frozen=True, slots=True)
class BuyAgain:
    """What the user bought, the most habitual first. Asks nobody: what is sold out falls out with the facts."""

    name: ClassVar[str] = "buy_again"

    async def fetch(self, context: Context, limit: int) -> list[Hit]:
        return _in_order(context.signals.purchases[:limit])


@dataclass(frozen=True, slots=True)
class RecentlyViewed:
    """What the shopper looked at, the newest first. Asks nobody, as above."""

    name: ClassVar[str] = "recently_viewed"

    async def fetch(self, context: Context, limit: int) -> list[Hit]:
        return _in_order(context.signals.recent_views[:limit])


@dataclass(frozen=True, slots=True)
class PopularInCategories:
    """The best sellers of the user's leading categories."""

    name: ClassVar[str] = "popular_in_categories"
    lists: Lists

    async def fetch(self, context: Context, limit: int) -> list[Hit]:
        if not context.categories:
            return []
        found = await asyncio.gather(*(self.lists.popular_in(name, limit) for name in context.categories))
        # The best of each category by turns: popularity does not compare across them.
        by_turns = (hit for row in zip_longest(*found) for hit in row if hit is not None)
        return [replace(hit, score=float(-place)) for place, hit in enumerate(by_turns)][:limit]


@dataclass(frozen=True, slots=True)
class Popular:
    """The best sellers of the shop."""

    name: ClassVar[str] = "popular"
    lists: Lists

    async def fetch(self, context: Context, limit: int) -> list[Hit]:
        return await self.lists.popular(limit)


@dataclass(frozen=True, slots=True)
class Trending:
    """What is wanted most since yesterday."""

    name: ClassVar[str] = "trending"
    lists: Lists

    async def fetch(self, context: Context, limit: int) -> list[Hit]:
        return await self.lists.trending(limit)


@dataclass(frozen=True, slots=True)
class NewArrivals:
    """The newest products, which no behaviour speaks for yet."""

    name: ClassVar[str] = "new_arrivals"
    lists: Lists

    async def fetch(self, context: Context, limit: int) -> list[Hit]:
        return await self.lists.new_arrivals(limit)


def all_sources(retrieval: Retrieval, lists: Lists) -> Mapping[str, CandidateSource]:
    """Every source by name."""
    sources: tuple[CandidateSource, ...] = (
        Semantic(retrieval),
        CoChosen(retrieval),
        Collaborative(retrieval),
        BuyAgain(),
        RecentlyViewed(),
        PopularInCategories(lists),
        Popular(lists),
        Trending(lists),
        NewArrivals(lists),
    )
    return {source.name: source for source in sources}


def own_history(source: str, signals: UserSignals) -> tuple[str, ...]:
    """The products of the shopper's own that a source of this name lists; none for the others."""
    histories = {BuyAgain.name: signals.purchases, RecentlyViewed.name: signals.recent_views}
    return histories.get(source, ())


def _in_order(ids: Sequence[str]) -> list[Hit]:
    return [Hit(id_, float(-place)) for place, id_ in enumerate(ids)]


def _best(hits: list[Hit], limit: int) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:limit]
