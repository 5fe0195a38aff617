"""The catalogue in memory: as it is read, as changes come in meanwhile, and what it cannot say."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from services.recommender.domain.assortment import Assortment
from services.recommender.domain.change import ProductChange, Stored
from services.recommender.domain.product import Product
from services.recommender.domain.product_row import ProductRow
from services.recommender.domain.text import text_digest
from services.recommender.pipeline import mirror as mirror_module
from services.recommender.pipeline.mirror import Mirror
from tests.support.mirrored import Catalogue, mirrored, product, row
from tests.support.waiting import eventually


async def test_everything_is_read_and_what_is_not_there_does_not_exist() -> None:
    async with mirrored(Catalogue(*(row(id_) for id_ in "abcde"))) as mirror:
        await eventually(lambda: mirror.complete)
        assert not any(mirror.ask(id_) for id_ in ("a", "e", "unheard-of"))
        assert mirror.card("b") == ("b", "Title b", "Audio", "Ada", 9.5)
        assert mirror.card("unheard-of") is None


async def test_a_change_through_this_process_is_asked_of_the_store_until_it_was_read() -> None:
    catalogue = Catalogue(row("a"))
    async with mirrored(catalogue) as mirror:
        await eventually(lambda: mirror.complete)
        catalogue.rows_by_id |= {"a": row("a", title="Renamed"), "new": row("new")}
        mirror.changed(product("a"))
        mirror.changed(product("new"))
        assert mirror.ask("a")
        assert mirror.ask("new")
        assert not mirror.settled
        # Changed once more after the store had answered: that answer does not count.
        catalogue.meanwhile = lambda: mirror.changed(product("a"))
        await eventually(lambda: mirror.settled)
        assert not mirror.ask("new")
        card = mirror.card("a")
        assert card is not None
        assert card.title == "Renamed"


def priced(row: ProductRow, price: float, **other: Any) -> Product:
    """The product of a row, with another price; its text is the row's."""
    made = Product(row.id, row.title, "", ("Audio",), row.brand, price, available_quantity=7)
    return replace(made, **other)


async def test_another_price_is_known_at_once_and_not_read() -> None:
    a, b = (row(id_, text_digest(priced(row(id_), 9.5)), change_seq=1) for id_ in "ab")
    catalogue = Catalogue(a, b)
    async with mirrored(catalogue) as mirror:
        await eventually(lambda: mirror.complete)
        asked: list[bool] = []
        catalogue.meanwhile = lambda: asked.append(True)
        mirror.changed(priced(a, 3.0), Stored(5, 4))
        mirror.changed(priced(b, 9.5), Stored(0, 7))
        mirror.followed(ProductChange(5, "a", deleted=False, available_quantity=4))
        assert mirror.settled
        assert not mirror.unsure(["a", "b"])
        place = mirror.assortment.find(["a"])
        assert mirror.assortment.price[place].tolist() == [3.0]
        assert mirror.assortment.low_stock(place).tolist() == [True]
        assert mirror.card("a") == ("a", "Title a", "Audio", "Ada", 3.0)
        # An older one, told later, is not taken.
        mirror.changed(priced(a, 2.0), Stored(4, 7))
        assert mirror.card("a") == ("a", "Title a", "Audio", "Ada", 3.0)
        await asyncio.sleep(0.1)  # some steps
        assert not asked


async def test_what_is_being_read_when_its_price_changes_is_read_again() -> None:
    """It may be as it was before."""
    a = row("a", text_digest(priced(row("a"), 9.5)), change_seq=1)
    catalogue = Catalogue(a)
    async with mirrored(catalogue) as mirror:
        await eventually(lambda: mirror.complete)
        catalogue.rows_by_id["a"] = a._replace(change_seq=8)

        def change() -> None:
            catalogue.rows_by_id["a"] = a._replace(price=4.0, change_seq=9)
            mirror.changed(priced(a, 4.0), Stored(9, 7))

        catalogue.meanwhile = change
        mirror.followed(ProductChange(8, "a", deleted=False, available_quantity=7))
        await eventually(lambda: not mirror._due)
        assert mirror.assortment.version("a") == 9
        assert mirror.card("a") == ("a", "Title a", "Audio", "Ada", 4.0)


