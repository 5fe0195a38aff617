"""Batches that come in rows are written byte for byte as those in columns are."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from windowshop.features.v1 import features_pb2 as pb

from gateway.transcoding import rows
from gateway.transcoding.features import COLUMNS, feature_columns
from gateway.transcoding.rows import Batch, RowsEncoder
from tests.support.columns import in_rows

STATUSES = [pb.PRESENT, pb.PRESENT, pb.STALE, pb.DEFAULT, pb.NULL, pb.NOT_FOUND, pb.UNAVAILABLE]
VALUES: dict[Any, st.SearchStrategy[Any]] = {
    pb.INT: st.integers(-(2**63), 2**63 - 1),
    pb.DOUBLE: st.one_of(st.floats(), st.sampled_from([0.0, -0.0, 0.1, 1e16, 1e-7, 62.5])),
    pb.STRING: st.text(max_size=4),
    pb.BOOL: st.booleans(),
    pb.TIMESTAMP: st.builds(Timestamp, seconds=st.integers(0, 2**31), nanos=st.sampled_from([0, 5_000_000])),
    pb.VECTOR: st.builds(pb.Vector, values=st.lists(st.floats(width=32), max_size=2)),
    pb.STRING_LIST: st.builds(pb.StringList, values=st.lists(st.text(max_size=3), max_size=2)),
    pb.TABLE: st.builds(
        pb.Table, keys=st.just(["a", "b"]), columns=st.just(["n"]), values=st.lists(st.floats(), min_size=2, max_size=2)
    ),
}
MILLIS = st.one_of(st.just(0), st.just(1_795_435_200_250), st.integers(1, 2**45))


@st.composite
def batches(draw: st.DrawFn) -> pb.BatchGetFeaturesResponse:
    ids = draw(st.lists(st.sampled_from(["a", "b", 'c"']), min_size=1, max_size=4))
    batch = pb.BatchGetFeaturesResponse(entity="User", ids=ids, degraded=draw(st.sampled_from([[], ["event-log"]])))
    for place in range(draw(st.integers(1, 3))):
        of_type = draw(st.sampled_from(list(VALUES)))
        column = batch.columns.add(feature=f"f{place}", type=of_type, refresh_seconds=draw(st.sampled_from([1, 60])))
        for _ in ids:
            column.statuses.append(draw(st.sampled_from(STATUSES)))
            column.computed_at_ms.append(draw(MILLIS))
            getattr(column, COLUMNS[of_type]).append(draw(VALUES[of_type]))
    return batch


def slowly(batch: pb.BatchGetFeaturesResponse) -> bytes:
    return msgspec.json.encode(feature_columns(batch, pb.BatchGetFeaturesRequest()))


def asked(batch: pb.BatchGetFeaturesResponse) -> Batch:
    return Batch.of(pb.BatchGetFeaturesRequest(entity=batch.entity, ids=batch.ids))


@given(
    st.lists(
        st.tuples(batches(), st.sets(st.sampled_from(["f0", "f1", "f2"])), st.sampled_from([0, 0, 40])), max_size=8
    )
)
def test_rows_are_written_as_columns_are(read: list[tuple[pb.BatchGetFeaturesResponse, set[str], int]]) -> None:
    now = 0.0
    encoder = RowsEncoder(room=2_000, clock=lambda: now)
    for batch, moving, later in [*read, *read]:  # also of what is remembered, or was
        now += later
        assert encoder.encode(in_rows(batch, moving), asked(batch)) == slowly(batch)


def test_types_that_are_written_are_those_of_the_contract() -> None:
    assert set(VALUES) == set(COLUMNS) == set(pb.FeatureType.values()) - {pb.FEATURE_TYPE_UNSPECIFIED}


def test_a_row_is_read_once_while_it_comes_again(monkeypatch: Any) -> None:
    made: list[pb.FeatureRow] = []
    texts_of = rows._texts_of

    def counted(layout: Any, row: pb.FeatureRow) -> Any:
        made.append(row)
        return texts_of(layout, row)

    monkeypatch.setattr(rows, "_texts_of", counted)
    now = 0.0
    encoder = RowsEncoder(clock=lambda: now)

    def column(of_type: Any, **values: Any) -> pb.BatchGetFeaturesResponse:
        one = pb.FeatureColumn(feature="f", type=of_type, statuses=[pb.NULL], computed_at_ms=[5], **values)
        return pb.BatchGetFeaturesResponse(entity="User", ids=["a"], columns=[one])

    nothing = column(pb.INT, int_values=[0])
    for _ in range(3):
        now += 50
        assert encoder.encode(in_rows(nothing), asked(nothing)) == slowly(nothing)
    assert len(made) == 1
    # Another row.
    other = column(pb.BOOL, bool_values=[False])
    assert encoder.encode(in_rows(other), asked(other)) == slowly(other)
    assert len(made) == 2
    for one in (other, nothing):
        now += 70
        encoder.encode(in_rows(one), asked(one))
    assert len(made) == 3, "what nobody reads any more was forgotten"


def of_columns(*columns: tuple[Any, list[Any]]) -> pb.BatchGetFeaturesResponse:
    """Features of two entities, by type and values."""
    batch = pb.BatchGetFeaturesResponse(entity="User", ids=["a", "b"])
    for place, (of_type, values) in enumerate(columns):
        column = batch.columns.add(feature=f"f{place}", type=of_type, refresh_seconds=60)
        column.statuses.extend([pb.PRESENT, pb.PRESENT])
        column.computed_at_ms.extend([5, 5])
        getattr(column, COLUMNS[of_type]).extend(values)
    return batch


def test_rows_of_the_same_bytes_are_others_where_the_features_are_in_another_order() -> None:
    """A row has its values by type: which of them is the first feature's, the bytes do not tell."""
    text, number = (pb.STRING, ["x", "y"]), (pb.DOUBLE, [1.0, 2.0])
    one, other = of_columns(text, number), of_columns(number, text)
    assert in_rows(one).sheet == in_rows(other).sheet
    encoder = RowsEncoder()
    for _ in range(3):  # from the third time on as lists, before that as rows
        for batch in (one, other):
            assert encoder.encode(in_rows(batch), asked(batch)) == slowly(batch)


def test_numbers_that_begin_alike_are_others() -> None:
    encoder, batches = RowsEncoder(), [of_columns((pb.DOUBLE, [1.0, last])) for last in (2.0, 3.0)]
    for _ in range(3):
        for batch in batches:
            assert encoder.encode(in_rows(batch, {"f0"}), asked(batch)) == slowly(batch)


@pytest.mark.parametrize("moving", [set[str](), {"f0"}])
def test_lists_and_numbers_that_came_again_are_remembered_within_bounds(moving: set[str]) -> None:
    encoder = RowsEncoder(room=20_000, clock=lambda: 0.0)
    for number in range(500):
        batch = of_columns((pb.DOUBLE, [float(number), 0.5]))
        for _ in range(2):  # what comes once is not remembered
            encoder.encode(in_rows(batch, moving), asked(batch))
    kept = [kept_by(memory) for memory in (encoder._sheets, encoder._numbers)]
    assert 20 < kept[bool(moving)] < 100, "each counts for some 500 of two times 20,000"


def kept_by(memory: Any) -> int:
    """Entries of both generations."""
    known = memory._known
    return len(known.young(None, 0.0)) + len(known.before(None))
