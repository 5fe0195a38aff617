"""What a product may be, its top-level category, merging, and the text its embedding stands for."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.recommender.domain.change import Cursor
from services.recommender.domain.product import CHANGEABLE_FIELDS, Product, merge, problems, top_category
from services.recommender.domain.text import MAX_TEXT, embedding_text, text_digest

GOOD = Product(
    id="p1",
    title="Kettle",
    description="Boils water",
    categories=("Home > Kitchen > Kettles", "Gifts"),
    brand="Acme",
    price=19.9,
    currency_code="EUR",
    available_quantity=3,
    rating_average=4.5,
    rating_count=10,
    tags=("steel",),
    attributes={"colour": "red"},
    available_time=datetime(2026, 1, 1, tzinfo=UTC),
    expire_time=datetime(2027, 1, 1, tzinfo=UTC),
)


def test_a_good_product_has_no_problems() -> None:
    assert problems(GOOD) == []
    assert problems(Product(id="p2", title="x")) == []


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"title": ""}, "title", "REQUIRED"),
        ({"title": " \n"}, "title", "REQUIRED"),
        ({"title": "x" * 501}, "title", "TOO_LONG"),
        ({"title": "a\0b"}, "title", "INVALID_CHARACTER"),
        ({"description": "x" * 10_001}, "description", "TOO_LONG"),
        ({"brand": "\0"}, "brand", "INVALID_CHARACTER"),
        ({"categories": ("a",) * 21}, "categories", "TOO_MANY"),
        ({"categories": ("a", "x" * 501)}, "categories[1]", "TOO_LONG"),
        ({"categories": ("  > b",)}, "categories[0]", "INVALID_CATEGORY"),
        ({"categories": ("",)}, "categories[0]", "INVALID_CATEGORY"),
        ({"tags": ("t",) * 51}, "tags", "TOO_MANY"),
        ({"tags": ("\0",)}, "tags[0]", "INVALID_CHARACTER"),
        ({"attributes": {str(n): "v" for n in range(51)}}, "attributes", "TOO_MANY"),
        ({"attributes": {"": "v"}}, "attributes", "REQUIRED"),
        ({"attributes": {"k" * 65: "v"}}, "attributes", "TOO_LONG"),
        ({"attributes": {"k\0": "v"}}, "attributes", "INVALID_CHARACTER"),
        ({"attributes": {"k": "v" * 1001}}, "attributes.k", "TOO_LONG"),
        ({"attributes": {"k": "\0"}}, "attributes.k", "INVALID_CHARACTER"),
        ({"price": -0.01}, "price", "OUT_OF_RANGE"),
        ({"price": float("nan")}, "price", "OUT_OF_RANGE"),
        ({"price": float("inf")}, "price", "OUT_OF_RANGE"),
        ({"currency_code": "eur"}, "currencyCode", "INVALID_CURRENCY_CODE"),
        ({"currency_code": "EURO"}, "currencyCode", "INVALID_CURRENCY_CODE"),
        ({"currency_code": "ÄÖÜ"}, "currencyCode", "INVALID_CURRENCY_CODE"),
        ({"available_quantity": -1}, "availableQuantity", "OUT_OF_RANGE"),
        ({"low_stock_threshold": -1}, "lowStockThreshold", "OUT_OF_RANGE"),
        ({"rating_count": -1}, "ratingCount", "OUT_OF_RANGE"),
        ({"rating_average": 0.99}, "ratingAverage", "OUT_OF_RANGE"),
        ({"rating_average": 5.01}, "ratingAverage", "OUT_OF_RANGE"),
        ({"rating_average": float("nan")}, "ratingAverage", "OUT_OF_RANGE"),
        ({"rating_average": None, "rating_count": 1}, "ratingAverage", "REQUIRED"),
        ({"expire_time": GOOD.available_time}, "expireTime", "OUT_OF_RANGE"),
    ],
)
def test_a_bad_value_is_named(change: dict[str, object], field: str, reason: str) -> None:
    found = problems(replace(GOOD, **change))  # type: ignore[arg-type]  # each value has its field's type

    assert [(problem.field, problem.reason) for problem in found] == [(field, reason)]


def test_every_problem_is_reported_at_once() -> None:
    bad = replace(GOOD, title="", price=-1.0, tags=("x" * 501,))

    assert [problem.field for problem in problems(bad)] == ["title", "tags[0]", "price"]


def test_bounds_count_characters_and_not_bytes() -> None:
    assert problems(replace(GOOD, title="漢" * 500)) == []


@pytest.mark.parametrize(
    ("path", "top"),
    [("Home > Kitchen", "Home"), ("Home", "Home"), (" Home>x", "Home"), ("", ""), (">a", ""), ("A & B > c", "A & B")],
)
def test_top_category_is_the_first_part(path: str, top: str) -> None:
    assert top_category(path) == top


def test_the_first_path_counts() -> None:
    assert GOOD.top_category == "Home"
    assert Product(id="p", title="t").top_category == ""


def test_merge_takes_the_named_fields_only() -> None:
    sent = Product(id="p1", title="New", price=5.0)

    assert merge(GOOD, sent, {"title"}) == replace(GOOD, title="New")
    assert merge(GOOD, sent, set()) == GOOD


def test_merge_sets_what_is_left_out_to_its_default() -> None:
    cleared = merge(GOOD, Product(id="p1", title="t"), {"price", "tags", "expire_time", "low_stock_threshold"})

    assert (cleared.price, cleared.tags, cleared.expire_time, cleared.low_stock_threshold) == (None, (), None, 5)


def test_all_fields_but_identity_and_times_can_be_changed() -> None:
    assert set(Product.__slots__) - CHANGEABLE_FIELDS == {"id", "create_time", "update_time"}


def test_text_is_what_says_most_about_a_product() -> None:
    assert embedding_text(GOOD) == "Kettle. Acme. Home > Kitchen > Kettles. Gifts. Boils water"
    assert embedding_text(Product(id="p", title="Kettle")) == "Kettle"
    assert len(embedding_text(replace(GOOD, description="x" * 10_000))) == MAX_TEXT


def test_digest_changes_with_the_text_only() -> None:
    same = replace(
        GOOD, price=1.0, available_quantity=0, expire_time=GOOD.expire_time and timedelta(1) + GOOD.expire_time
    )

    assert text_digest(same) == text_digest(GOOD)
    assert text_digest(replace(GOOD, description="Boils tea")) != text_digest(GOOD)
    assert len(text_digest(GOOD)) == 16


EPOCH = "0" * 32


def test_a_cursor_survives_the_wire() -> None:
    assert Cursor.decode(Cursor(EPOCH, 42).encode()) == Cursor(EPOCH, 42)


@pytest.mark.parametrize(
    "text", ["", "x", f"{EPOCH}.", f"{EPOCH}.-1", f"{EPOCH}.1 ", f"{EPOCH}.{'9' * 19}", f"{EPOCH}.1\n"]
)
def test_other_texts_are_no_cursors(text: str) -> None:
    assert Cursor.decode(text) is None


@pytest.mark.parametrize(
    ("cursor", "continues"),
    [
        (Cursor(EPOCH, 0), True),
        (Cursor(EPOCH, 7), True),
        (Cursor(EPOCH, 8), False),  # the catalogue was set back
        (Cursor("1" * 32, 3), False),  # another catalogue
    ],
)
def test_a_cursor_continues_its_own_catalogue(cursor: Cursor, continues: bool) -> None:
    assert cursor.continues(EPOCH, head=7) is continues