@pytest.mark.parametrize(
    ("other", "stored"),
    [
        ({"title": "Another"}, Stored(5, 7)),
        ({"brand": "Bob"}, Stored(5, 7)),
        ({"categories": ("Garden",)}, Stored(5, 7)),
        ({"low_stock_threshold": 9}, Stored(5, 7)),
        ({"expire_time": datetime(2100, 1, 1, tzinfo=UTC)}, Stored(5, 7)),
        ({}, Stored(5, 0)),
        ({}, Stored(0, 7)),
        ({}, None),
    ],
)
async def test_what_is_more_than_another_price_is_read(other: dict[str, Any], stored: Stored | None) -> None:
    """Nor was it like that already, where the price is another one than is known here."""
    catalogue = Catalogue(row("a", text_digest(priced(row("a"), 9.5)), change_seq=1))
    async with mirrored(catalogue) as mirror:
        await eventually(lambda: mirror.complete)
        catalogue.rows_by_id["a"] = row("a", b"another", price=1.0, change_seq=5)
        mirror.changed(priced(row("a"), 3.0, **other), stored)
        assert mirror.ask("a")
        await eventually(lambda: mirror.settled)
        assert mirror.card("a") == ("a", "Title a", "Audio", "Ada", 1.0)


async def test_an_answer_from_before_a_change_is_not_taken() -> None:
    catalogue = Catalogue(row("a", title="Old"))
    async with mirrored(catalogue) as mirror:

        def rename() -> None:
            catalogue.rows_by_id["a"] = row("a", title="New")
            mirror.followed(ProductChange(1, "a", deleted=False, available_quantity=7))

        catalogue.meanwhile = rename
        await eventually(lambda: mirror.complete and (card := mirror.card("a")) is not None and card.title == "New")


async def test_what_changed_without_a_word_is_found_and_nothing_else_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_module, "_PASS_SECONDS", 0.01)
    catalogue = Catalogue(*(row(id_, change_seq=number) for number, id_ in enumerate("abcde")))
    read: list[str] = []
    rows = catalogue.rows

    async def noted(ids: Sequence[str]) -> list[ProductRow]:
        read.extend(ids)
        return await rows(ids)

    catalogue.rows = noted  # type: ignore[method-assign]  # written down
    async with mirrored(catalogue) as mirror:
        await eventually(lambda: catalogue.compared > 10)
        assert not read
        catalogue.rows_by_id |= {"b": row("b", title="Set back", change_seq=0), "new": row("new", change_seq=9)}
        await eventually(lambda: sorted(read) == ["b", "new"] and mirror.card("new"))
        await eventually(lambda: (card := mirror.card("b")) is not None and card.title == "Set back")


async def test_what_is_deleted_while_it_is_read_stays_away() -> None:
    catalogue = Catalogue(row("a"), row("b"))
    async with mirrored(catalogue) as mirror:

        def delete() -> None:
            del catalogue.rows_by_id["a"]
            mirror.deleted("a")

        catalogue.meanwhile = delete
        await eventually(lambda: mirror.complete and not mirror.ask("a"))
        assert mirror.card("a") is None


async def test_stock_counts_at_once() -> None:
    catalogue = Catalogue(row("a"), row("later", available_time=1e12), row("gone", expire_time=1.0))
    async with mirrored(catalogue) as mirror:
        await eventually(lambda: mirror.complete)

        def in_stock() -> list[str]:
            return [id_ for id_ in ("a", "later", "gone") if mirror.assortment.is_available(id_, 1e9)]

        assert in_stock() == ["a"]
        catalogue.rows_by_id["a"] = row("a", available_quantity=0)
        mirror.counted("a", 0)
        assert in_stock() == []
        catalogue.rows_by_id["a"] = row("a", available_quantity=2)
        mirror.counted("a", 2)
        assert mirror.ask("a"), "until its row was read again"
        await eventually(lambda: in_stock() == ["a"] and mirror.settled)
        places = mirror.assortment.find(["a", "nobody"])
        assert mirror.assortment.available(places, 1e9).tolist() == [True, False]
        assert mirror.assortment.low_stock(places[:1]).tolist() == [True]


async def test_searches_hear_of_new_texts_and_of_what_is_back_and_of_nothing_else() -> None:
    catalogue = Catalogue(row("a"), row("sold-out", available_quantity=0))
    async with mirrored(catalogue) as mirror:
        await eventually(lambda: mirror.complete)
        heard: list[str] = []
        mirror.tell(lambda id_, vector: heard.append(id_))
        catalogue.rows_by_id["a"] = row("a", price=1.0)
        catalogue.rows_by_id["sold-out"] = row("sold-out")
        catalogue.rows_by_id["new"] = row("new", embedded=False)
        for change in ("a", "sold-out", "new"):
            mirror.followed(ProductChange(1, change, deleted=False, available_quantity=7))
        await eventually(lambda: "sold-out" in heard)
        catalogue.rows_by_id["new"] = row("new")
        await eventually(lambda: "new" in heard)
        catalogue.rows_by_id["a"] = row("a", b"another text")
        mirror.changed(product("a"))
        await eventually(lambda: mirror.settled)
        assert heard == ["sold-out", "new", "a"]


