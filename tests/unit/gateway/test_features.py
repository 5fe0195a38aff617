"""The documented shape of feature answers."""

from google.protobuf.timestamp_pb2 import Timestamp
from windowshop.features.v1 import features_pb2 as pb

from gateway.transcoding.features import feature_columns, feature_values

NOON = Timestamp(seconds=1_795_435_200)
TEXT = "2026-11-23T12:00:00Z"


def value(**kind: object) -> pb.FeatureValue:
    return pb.FeatureValue(status=pb.PRESENT, computed_at=NOON, age_seconds=0.5, refresh_seconds=60, **kind)  # type: ignore[arg-type]  # one of its kinds


def test_every_kind_of_value_is_plain_json() -> None:
    values = {
        "int": value(int_value=2**60),
        "double": value(double_value=0.0),
        "string": value(string_value=""),
        "bool": value(bool_value=False),
        "timestamp": value(timestamp_value=NOON),
        "vector": value(vector_value=pb.Vector(values=[0.5, 1])),
        "list": value(string_list_value=pb.StringList(values=["b", "a"])),
        "table": value(table_value=pb.Table(keys=["b", "a"], columns=["x", "y"], values=[1, 2.5, 3, -4])),
        "empty": value(table_value=pb.Table(columns=["x"])),
        "nothing": value(),
    }
    answer = feature_values(pb.GetFeaturesResponse(entity="User", id="u", features=values), pb.GetFeaturesRequest())
    assert answer["features"] == {
        "int": 2**60,
        "double": 0.0,
        "string": "",
        "bool": False,
        "timestamp": TEXT,
        "vector": [0.5, 1.0],
        "list": ["b", "a"],
        "table": {"b": {"x": 1.0, "y": 2.5}, "a": {"x": 3.0, "y": -4.0}},
        "empty": {},
        "nothing": None,
    }
    assert answer["metadata"]["int"] == {
        "status": "PRESENT",
        "computedAt": TEXT,
        "ageSeconds": 0.5,
        "refreshSeconds": 60,
    }


def test_features_come_in_the_order_asked_each_once() -> None:
    response = pb.GetFeaturesResponse(features={name: value(int_value=1) for name in "abc"})
    answer = feature_values(response, pb.GetFeaturesRequest(features=["c", "a", "c", "b"]))
    assert list(answer["features"]) == list(answer["metadata"]) == ["c", "a", "b"]
    assert list(feature_values(response, pb.GetFeaturesRequest())["features"]) == ["a", "b", "c"]


def test_what_was_never_computed_has_no_age() -> None:
    response = pb.GetFeaturesResponse(features={"a": pb.FeatureValue(status=pb.UNAVAILABLE, refresh_seconds=60)})
    answer = feature_values(response, pb.GetFeaturesRequest())
    assert answer["metadata"]["a"] == {
        "status": "UNAVAILABLE",
        "computedAt": None,
        "ageSeconds": None,
        "refreshSeconds": 60,
    }


def test_degraded_is_there_only_when_something_is() -> None:
    request = pb.GetFeaturesRequest()
    assert "degraded" not in feature_values(pb.GetFeaturesResponse(), request)
    assert feature_values(pb.GetFeaturesResponse(degraded=["event-log"]), request)["degraded"] == ["event-log"]


def test_columns_have_null_where_there_is_no_value() -> None:
    statuses = [pb.PRESENT, pb.STALE, pb.DEFAULT, pb.NULL, pb.NOT_FOUND, pb.UNAVAILABLE]
    column = pb.FeatureColumn(
        feature="count",
        type=pb.INT,
        statuses=statuses,
        computed_at_ms=[1000, 1000, 1000, 1000, 0, 0],
        refresh_seconds=60,
        int_values=[1, 2, 0, 0, 0, 0],
    )
    response = pb.BatchGetFeaturesResponse(entity="User", ids=list("abcdef"), columns=[column])
    answer = feature_columns(response, pb.BatchGetFeaturesRequest())
    assert answer == {
        "entity": "User",
        "ids": list("abcdef"),
        "columns": {
            "count": {
                "type": "INT",
                "values": [1, 2, 0, None, None, None],
                "statuses": ["PRESENT", "STALE", "DEFAULT", "NULL", "NOT_FOUND", "UNAVAILABLE"],
                "computedAt": ["1970-01-01T00:00:01Z"] * 4 + [None, None],
                "refreshSeconds": 60,
            }
        },
    }
