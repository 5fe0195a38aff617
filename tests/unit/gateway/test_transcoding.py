"""JSON to messages and back, held against protobuf's own JSON."""

import json
import math
from typing import Any

import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st
from windowshop.features.v1 import features_pb2 as features
from windowshop.recommender.v1 import catalog_pb2 as catalog
from windowshop.recommender.v1 import model_pb2 as model

from gateway.clients import RPCS, STREAMS
from gateway.transcoding.decoding import Decoder, parse_json
from gateway.transcoding.encoding import Encoder
from gateway.transcoding.instants import format_instant, format_millis, parse_instant
from services.runtime.errors import ServiceError

EVENT = Decoder(features.Event.DESCRIPTOR)
PRODUCT = Decoder(catalog.Product.DESCRIPTOR)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
instants = st.builds(format_instant, st.integers(-62_135_596_800, 253_402_300_799), st.integers(0, 999_999_999))
int32s = st.integers(-(2**31), 2**31 - 1)
# JSON has no number for an infinity.
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53), 2**53)


def decoded(decoder: Decoder, message: Any, value: Any) -> Any:
    decoder.decode(value, message)
    return message


def refusal(decoder: Decoder, message: Any, value: Any) -> tuple[str, str]:
    with pytest.raises(ServiceError) as caught:
        decoder.decode(value, message)
    return caught.value.reason, caught.value.violations[0].field


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "eventId": texts,
            "event_type": texts,
            "eventTime": instants,
            "productDetails": st.lists(
                st.fixed_dictionaries(
                    {}, optional={"productId": texts, "quantity": int32s, "price": numbers | st.none()}
                ),
                max_size=3,
            ),
            "revenue": numbers,
            "position": int32s | st.integers(-5, 5).map(str) | st.integers(-5, 5).map(float),
            "attributes": st.dictionaries(texts, texts, max_size=3),
            "device": texts | st.none(),
        },
    )
)
def test_what_is_valid_reads_as_protobuf_reads_it(value: dict[str, Any]) -> None:
    # Both print no number that the other could not read.
    expected = json_format.ParseDict(json.loads(json.dumps(value)), features.Event())
    assert decoded(EVENT, features.Event(), value) == expected


@given(
    st.builds(
        catalog.Product,
        id=texts,
        categories=st.lists(texts, max_size=2),
        price=st.floats() | st.none(),
        available_quantity=int32s | st.none(),
        attributes=st.dictionaries(texts, texts, max_size=2),
    )
    | st.builds(
        features.FeatureValue,
        int_value=st.integers(-(2**63), 2**63 - 1),
        status=st.sampled_from(features.FeatureStatus.values()),
        age_seconds=st.floats(),
    )
    | st.builds(model.Model, state=st.integers(0, 5), metrics=st.dictionaries(texts, st.floats(), max_size=3))
    | st.builds(
        features.FeatureColumn,
        statuses=st.lists(st.sampled_from(features.FeatureStatus.values())),
        computed_at_ms=st.lists(st.integers(-(2**63), 2**63 - 1)),
        vector_values=st.lists(st.builds(features.Vector, values=st.lists(st.floats(width=32, allow_nan=False)))),
    )
)
def test_messages_are_written_as_protobuf_writes_them(message: Any) -> None:
    expected = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    written = Encoder(message.DESCRIPTOR).encode(message)
    if message.DESCRIPTOR.name == "FeatureColumn":
        # protobuf shortens a float to the digits that tell it from its neighbours.
        for ours, theirs in zip(written["vectorValues"], expected["vectorValues"], strict=True):
            assert [to_float32(one) for one in ours["values"]] == [to_float32(one) for one in theirs["values"]]
        written.pop("vectorValues")
        expected.pop("vectorValues")
    assert written == expected
    assert list(written) == [field.json_name for field in message.DESCRIPTOR.fields if field.json_name in written]


def to_float32(value: Any) -> Any:
    return features.Vector(values=[float(value)]).values[0]


def test_every_rpc_has_messages_that_can_be_read_and_written() -> None:
    for rpc in RPCS.values():
        if rpc.name in STREAMS:  # no route: the gateway's own ways to ask
            continue
        if rpc.name != "FeatureService.BatchGetFeatures":  # in columns or rows, which have writers of their own
            Encoder(rpc.response)
        # Their masks come from the query.
        if rpc.name not in ("CatalogService.UpdateProduct", "ServingConfigService.UpdateServingConfig"):
            Decoder(rpc.request)


