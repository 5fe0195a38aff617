"""Products between messages and the domain, update masks, page tokens."""

import math
from datetime import UTC, datetime

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import example, given
from hypothesis import strategies as st
from windowshop.recommender.v1 import catalog_pb2 as pb

from services.recommender.domain.product import CHANGEABLE_FIELDS
from services.recommender.servicer.messages import refuse, write_time
from services.recommender.servicer.paging import decode_token, encode_token, page_size
from services.recommender.servicer.products import fields_to_change, read_product, write_product
from services.runtime.errors import ServiceError

FULL = pb.Product(
    id="p:1",
    title="T",
    description="D",
    categories=["A > B"],
    brand="B",
    price=1.5,
    currency_code="USD",
    available_quantity=3,
    low_stock_threshold=0,
    rating_average=4.0,
    rating_count=2,
    tags=["t"],
    attributes={"a": "b"},
    available_time=Timestamp(seconds=1_000_000, nanos=123_000),
    expire_time=Timestamp(seconds=2_000_000),
)


def test_a_product_survives_both_ways() -> None:
    product, problems = read_product(FULL)

    assert problems == []
    assert write_product(product) == FULL


def test_what_is_left_out_gets_the_documented_defaults() -> None:
    product, problems = read_product(pb.Product(id="p", title="t"))

    assert problems == []
    assert (product.available_quantity, product.low_stock_threshold, product.price) == (0, 5, None)
    assert (product.rating_average, product.rating_count, product.available_time) == (None, 0, None)


def test_zero_is_not_left_out() -> None:
    product, _ = read_product(pb.Product(id="p", title="t", price=0, low_stock_threshold=0))

    assert (product.price, product.low_stock_threshold) == (0.0, 0)


@pytest.mark.parametrize("product_id", ["", "a b", "ä", "x" * 129, "a/b", "a\n"])
def test_an_id_outside_of_the_alphabet_is_a_problem(product_id: str) -> None:
    _, problems = read_product(pb.Product(id=product_id, title="t"))

    assert [(problem.field, problem.reason) for problem in problems] == [("id", "INVALID_ID")]


@pytest.mark.parametrize("seconds", [-(2**62), 2**62, 253_402_300_800])
def test_an_impossible_time_is_a_problem(seconds: int) -> None:
    _, problems = read_product(pb.Product(id="p", title="t", expire_time=Timestamp(seconds=seconds)))

    assert [(problem.field, problem.reason) for problem in problems] == [("expireTime", "INVALID_TIMESTAMP")]


def test_times_carry_their_zone() -> None:
    product, _ = read_product(FULL)

    assert product.available_time == datetime(1970, 1, 12, 13, 46, 40, 123, tzinfo=UTC)


def test_refuse_reports_all_under_the_first_reason() -> None:
    _, problems = read_product(pb.Product(id="", price=-1))

    with pytest.raises(ServiceError) as caught:
        refuse(problems)
    assert caught.value.reason == "INVALID_ID"
    assert [violation.field for violation in caught.value.violations] == ["id", "title", "price"]


def mask(*paths: str) -> FieldMask:
    return FieldMask(paths=paths)


def test_without_a_mask_the_set_fields_change() -> None:
    sent = pb.Product(id="p", title="t", available_quantity=0, create_time=Timestamp(seconds=1))

    assert fields_to_change(sent, mask()) == {"title", "available_quantity"}


def test_a_mask_names_the_fields() -> None:
    assert fields_to_change(pb.Product(title="t"), mask("price", "price", "id", "update_time")) == {"price"}
    assert fields_to_change(pb.Product(), mask("*")) == CHANGEABLE_FIELDS


@pytest.mark.parametrize("path", ["colour", "attributes.colour", "currencyCode", "", "x" * 10_000])
def test_an_unknown_path_is_refused(path: str) -> None:
    with pytest.raises(ServiceError) as caught:
        fields_to_change(pb.Product(), mask("title", path))
    assert caught.value.reason == "INVALID_UPDATE_MASK"
    assert len(caught.value.message) < 200


def test_page_sizes() -> None:
    assert [page_size(n, 50, 1000) for n in (0, 1, 1000)] == [50, 1, 1000]
    for wrong in (-1, 1001):
        with pytest.raises(ServiceError):
            page_size(wrong, 50, 1000)


@given(st.text("abcXYZ019_.:@-", min_size=1, max_size=128))
def test_a_token_gives_its_entry_back(last: str) -> None:
    assert decode_token("products", encode_token("products", last)) == last


def test_no_token_is_the_first_page() -> None:
    assert decode_token("products", "") == ""


@given(st.text(max_size=60) | st.binary(max_size=60).map(lambda raw: raw.hex()))
@example("A" * 8)
@example("é")
def test_a_made_up_token_is_refused(token: str) -> None:
    if token:
        with pytest.raises(ServiceError) as caught:
            decode_token("products", token)
        assert caught.value.reason == "INVALID_PAGE_TOKEN"


@given(st.data())
def test_a_changed_token_is_refused(data: st.DataObject) -> None:
    token = encode_token("products", "prod_100")
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda c: c != token[place]))

    with pytest.raises(ServiceError):
        decode_token("products", token[:place] + other + token[place + 1 :])


def test_a_token_of_another_list_is_refused() -> None:
    with pytest.raises(ServiceError):
        decode_token("products", encode_token("models", "m1"))


@given(
    st.builds(
        pb.Product,
        id=st.text(max_size=5),
        title=st.text(max_size=5),
        categories=st.lists(st.text(max_size=5), max_size=3),
        price=st.floats(),
        rating_average=st.floats(),
        available_quantity=st.integers(-(2**31), 2**31 - 1),
        attributes=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3),
        expire_time=st.builds(
            Timestamp, seconds=st.integers(-(2**63), 2**63 - 1), nanos=st.integers(-(2**31), 2**31 - 1)
        ),
    )
)
def test_no_message_breaks_the_reader(message: pb.Product) -> None:
    product, problems = read_product(message)

    if not problems:
        assert product.price is None or math.isfinite(product.price)
        again, _ = read_product(write_product(product))
        assert again == product


@given(st.datetimes(timezones=st.timezones()))
@example(datetime(1, 1, 1, tzinfo=UTC))
@example(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
@example(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC))
def test_an_instant_is_written_as_the_library_writes_it(instant: datetime) -> None:
    written = Timestamp()
    try:
        written.FromDatetime(instant)
    except ValueError:
        return  # beyond the years of a message, which no stored product has
    assert write_time(instant) == written
