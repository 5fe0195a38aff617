"""The parts of the pipeline around stand-ins for the outside world."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import ClassVar

import pytest

from services.recommender.domain.assortment import Assortment
from services.recommender.domain.candidates import Hit
from services.recommender.domain.product import Product
from services.recommender.domain.serving import ServingConfig, SourceSpec
from services.recommender.domain.shoppers import Shopper
from services.recommender.domain.signals import Card, UserSignals
from services.recommender.domain.version import Version
from services.recommender.pipeline.announcing import AnnouncingCatalog
from services.recommender.pipeline.cards import Cards
from services.recommender.pipeline.context import Context, Degraded
from services.recommender.pipeline.deadline import Breaker
from services.recommender.pipeline.gathering import gather
from services.recommender.pipeline.mirror import Mirror
from services.recommender.pipeline.shared_lists import SharedLists
from services.recommender.pipeline.shopper import Shoppers
from services.recommender.pipeline.showcase import Showcase
from services.recommender.pipeline.sources import all_sources
from services.recommender.ranking_ports import UserReading
from services.runtime.errors import unavailable
from tests.support.candidates import hits as hits_of

NOW = datetime(2026, 11, 23, tzinfo=UTC)


class Time:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def breaker(clock: Time | None = None) -> Breaker:
    return Breaker("test", clock=clock or Time())


def nobody(shopper: Shopper) -> bool:
    return False


async def never() -> str:
    await asyncio.Event().wait()
    return "unreachable"


async def failing() -> str:
    raise unavailable("DOWN", "it is down")


async def fine() -> str:
    return "fine"


@dataclass(frozen=True)
class Source:
    """Answers, hangs or fails."""

    name: ClassVar[str] = "source"
    asks_nobody: ClassVar[bool] = False
    hits: Sequence[Hit] = ()
    mood: str = "fine"

    def at_once(self, context: Context, limit: int) -> list[Hit] | None:
        if self.mood == "broken memory":
            raise KeyError("a bug")
        return list(self.hits) if self.mood == "in memory" else None

    async def fetch(self, context: Context, limit: int) -> list[Hit]:
        if self.mood == "hang":
            await never()
        if self.mood == "broken":
            raise KeyError("a bug")
        return list(self.hits)


CONTEXT = Context("u", UserSignals(), (), {}, (), {}, Version())


async def test_sources_that_fail_or_hang_are_left_out_visibly() -> None:
    config = ServingConfig("test", tuple(SourceSpec(name, 10, 0.02, 1.0) for name in ("good", "hung", "broken")))
    degraded = Degraded()
    sources = {"good": Source([Hit("x", 1)]), "hung": Source(mood="hang"), "broken": Source(mood="broken")}
    found = await gather(config, sources, CONTEXT, 10, degraded)
    assert found == {"good": [Hit("x", 1)]}
    assert degraded.names() == ("candidates:broken", "candidates:hung")


async def test_who_answers_from_memory_is_not_asked_and_may_fail_as_well() -> None:
    config = ServingConfig("test", tuple(SourceSpec(name, 10, 0.02, 1.0) for name in ("known", "broken", "asked")))
    degraded = Degraded()
    sources = {
        "known": Source([Hit("x", 1)], "in memory"),
        "broken": Source(mood="broken memory"),
        "asked": Source([Hit("y", 1)]),
    }
    found = await gather(config, sources, CONTEXT, 10, degraded)
    assert found == {"known": [Hit("x", 1)], "asked": [Hit("y", 1)]}
    assert degraded.names() == ("candidates:broken",)


def test_a_list_in_memory_needs_nobody_as_long_as_it_is_fresh() -> None:
    store, clock = Store(popular_hits=[Hit(f"p{n}", -n) for n in range(300)]), Time()
    lists = SharedLists(store, clock=clock)
    assert lists.kept("popular", 10) is None
    asyncio.run(lists.popular(10))
    assert lists.kept("popular", 10) == store.popular_hits[:10]
    assert lists.kept("popular", 200) is None
    clock.now += 2.1
    assert lists.kept("popular", 10) is None


async def test_a_list_that_pages_ask_for_is_read_again_before_it_is_too_old() -> None:
    store, clock = Store(popular_hits=[Hit("before", 1.0)]), Time()
    lists = SharedLists(store, clock=clock)
    await lists.popular(10)
    store.popular_hits = [Hit("now", 1.0)]
    clock.now += 1.0
    await lists.refresh()
    assert lists.kept("popular", 10) == [Hit("before", 1.0)], "young enough"
    clock.now += 0.5
    await lists.refresh()
    assert lists.kept("popular", 10) == [Hit("now", 1.0)]
    clock.now += 1.8
    assert lists.kept("popular", 10) == [Hit("now", 1.0)]
    clock.now += 11.0
    await lists.refresh()
    assert len(store.calls) == 2, "nobody asks any more"


async def test_a_list_is_not_read_again_while_nothing_changes() -> None:
    store, clock, signs = Store(popular_hits=[Hit("a", 1.0)]), Time(), [1]
    lists = SharedLists(store, lambda: signs[0], clock)
    await lists.popular(10)
    for _ in range(8):
        clock.now += 1.5
        await lists.refresh()
        assert lists.kept("popular", 10) == store.popular_hits
    assert len(store.calls) == 1
    signs[0] = 2
    clock.now += 1.5
    await lists.refresh()
    assert len(store.calls) == 2
    for _ in range(11):
        clock.now += 1.5
        await lists.refresh()
        assert lists.kept("popular", 10)
    assert len(store.calls) == 3, "now and then all the same"


async def test_found_candidates_stand_in_the_order_of_the_config() -> None:
    config = ServingConfig("test", tuple(SourceSpec(name, 10, 1.0, 1.0) for name in "abc"))
    found = await gather(config, {name: Source() for name in "cba"}, CONTEXT, 10, Degraded())
    assert list(found) == ["a", "b", "c"]


@dataclass
class Store:
    """Stands in for the searches and the catalogue."""

    products: dict[str, Product] = field(default_factory=dict)
    calls: list[object] = field(default_factory=list)
    down: bool = False
    popular_hits: list[Hit] = field(default_factory=list)

    async def cards(self, ids: Sequence[str]) -> list[Card]:
        self._ask(tuple(ids))
        return [Card(id_, f"Title {id_}", "Audio", "", None) for id_ in ids if id_ in self.products]

    async def popular(self, limit: int) -> list[Hit]:
        self._ask(limit)
        await asyncio.sleep(0)
        return self.popular_hits[:limit]

    async def popular_in(self, category: str, limit: int) -> list[Hit]:
        self._ask((category, limit))
        return [Hit(f"{category}-{n}", 10.0 - n) for n in range(3)]

    async def trending(self, limit: int) -> list[Hit]:
        return []

    async def new_arrivals(self, limit: int) -> list[Hit]:
        return []

    async def showcase_ids(self, overall: int, per_category: int) -> list[str]:
        self._ask("showcase")
        return list(self.products)

    async def price_bands(self) -> dict[str, Sequence[float]]:
        return {"Audio": [1.0, 2.0]}

    async def available(self, ids: Sequence[str], now: datetime) -> list[Product]:
        self._ask("available")
        return [self.products[id_] for id_ in ids if self.products[id_].available_quantity > 0]

    async def delete(self, product_id: str) -> bool:
        return True

    def _ask(self, what: object) -> None:
        self.calls.append(what)
        if self.down:
            raise unavailable("DATABASE_UNAVAILABLE", "it is down")


async def test_cards_are_asked_for_where_memory_is_unsure_and_known_when_the_store_is_down() -> None:
    store = Store({"a": Product("a", "A"), "b": Product("b", "B")})

    class Memory:
        """Knows two cards, of which one is older than what was acknowledged."""

        def unsure(self, ids: Sequence[str]) -> list[str]:
            return [id_ for id_ in ids if id_ != "a"]

        def card(self, product_id: str) -> Card | None:
            return Card(product_id, "in memory", "", "", None) if product_id in ("a", "b") else None

    cards = Cards(store, Memory(), 1.0)  # type: ignore[arg-type]  # the methods that matter
    assert set(cards.at_once(["a"]) or ()) == {"a"}
    assert cards.at_once(["a", "b"]) is None
    found = await cards.of(["a", "b", "unknown"])
    assert {id_: card.title for id_, card in found.items()} == {"a": "in memory", "b": "Title b"}
    assert store.calls == [("b", "unknown")]
    store.down = True
    assert set(await cards.of(["a"])) == {"a"}
    with pytest.raises(Exception, match="down"):
        await cards.of(["a", "b"])
    assert set(cards.known(["a", "b", "c"])) == {"a", "b"}


async def test_a_shared_list_is_read_once_for_all_and_again_when_it_is_old_or_too_short() -> None:
    store, clock = Store(popular_hits=[Hit(f"p{n}", -n) for n in range(300)]), Time()
    lists = SharedLists(store, clock=clock)
    pages = await asyncio.gather(*(lists.popular(10) for _ in range(5)))
    assert all(page == store.popular_hits[:10] for page in pages)
    assert len(store.calls) == 1
    assert len(await lists.popular(200)) == 200
    clock.now += 2.1
    await lists.popular(10)
    assert len(store.calls) == 3


async def test_an_empty_list_is_not_believed_for_long() -> None:
    store, clock = Store(), Time()
    lists = SharedLists(store, clock=clock)
    assert await lists.popular(10) == []
    store.popular_hits = [Hit("first", 1.0)]
    clock.now += 0.3
    assert await lists.popular(10) == [Hit("first", 1.0)]


async def test_categories_take_turns() -> None:
    store = Store()
    source = all_sources(store, store, store, store)["popular_in_categories"]  # type: ignore[arg-type]  # the methods that matter
    context = Context("u", UserSignals(), (), {}, ("A", "B"), {}, Version())
    assert [hit.id for hit in hits_of(await source.fetch(context, 5))] == ["A-0", "B-0", "A-1", "B-1", "A-2"]


@pytest.mark.parametrize("name", ["semantic", "co_chosen", "collaborative", "buy_again", "popular_in_categories"])
async def test_personal_sources_find_nothing_for_a_stranger_and_ask_nobody(name: str) -> None:
    store = Store()
    source = all_sources(store, store, store, store)[name]  # type: ignore[arg-type]  # the methods that matter
    assert await source.fetch(Context("", UserSignals(), (), {}, (), {}, Version("m")), 10) == []
    assert store.calls == []


class Features:
    """A feature service with one user, which can go down."""

    def __init__(self) -> None:
        self.reading = UserReading(UserSignals("Audio", recent_views=("v",)))
        self.of_guests = UserSignals("Garden")
        self.down = False

    async def user(self, user_id: str, timeout: float) -> UserReading:
        return await (failing() if self.down else self._answer())  # type: ignore[return-value]  # failing never returns

    async def guest(self, visitor_id: str, timeout: float) -> UserReading:
        return UserReading(self.of_guests) if not self.down else await self.user("", timeout)

    async def _answer(self) -> UserReading:
        return self.reading


async def test_the_last_known_signals_stand_in_for_the_feature_service() -> None:
    features = Features()
    shoppers = Shoppers(features, breaker(), 1.0, nobody)  # type: ignore[arg-type]  # the method that matters
    degraded = Degraded()
    known = await shoppers.signals("u", "v", degraded)
    assert known.recent_views == ("v",)
    assert not degraded.names()
    features.down = True
    assert await shoppers.signals("u", "v", degraded) == known
    assert degraded.names() == ("features",)
    assert await shoppers.signals("other", "", degraded) == UserSignals()


async def test_signals_of_a_degraded_feature_service_are_used_and_marked() -> None:
    features = Features()
    features.reading = UserReading(UserSignals("Audio"), complete=False)
    degraded = Degraded()
    shoppers = Shoppers(features, breaker(), 1.0, nobody)  # type: ignore[arg-type]  # the method that matters
    assert (await shoppers.signals("u", "v", degraded)).browsing_category == "Audio"
    assert degraded.names() == ("features",)


async def test_a_guest_and_a_user_of_one_id_are_two() -> None:
    features = Features()
    shoppers = Shoppers(features, breaker(), 1.0, nobody)  # type: ignore[arg-type]  # the methods that matter
    for _ in range(2):
        assert (await shoppers.signals("same", "", Degraded())).browsing_category == "Audio"
        assert (await shoppers.signals("", "same", Degraded())).browsing_category == "Garden"
        features.down = True


async def test_a_guest_who_signed_in_is_remembered_as_a_stranger() -> None:
    """Somebody else may sit at the device next: what the guest did is the user's."""
    features = Features()
    shoppers = Shoppers(features, breaker(), 1.0, nobody)  # type: ignore[arg-type]  # the methods that matter
    assert (await shoppers.signals("", "v", Degraded())).browsing_category == "Garden"
    features.of_guests = UserSignals()
    for _ in range(2):
        assert await shoppers.signals("", "v", Degraded()) == UserSignals()
        features.down = True


