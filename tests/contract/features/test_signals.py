"""The copy of the catalogue's signals on a real server, without the service."""

from __future__ import annotations

import pytest

from services.features.app import Parts
from services.features.ports import StoreDownError
from services.features.signal_ports import Signal, SignalPage
from services.features.stores.signals import PostgresSignals


def signal(
    product_id: str,
    category: str | None = "Toys",
    price: float | None = 1.0,
    quantity: int = 1,
    brand: str | None = None,
) -> Signal:
    return Signal(product_id, False, category, price, quantity, 5, None, 0, brand)


def gone(product_id: str) -> Signal:
    return Signal(product_id, True, None, None, 0, 0, None, 0)


def page(*signals: Signal, cursor: str = "1", restart: bool = False, caught_up: bool = True) -> SignalPage:
    return SignalPage(signals, cursor, restart, caught_up)


@pytest.fixture
def signals(parts: Parts) -> PostgresSignals:
    return PostgresSignals(parts.database)


class TestSignalStore:
    async def test_tells_what_moved(self, signals: PostgresSignals) -> None:
        moved = await signals.apply(
            page(signal("a"), signal("b", "Books"), signal("c", "Free", None), signal("d", None))
        )
        assert (moved.categories, moved.products) == ({"Toys", "Books"}, {"a", "b", "c"})
        again = await signals.apply(page(signal("a"), signal("b", "Books", quantity=9), cursor="2"))
        assert again == (set(), set())
        change = await signals.apply(page(signal("a", price=2.0), signal("b", "Toys"), gone("c"), gone("never")))
        assert (change.categories, change.products) == ({"Toys", "Books"}, {"b", "c"})
        # no ranking names a product that is in none
        unpriced = await signals.apply(page(signal("a", price=None)))
        assert (unpriced.categories, unpriced.products) == ({"Toys"}, {"a"})
        assert await signals.cursor() == "1"

    async def test_a_change_of_brand_moves_no_price(self, parts: Parts, signals: PostgresSignals) -> None:
        await signals.apply(page(signal("a", brand="Acme"), signal("b", None, None, brand="Acme"), signal("c", None)))
        change = await signals.apply(page(signal("a", brand="Bolt"), signal("b", None, None), signal("c", None)))
        assert (change.categories, change.products) == (set(), {"a", "b"})
        rows = await parts.database.fetch("SELECT product_id, brand FROM product_signals")
        assert {row["product_id"]: row["brand"] for row in rows} == {"a": "Bolt", "b": None, "c": None}
        last = await signals.apply(page(gone("a")))
        assert (last.categories, last.products) == ({"Toys"}, {"a"})

    async def test_remembers_what_is_to_be_announced(self, signals: PostgresSignals) -> None:
        await signals.apply(page(signal("a"), signal("b")))
        await signals.announced(await signals.unannounced(0, 9))
        await signals.apply(page(signal("a"), signal("b", quantity=0), signal("c"), gone("never")))
        assert sorted(await signals.unannounced(0, 9)) == ["b", "c"]
        before = await signals.unannounced(0, 9)
        await signals.announced({"b": before["b"]})
        await signals.apply(page(gone("a")))
        assert sorted(await signals.unannounced(0, 9)) == ["a", "c"]

    async def test_a_change_during_an_announcement_stays_to_be_announced(self, signals: PostgresSignals) -> None:
        await signals.apply(page(signal("a", quantity=5), signal("b")))
        read = await signals.unannounced(0, 9)
        await signals.apply(page(signal("a", quantity=0)))
        await signals.announced(read)
        assert list(await signals.unannounced(0, 9)) == ["a"]
        # And one that was announced twice at once, and changed in between.
        await signals.announced(await signals.unannounced(0, 9))
        await signals.apply(page(signal("a", quantity=5)))
        await signals.announced(read)
        assert list(await signals.unannounced(0, 9)) == ["a"]

    async def test_a_restart_forgets_what_it_does_not_name_again(self, signals: PostgresSignals) -> None:
        await signals.apply(page(signal("a"), signal("b"), signal("c", "Books")))
        await signals.announced(await signals.unannounced(0, 9))
        first = await signals.apply(page(signal("a"), restart=True, caught_up=False))
        assert first == (set(), set())
        last = await signals.apply(page(signal("b")))
        assert (last.categories, last.products) == ({"Books"}, {"c"})
        assert list(await signals.unannounced(0, 9)) == ["c"]

    async def test_only_the_first_word_after_a_restart_looks_for_what_is_gone(
        self, parts: Parts, signals: PostgresSignals
    ) -> None:
        """Looking at every product with each heartbeat held up a large shop every few seconds."""
        await signals.apply(page(signal("a"), restart=True))
        await parts.database.fetch("UPDATE product_signals SET generation = -1")
        heartbeat = page(cursor="2")
        assert await signals.apply(heartbeat) == (set(), set())
        assert len(await parts.database.fetch("SELECT 1 FROM product_signals")) == 1
        # Whoever follows after one who was killed does look.
        assert (await PostgresSignals(parts.database).apply(heartbeat)).products == {"a"}
        await signals.apply(page(signal("a"), signal("b")))
        assert (await signals.apply(page(signal("b"), restart=True))).products == {"a"}

    async def test_the_last_of_several_signals_counts(self, parts: Parts, signals: PostgresSignals) -> None:
        await signals.apply(page(signal("a", quantity=1), signal("a", quantity=2)))
        assert (await parts.database.fetch("SELECT available_quantity FROM product_signals"))[0][0] == 2

    async def test_ranks_change_only_where_they_are_wrong(self, parts: Parts, signals: PostgresSignals) -> None:
        await signals.apply(page(*(signal(f"p{n}", price=float(n)) for n in (1, 2, 2, 3)), signal("free", price=None)))
        await signals.apply(page(signal("q2", price=2.0)))
        assert sorted(await signals.rank_prices(["Toys"])) == ["p1", "p2", "p3", "q2"]
        rows = await parts.database.fetch("SELECT product_id, price_rank, priced_products FROM product_signals")
        ranks = {r["product_id"]: (r["price_rank"], r["priced_products"]) for r in rows}
        assert ranks == {"p1": (1, 4), "p2": (4, 4), "q2": (4, 4), "p3": (7, 4), "free": (None, None)}
        assert await signals.rank_prices(["Toys"]) == []
        await signals.apply(page(signal("p1", price=2.5)))
        assert sorted(await signals.rank_prices(["Toys"])) == ["p1", "p2", "q2"]

    async def test_moves_are_noted_until_their_users_are_marked(self, signals: PostgresSignals) -> None:
        await signals.apply(page(signal("a"), signal("b", price=2.0)))
        noted = await signals.moved(9)
        assert sorted(noted) == ["a", "b"]
        await signals.marked(noted)
        assert await signals.moved(9) == {}
        # With the ranking itself: who ranks may die before anybody is marked.
        assert sorted(await signals.rank_prices(["Toys"])) == sorted(await signals.moved(9)) == ["a", "b"]
        before = await signals.moved(9)
        await signals.apply(page(gone("a")))
        await signals.marked(before)
        assert list(await signals.moved(9)) == ["a"]

    async def test_announcements_come_in_the_order_of_changes(self, signals: PostgresSignals) -> None:
        await signals.apply(page(signal("a"), signal("b")))
        first = await signals.unannounced(0, 9)
        await signals.apply(page(signal("c"), signal("a", quantity=7)))
        after = await signals.unannounced(max(first.values()), 9)
        assert sorted(after) == ["a", "c"]
        assert list(after.values()) == sorted(after.values())
        assert sorted(await signals.unannounced(0, 9)) == ["a", "b", "c"]

    async def test_one_follower_at_a_time(self, parts: Parts, signals: PostgresSignals) -> None:
        other = PostgresSignals(parts.database)
        async with signals.sole() as mine, other.sole() as also_mine:
            assert (mine, also_mine) == (True, False)
        async with other.sole() as mine_now:
            assert mine_now


async def test_a_follower_that_is_killed_leaves_no_lock(parts: Parts, signals: PostgresSignals) -> None:
    with pytest.raises(StoreDownError):
        async with signals.sole():
            await parts.database.fetch(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
            )
    async with signals.sole() as mine:
        assert mine
