"""Candidate sources: each looks for products in one way. To add one: a class here, a line in :func:`all_sources`,
and its name in a serving config."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from typing import ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from services.recommender.domain import kernels, personal
from services.recommender.domain.candidates import Found, Hit, Located
from services.recommender.domain.learned import Learned
from services.recommender.domain.ordering import best
from services.recommender.domain.scores import Scores
from services.recommender.domain.signals import Anchor, UserSignals
from services.recommender.pipeline.context import Context
from services.recommender.ranking_ports import KeptLists, NewTexts, Retrieval, TextSearch

# Each anchor costs an index search that grows with this; so many neighbours of each fill a page of mixed ones.
_PER_ANCHOR = 20

# Around habits the sources in memory look better: a few for what is new there, which the version does not know, so that
# they do not take the places of what the ranker is to choose from.
_OF_HABITS = 10


class CandidateSource(Protocol):
    """Finds products for a context. May fail or be late: the page is made without it then."""

    @property
    def name(self) -> str: ...

    @property
    def asks_nobody(self) -> bool:
        """Whether ``at_once`` always answers."""
        ...

    def at_once(self, context: Context, limit: int) -> Found | None:
        """At most ``limit`` hits worth showing, or none when the context has nothing to go by; None where somebody has
        to be asked: what is in memory is worth no task and no deadline."""
        ...

    async def fetch(self, context: Context, limit: int) -> Found:
        """The same, whoever has to be asked."""
        ...


class _InMemory(abc.ABC):
    """A source that asks nobody."""

    __slots__ = ()

    asks_nobody: ClassVar[bool] = True

    @abc.abstractmethod
    def at_once(self, context: Context, limit: int) -> Found: ...

    async def fetch(self, context: Context, limit: int) -> Found:
        return self.at_once(context, limit)


@dataclass(frozen=True, slots=True)
class Semantic:
    """Products whose texts resemble what is on the page or was viewed, carted or bought. Finds new products too."""

    name: ClassVar[str] = "semantic"
    asks_nobody: ClassVar[bool] = False
    texts: TextSearch
    newcomers: NewTexts

    def at_once(self, context: Context, limit: int) -> list[Hit] | None:
        if not context.anchors:
            return []
        limit = _around_habits(context, limit)
        hits = self._newcomers(context, limit)
        if hits is None:
            hits = self.texts.at_once(context.anchors, _of_each(limit))
        return None if hits is None else _best(hits, limit)

    async def fetch(self, context: Context, limit: int) -> list[Hit]:
        if not context.anchors:
            return []
        limit = _around_habits(context, limit)
        return _best(await self.texts.fetch(context.anchors, _of_each(limit)), limit)

    def _newcomers(self, context: Context, limit: int) -> list[Hit] | None:
        """Where only habits are known: what the version knows, it finds better than texts do."""
        if context.version.learned is None or not _habits_alone(context):
            return None
        return self.newcomers.near(context.version.learned, context.anchors, _of_each(limit))


@dataclass(frozen=True, slots=True)
class Around(_InMemory):
    """Neighbours, of one kind that the model version knows, of what is on the page or was viewed, carted or bought."""

    name: str
    kind: str

    def at_once(self, context: Context, limit: int) -> Found:
        if context.version.learned is None:
            return []
        limit = _around_habits(context, limit)
        return _around(context.version.learned, self.kind, context.anchors, limit, context.allowed)


@dataclass(frozen=True, slots=True)
class Learnt(_InMemory):
    """What the model version has learned to fit the shopper in one way, see :mod:`~.domain.personal`."""

    name: str

    def at_once(self, context: Context, limit: int) -> Found:
        person = context.person
        if person is None:
            return []
        return Located(*personal.hits(person, self.name, limit, context.allowed))


@dataclass(frozen=True, slots=True)
class Collaborative:
    """Products that the model expects the shopper to take: nearest to their vector, as new as their last click.

    A version that is too large for memory keeps the vectors of all its products in the store.
    """

    name: ClassVar[str] = "collaborative"
    asks_nobody: ClassVar[bool] = False
    retrieval: Retrieval

    def at_once(self, context: Context, limit: int) -> Found | None:
        person = context.person
        if person is None or person.vector is None:
            return []
        return Learnt(self.name).at_once(context, limit) if context.version.whole else None

    async def fetch(self, context: Context, limit: int) -> Found:
        person = context.person
        if person is None or person.vector is None:
            return []
        if context.version.whole:
            return Learnt(self.name).at_once(context, limit)
        return await self.retrieval.collaborative(context.version.id, person.vector, limit)


@dataclass(frozen=True, slots=True)
class BuyAgain(_InMemory):
    """What the user bought, the most habitual first. What is sold out falls out with the facts."""

    name: ClassVar[str] = "buy_again"

    def at_once(self, context: Context, limit: int) -> list[Hit]:
        return _in_order(context.signals.purchases[:limit])


@dataclass(frozen=True, slots=True)
class RecentlyViewed(_InMemory):
    """What the shopper looked at, the newest first."""

    name: ClassVar[str] = "recently_viewed"

    def at_once(self, context: Context, limit: int) -> list[Hit]:
        return _in_order(context.signals.recent_views[:limit])


@dataclass(frozen=True, slots=True)
class PopularInCategories:
    """The best sellers of the user's leading categories."""

    name: ClassVar[str] = "popular_in_categories"
    asks_nobody: ClassVar[bool] = False
    lists: KeptLists

    def at_once(self, context: Context, limit: int) -> list[Hit] | None:
        found = [self.lists.kept(f"popular_in:{name}", limit) for name in context.categories]
        known = [hits for hits in found if hits is not None]
        return _by_turns(known, limit) if len(known) == len(found) else None

    async def fetch(self, context: Context, limit: int) -> list[Hit]:
        found = await asyncio.gather(*(self.lists.popular_in(name, limit) for name in context.categories))
        return _by_turns(found, limit)