async def test_until_which_change_everything_was_told_is_said_when_it_is_one_change() -> None:
    catalogue = Catalogue(row("a"))
    async with mirrored(catalogue) as mirror:
        mirror.reached(4)
        assert mirror.told is None, "nothing was read yet"
        await eventually(lambda: mirror.told == 4)
        catalogue.rows_by_id["new"] = row("new", embedded=False, change_seq=6)
        mirror.changed(product("new"))
        await eventually(lambda: not mirror._due)
        assert mirror.told is None, "it is not embedded, so nobody was told of it"
        catalogue.rows_by_id["new"] = row("new", change_seq=6)
        await eventually(lambda: mirror.settled)
        assert mirror.told is None, "of 6 everybody was told, of 5 nobody knows"
        mirror.reached(6)
        assert mirror.told == 6


@pytest.mark.parametrize("hidden", [{"available_quantity": 0}, {"expire_time": 1.0}, {"available_time": 1e12}])
async def test_searches_hear_of_what_a_row_says_is_available_again(hidden: dict[str, Any]) -> None:
    """An import or an edit says it in the row alone: it may be read before the change log tells."""
    catalogue = Catalogue(row("a"), row("hidden", **hidden))
    async with mirrored(catalogue) as mirror:
        await eventually(lambda: mirror.complete)
        heard: list[str] = []
        mirror.tell(lambda id_, vector: heard.append(id_))
        catalogue.rows_by_id |= {"a": row("a", price=1.0), "hidden": row("hidden")}
        mirror.changed(product("a"))
        mirror.changed(product("hidden"))
        await eventually(lambda: mirror.settled)
        assert heard == ["hidden"]


async def test_what_was_deleted_before_it_was_embedded_is_not_read_for_ever() -> None:
    catalogue = Catalogue(row("a"))
    async with mirrored(catalogue) as mirror:
        await eventually(lambda: mirror.complete)
        catalogue.rows_by_id["gone"] = row("gone", embedded=False)
        mirror.changed(product("gone"))
        await eventually(lambda: mirror.card("gone"))
        del catalogue.rows_by_id["gone"]
        mirror.deleted("gone")
        await eventually(lambda: mirror.settled and not mirror.ask("gone"))
        asked: list[bool] = []
        catalogue.meanwhile = lambda: asked.append(True)
        await asyncio.sleep(0.3)  # some ticks
        assert not asked


async def test_a_new_product_is_asked_of_the_store_while_it_is_read() -> None:
    catalogue = Catalogue(row("a"))
    async with mirrored(catalogue) as mirror:
        await eventually(lambda: mirror.complete)
        asked: list[bool] = []
        catalogue.rows_by_id["new"] = row("new")
        catalogue.meanwhile = lambda: asked.append(mirror.ask("new") and mirror.unsure(["new"]) == ["new"])
        mirror.followed(ProductChange(1, "new", deleted=False, available_quantity=7))
        await eventually(lambda: mirror.card("new"))
        assert asked == [True]


async def test_what_has_its_time_later_is_heard_of_when_it_comes() -> None:
    now = [1_000.0]
    catalogue = Catalogue(row("a"), row("later", available_time=1_500.0))
    mirror = Mirror(catalogue, Assortment(9, 9), clock=lambda: now[0])
    heard: list[str] = []
    mirror.restarted()
    following = asyncio.create_task(mirror.follow())
    try:
        await eventually(lambda: mirror.complete)
        mirror.tell(lambda id_, vector: heard.append(id_))
        now[0] = 1_600.0
        await eventually(lambda: heard == ["later"])
    finally:
        following.cancel()
        await asyncio.wait({following})


def test_a_free_place_has_no_time() -> None:
    assortment = Assortment(9, 9)
    assortment.put([row(id_, available_time=5.0) for id_ in "abc"])
    assortment.drop("b")
    assert assortment.begun(4.0, 6.0) == ["a", "c"]
    assortment.put([row("d", available_time=5.0)])
    assert assortment.begun(4.0, 6.0) == ["a", "d", "c"]
    assert assortment.begun(5.0, 6.0) == []
    assert assortment.begun_last(4.0, 6.0, 3) == (["a", "d", "c"], 4.0)