@pytest.mark.parametrize(
    ("value", "reason", "field"),
    [
        ([], "INVALID_VALUE", "(body)"),
        ("x", "INVALID_VALUE", "(body)"),
        ({"colour": 1}, "UNKNOWN_FIELD", "colour"),
        ({"productDetails": [{}, {"colour": 1}]}, "UNKNOWN_FIELD", "productDetails[1].colour"),
        ({"productDetails": [None]}, "INVALID_VALUE", "productDetails[0]"),
        ({"productDetails": {}}, "INVALID_VALUE", "productDetails"),
        ({"productDetails": [{"quantity": 1.5}]}, "INVALID_VALUE", "productDetails[0].quantity"),
        ({"productDetails": [{"quantity": 2**31}]}, "INVALID_VALUE", "productDetails[0].quantity"),
        ({"productDetails": [{"quantity": True}]}, "INVALID_VALUE", "productDetails[0].quantity"),
        ({"productDetails": [{"quantity": "1_0"}]}, "INVALID_VALUE", "productDetails[0].quantity"),
        ({"productDetails": [{"quantity": 1e300}]}, "INVALID_VALUE", "productDetails[0].quantity"),
        ({"revenue": "1e999"}, "INVALID_VALUE", "revenue"),
        ({"revenue": "nan"}, "INVALID_VALUE", "revenue"),
        ({"revenue": 10**400}, "INVALID_VALUE", "revenue"),
        ({"revenue": False}, "INVALID_VALUE", "revenue"),
        ({"eventId": 5}, "INVALID_VALUE", "eventId"),
        ({"eventTime": 5}, "INVALID_VALUE", "eventTime"),
        ({"eventTime": "yesterday"}, "INVALID_VALUE", "eventTime"),
        ({"eventTime": "2026-02-30T00:00:00Z"}, "INVALID_VALUE", "eventTime"),
        ({"attributes": {"a": 1}}, "INVALID_VALUE", "attributes.a"),
        ({"attributes": []}, "INVALID_VALUE", "attributes"),
        ({"eventId": "a", "event_id": "a"}, "INVALID_VALUE", "event_id"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(value: Any, reason: str, field: str) -> None:
    assert refusal(EVENT, features.Event(), value) == (reason, field)


def test_an_unknown_field_is_named_without_all_of_a_huge_name() -> None:
    assert refusal(EVENT, features.Event(), {"x" * 1_000_000: 1}) == ("UNKNOWN_FIELD", "x" * 64)


def test_null_is_left_out() -> None:
    product = decoded(PRODUCT, catalog.Product(), {"price": None, "title": None, "availableTime": None})
    assert product == catalog.Product()


def test_special_numbers_have_names() -> None:
    assert math.isnan(decoded(PRODUCT, catalog.Product(), {"price": "NaN"}).price)
    assert decoded(PRODUCT, catalog.Product(), {"price": "-Infinity"}).price == -math.inf


@pytest.mark.parametrize("value", ["FULL", 2])
def test_enums_are_read_by_name_and_by_number(value: object) -> None:
    decoder = Decoder(catalog.ImportProductsRequest.DESCRIPTOR)
    assert decoded(decoder, catalog.ImportProductsRequest(), {"mode": value}).mode == catalog.FULL


@pytest.mark.parametrize("value", ["full", 9, 2.0, True, []])
def test_an_unknown_enum_value_is_refused(value: object) -> None:
    decoder = Decoder(catalog.ImportProductsRequest.DESCRIPTOR)
    assert refusal(decoder, catalog.ImportProductsRequest(), {"mode": value}) == ("INVALID_VALUE", "mode")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"NaN",
        b'{"a":1} x',
        b"[" * 200_000,
        b'"\xff"',
        b'{"a":"\\ud800"}',
        b"1" * 5000,
        b"1e999",
        b"\xef\xbb\xbf{}",
    ],
)
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(ServiceError) as caught:
        parse_json(text)
    assert caught.value.reason == "MALFORMED_JSON"


@given(st.integers(-62_135_596_800, 253_402_300_799), st.integers(0, 999_999_999))
def test_instants_survive_the_way_there_and_back(seconds: int, nanos: int) -> None:
    assert parse_instant(format_instant(seconds, nanos)) == (seconds, nanos)


@pytest.mark.parametrize(
    ("text", "seconds", "nanos"),
    [
        ("1970-01-01T00:00:00Z", 0, 0),
        ("1970-01-01T01:00:00.5+01:00", 0, 500_000_000),
        ("1969-12-31T23:59:59.000000001Z", -1, 1),
        ("1970-01-01T00:00:00-00:30", 1800, 0),
    ],
)
def test_instants_are_read_with_zones_and_fractions(text: str, seconds: int, nanos: int) -> None:
    assert parse_instant(text) == (seconds, nanos)


@pytest.mark.parametrize(
    "text",
    [
        "", "1970-01-01", "1970-01-01T00:00:00", "1970-01-01 00:00:00Z", "1970-01-01T00:00:00z",
        "1970-01-01T00:00:60Z", "1970-01-01T00:00:00.Z", "1970-01-01T00:00:00.1234567890Z",
        "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "1970-01-01T00:00:00+24:00",
        "١٩٧٠-01-01T00:00:00Z", "0000-01-01T00:00:00Z",
    ],
)  # fmt: skip
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_instant(text)


def test_milliseconds_before_1970_are_instants_too() -> None:
    assert format_millis(-1) == "1969-12-31T23:59:59.999Z"