@dataclass(frozen=True, slots=True)
class Popular:
    """The best sellers of the shop."""

    name: ClassVar[str] = "popular"
    asks_nobody: ClassVar[bool] = False
    lists: KeptLists

    def at_once(self, context: Context, limit: int) -> list[Hit] | None:
        return self.lists.kept(self.name, limit)

    async def fetch(self, context: Context, limit: int) -> list[Hit]:
        return await self.lists.popular(limit)


@dataclass(frozen=True, slots=True)
class Trending:
    """What is wanted most since yesterday."""

    name: ClassVar[str] = "trending"
    asks_nobody: ClassVar[bool] = False
    lists: KeptLists

    def at_once(self, context: Context, limit: int) -> list[Hit] | None:
        return self.lists.kept(self.name, limit)

    async def fetch(self, context: Context, limit: int) -> list[Hit]:
        return await self.lists.trending(limit)


@dataclass(frozen=True, slots=True)
class NewArrivals:
    """The newest products, which no behaviour speaks for yet."""

    name: ClassVar[str] = "new_arrivals"
    asks_nobody: ClassVar[bool] = False
    lists: KeptLists

    def at_once(self, context: Context, limit: int) -> list[Hit] | None:
        return self.lists.kept(self.name, limit)

    async def fetch(self, context: Context, limit: int) -> list[Hit]:
        return await self.lists.new_arrivals(limit)


def all_sources(
    retrieval: Retrieval, texts: TextSearch, newcomers: NewTexts, lists: KeptLists
) -> Mapping[str, CandidateSource]:
    """Every source by name."""
    sources: tuple[CandidateSource, ...] = (
        Semantic(texts, newcomers),
        Around("co_chosen", "alike"),
        Around("bought_together", "basket"),
        Collaborative(retrieval),
        *(Learnt(name) for name in personal.SOURCES if name not in (Collaborative.name, BuyAgain.name)),
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


def _of_each(limit: int) -> int:
    """How many neighbours of each anchor are asked for."""
    return min(limit, max(_PER_ANCHOR, limit // 2))


def _by_turns(lists: Sequence[Sequence[Hit]], limit: int) -> list[Hit]:
    """The best of each category by turns: popularity does not compare across them."""
    hits = (hit for row in zip_longest(*lists) for hit in row if hit is not None)
    return [Hit(hit.id, float(-place), hit.anchor) for place, hit in enumerate(islice(hits, limit))]


def _around_habits(context: Context, limit: int) -> int:
    """``limit``, or less where only habits are known and the version in memory knows all of them, not five."""
    return min(limit, _OF_HABITS) if _habits_alone(context) else limit


def _habits_alone(context: Context) -> bool:
    return context.person is not None and all(anchor.origin == "purchase" for anchor in context.anchors)


def _around(
    learned: Learned, kind: str, anchors: Sequence[Anchor], limit: int, allowed: npt.NDArray[np.bool_] | None
) -> Found:
    """The best neighbours of the anchors among those ``allowed`` (None: all), each product once: its scores added up,
    its anchor who gives most."""
    places = learned.find([anchor.id for anchor in anchors])
    known = [(anchor, place) for anchor, place in zip(anchors, places.tolist(), strict=True) if place >= 0]
    if not known:
        return []
    table, asked = learned.neighbours[kind], np.array([place for _, place in known])
    strengths = np.array([anchor.weight for anchor, _ in known], dtype=np.float64)
    totals = Scores.spread(table, asked, strengths)
    others = (totals.places[:, None] != asked).all(axis=1)
    chosen, scores = best(totals.places[others], totals.values[others], limit, allowed)
    givers = kernels.givers(table.places, table.weights, asked, strengths, chosen).tolist()
    return Located(chosen, scores, [known[giver][0].id for giver in givers])


def _in_order(ids: Sequence[str]) -> list[Hit]:
    return [Hit(id_, float(-place)) for place, id_ in enumerate(ids)]


def _best(hits: list[Hit], limit: int) -> list[Hit]:
    return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:limit]