async def test_a_text_that_is_not_embedded_yet_keeps_its_product_unsettled() -> None:
    """Or searches that remember their answers would miss it after it was acknowledged."""
    catalogue = Catalogue()
    async with mirrored(catalogue) as mirror:
        await eventually(lambda: mirror.complete)
        catalogue.rows_by_id["new"] = row("new", embedded=False)
        mirror.changed(product("new"))
        await eventually(lambda: mirror.card("new"))
        assert not mirror.settled
        catalogue.rows_by_id["new"] = row("new")
        await eventually(lambda: mirror.settled)


async def test_the_store_may_be_away_for_a_while() -> None:
    catalogue = Catalogue(row("a"))
    catalogue.down = True
    async with mirrored(catalogue) as mirror:
        mirror.changed(product("a"))
        assert mirror.ask("a")
        catalogue.down = False
        await eventually(lambda: mirror.complete and mirror.settled)
        assert not mirror.ask("a")


async def test_what_does_not_fit_is_asked_of_the_store() -> None:
    catalogue = Catalogue(*(row(id_) for id_ in "abc"))
    async with mirrored(catalogue, capacity=3, texts=2) as mirror:
        await eventually(lambda: not mirror.ask("c"))
        assert mirror.assortment.lacks_vector[mirror.assortment.find(["a", "b", "c"])].tolist() == [False, False, True]
        catalogue.rows_by_id["d"] = row("d")
        mirror.changed(product("d"))
        await eventually(lambda: mirror.settled)
        assert mirror.ask("d")
        mirror.deleted("a")
        del catalogue.rows_by_id["a"]
        mirror.changed(product("d"))
        await eventually(lambda: not mirror.ask("d"))


async def test_rows_without_room_are_not_read_in_each_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror_module, "_PASS_SECONDS", 0.01)
    catalogue = Catalogue(*(row(id_) for id_ in "abc"))
    read: list[str] = []
    rows = catalogue.rows

    async def noted(ids: Sequence[str]) -> list[ProductRow]:
        read.extend(ids)
        return await rows(ids)

    catalogue.rows = noted  # type: ignore[method-assign]  # written down
    async with mirrored(catalogue, capacity=2) as mirror:
        await eventually(lambda: catalogue.compared > 10)
        assert (read, mirror.complete) == ([], False)
        del catalogue.rows_by_id["a"]
        mirror.deleted("a")
        await eventually(lambda: mirror.complete and not mirror.ask("c"))


async def test_what_no_longer_fits_is_asked_of_the_store() -> None:
    catalogue = Catalogue(row("a"))
    async with mirrored(catalogue, capacity=2) as mirror:
        await eventually(lambda: mirror.complete)
        catalogue.rows_by_id |= {"b": row("b"), "c": row("c")}
        mirror.changed(product("b"))
        mirror.changed(product("c"))
        await eventually(lambda: mirror.settled)
        assert mirror.ask("b") or mirror.ask("c")
        # Until everything was read again with room for it.
        mirror.deleted("a")
        del catalogue.rows_by_id["a"]
        await eventually(lambda: not mirror._due)
        assert mirror.ask("c")


async def test_of_another_catalogue_everything_is_read_anew() -> None:
    catalogue = Catalogue(row("a"), row("b"), row("c"))
    async with mirrored(catalogue) as mirror:
        await eventually(lambda: mirror.complete)
        heard: list[str] = []
        mirror.tell(lambda id_, vector: heard.append(id_))
        catalogue.rows_by_id = {"b": row("b", title="Another"), "d": row("d")}
        # What is being read just then is of the old one.
        old, asked = [row("b", title="Old")], list[bool]()
        read = catalogue.rows

        async def rows(ids: Sequence[str]) -> list[ProductRow]:
            catalogue.rows = read  # type: ignore[method-assign]
            mirror.restarted()
            asked.extend(mirror.ask(id_) for id_ in "abcd")
            return old

        catalogue.rows = rows  # type: ignore[method-assign]
        mirror.followed(ProductChange(1, "b", deleted=False, available_quantity=7))
        await eventually(lambda: asked == [True] * 4 and mirror.complete)
        assert [mirror.card(id_) for id_ in "ac"] == [None, None]
        assert [card.title for id_ in "bd" if (card := mirror.card(id_)) is not None] == ["Another", "Title d"]
        assert not heard, "whoever remembers has to forget"
