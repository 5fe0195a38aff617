"""What a batch says of an entity is, byte for byte, what the entity's own answer would say."""

from __future__ import annotations

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from windowshop.features.v1 import features_pb2 as pb

from gateway.transcoding.features import COLUMNS, SERVED, feature_values
from gateway.transcoding.singles import singles
from tests.unit.gateway.test_rows import batches

NAMES = ["f0", "100%", '%b"', "%%d", "a"]


def alone(batch: pb.BatchGetFeaturesResponse, place: int, now_ms: int) -> pb.GetFeaturesResponse:
    """The service's answer to a read of one entity of the batch."""
    answer = pb.GetFeaturesResponse(entity=batch.entity, id=batch.ids[place])
    for column in batch.columns:
        value = answer.features[column.feature]
        value.status, value.refresh_seconds = column.statuses[place], column.refresh_seconds
        millis = column.computed_at_ms[place]
        if millis:
            value.computed_at.CopyFrom(Timestamp(seconds=millis // 1_000, nanos=millis % 1_000 * 1_000_000))
            value.age_seconds = max(0, now_ms - millis) / 1_000
        if column.statuses[place] in SERVED:
            kind = COLUMNS[column.type].removesuffix("s")
            held = getattr(column, COLUMNS[column.type])[place]
            if isinstance(held, int | float | str):
                setattr(value, kind, held)
            else:
                getattr(value, kind).CopyFrom(held)
    return answer


@given(batches(), st.permutations(NAMES), st.booleans(), st.sampled_from([0, 1_795_435_200_251, 2**45, 2**50]))
def test_rows_of_a_batch_are_single_answers(
    batch: pb.BatchGetFeaturesResponse, names: list[str], asked: bool, now_ms: int
) -> None:
    for column, name in zip(batch.columns, names, strict=False):
        column.feature = name
    del batch.ids[:]
    batch.ids.extend([f'{place}"%' for place in range(len(batch.columns[0].statuses))])
    request = pb.GetFeaturesRequest(features=[column.feature for column in batch.columns] if asked else [])
    found = singles(batch, asked, now_ms)
    for place, entity_id in enumerate(batch.ids):
        if {pb.NOT_FOUND, pb.UNAVAILABLE}.isdisjoint(column.statuses[place] for column in batch.columns):
            expected = msgspec.json.encode(feature_values(alone(batch, place, now_ms), request))
            assert found.pop(entity_id) == expected
    assert not found, "of these a single read is an error"


def test_a_batch_without_columns_or_ids_says_nothing() -> None:
    assert singles(pb.BatchGetFeaturesResponse(entity="User", ids=["a"]), asked=True, now_ms=0) == {}
    column = pb.FeatureColumn(feature="f", type=pb.INT)
    assert singles(pb.BatchGetFeaturesResponse(entity="User", columns=[column]), asked=True, now_ms=0) == {}
