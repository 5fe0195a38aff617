"""Columns as they are sent: each entity has its own status and instant, also where most are alike."""

from __future__ import annotations

import struct

import pytest
from windowshop.features.v1 import features_pb2 as pb

from services.features.domain.features import Feature, FeatureType, Status
from services.features.domain.relative import Relative
from services.features.domain.settled import Column, Unfolded
from services.features.transcoding import feature_column, fill_sheet
from tests.unit.features.test_values import feature

SHARE = feature(1, type=FeatureType.DOUBLE, relative=Relative(100.0, 10_000, 2, ""))
COUNT = feature(2)
PRESENT, STALE, NULL = Status.PRESENT, Status.STALE, Status.NULL


@pytest.mark.parametrize(
    ("statuses", "instants"),
    [
        ((PRESENT, PRESENT, PRESENT), (7, 7, 7)),
        ((PRESENT, PRESENT, PRESENT), (7, 8, 7)),
        ((PRESENT, STALE, PRESENT), (7, 7, 7)),
        ((PRESENT, STALE, NULL), (7, 8, 0)),
    ],
)
@pytest.mark.parametrize("asked", [SHARE, COUNT])
def test_statuses_and_instants_are_each_entity_s(
    asked: Feature, statuses: tuple[Status, ...], instants: tuple[int, ...]
) -> None:
    values = (1.0, 2.5, 3.0) if asked is SHARE else (1, 2, 3)
    answers = Column([None if s is NULL else v for s, v in zip(statuses, values, strict=True)], statuses, instants)
    in_list = feature_column(asked, answers)
    sheet = pb.BatchGetFeaturesResponse()
    fill_sheet(sheet, [COUNT, SHARE], Unfolded(b"sheet", {}, {SHARE.name: answers}))
    still, moving = sheet.columns
    for column in (in_list, moving):
        assert [pb.FeatureStatus.Name(one) for one in column.statuses] == [status.name for status in statuses]
        assert tuple(column.computed_at_ms) == instants
    assert (sheet.sheet, list(still.statuses), list(moving.double_values)) == (b"sheet", [], [])
    sent = [0.0 if s is NULL else float(v) for s, v in zip(statuses, values, strict=True)]
    assert [struct.pack("<3d", *sent)] == list(sheet.doubles)
    assert [float(one) for one in in_list.double_values or in_list.int_values] == sent