async def test_nobody_is_nobody_to_ask_about() -> None:
    degraded = Degraded()
    features = Features()
    features.down = True
    shoppers = Shoppers(features, breaker(), 1.0, nobody)  # type: ignore[arg-type]  # the method that matters
    assert await shoppers.signals("", "", degraded) == UserSignals()
    assert not degraded.names()


def stocked(*ids: str, category: str = "Audio") -> dict[str, Product]:
    return {id_: Product(id_, id_, categories=(category,), available_quantity=5) for id_ in ids}


def mirror_of(store: Store) -> Mirror:
    return Mirror(store, Assortment(9, 9))  # type: ignore[arg-type]  # the methods that matter


async def showcase_of(store: Store) -> Showcase:
    showcase = Showcase(store, store, mirror_of(store), lambda: NOW)  # type: ignore[arg-type]  # the methods that matter
    await showcase.refresh()
    return showcase


async def test_the_showcase_shows_the_users_categories_first_but_not_only() -> None:
    store = Store(stocked("g1", "g2", "g3", category="Garden") | stocked("a1", "a2", "a3"))
    showcase = await showcase_of(store)
    chosen = [product.id for product in showcase.choose(("Audio",), {"g1"}, 4)]
    assert chosen == ["a1", "a2", "g2", "g3"]


async def test_what_is_sold_out_leaves_the_showcase_at_once() -> None:
    store = Store(stocked("a", "b"))
    showcase = await showcase_of(store)
    catalog = AnnouncingCatalog(store, showcase)  # type: ignore[arg-type]  # the methods that matter
    showcase.counted("a", 0)
    await catalog.delete("b")
    assert showcase.choose((), (), 10) == []
    assert showcase.among(["a"]) == []


async def test_what_is_sold_out_while_the_showcase_is_read_stays_out() -> None:
    store = Store(stocked("a", "b"))
    showcase = await showcase_of(store)
    original = store.available

    async def sold_meanwhile(ids: Sequence[str], now: datetime) -> list[Product]:
        found = await original(ids, now)
        showcase.counted("a", 0)
        return found

    store.available = sold_meanwhile  # type: ignore[method-assign]  # a sale in the middle of the read
    await showcase.refresh()
    assert [product.id for product in showcase.choose((), (), 10)] == ["b"]


async def test_a_showcase_survives_the_store() -> None:
    store = Store(stocked("a"))
    showcase = await showcase_of(store)
    store.down = True
    with pytest.raises(Exception, match="down"):
        await showcase.refresh()
    assert [product.id for product in showcase.choose((), (), 10)] == ["a"]
