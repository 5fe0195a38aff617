"""Training rows as a file, from the services in memory."""

import json
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from pyarrow import parquet
from windowshop.features.v1 import features_pb2 as f

from tests.clients.conftest import Command
from tests.clients.fake_services import State

PRESENT, NULL, DEFAULT = f.PRESENT, f.NULL, f.DEFAULT
TABLE = f.Table(keys=["p1", "p2"], columns=["orders", "decayed"], values=[2, 1.5, 1, 0.25])
COLUMNS = {
    "a_count": f.FeatureColumn(type=f.INT, statuses=[PRESENT, DEFAULT], int_values=[3, 0]),
    "a_mean": f.FeatureColumn(type=f.DOUBLE, statuses=[PRESENT, NULL], double_values=[1.5, 0.0]),
    "a_name": f.FeatureColumn(type=f.STRING, statuses=[NULL, PRESENT], string_values=["", "Toys"]),
    "a_flag": f.FeatureColumn(type=f.BOOL, statuses=[PRESENT, NULL], bool_values=[False, False]),
    "a_time": f.FeatureColumn(
        type=f.TIMESTAMP,
        statuses=[PRESENT, NULL],
        timestamp_values=[Timestamp(seconds=1, nanos=5_000_000), Timestamp()],
    ),
    "a_vector": f.FeatureColumn(
        type=f.VECTOR, statuses=[PRESENT, NULL], vector_values=[f.Vector(values=[0.5, 2.0]), f.Vector()]
    ),
    "a_list": f.FeatureColumn(
        type=f.STRING_LIST, statuses=[PRESENT, PRESENT], string_list_values=[f.StringList(values=["x"]), f.StringList()]
    ),
    "a_table": f.FeatureColumn(type=f.TABLE, statuses=[PRESENT, NULL], table_values=[TABLE, f.Table()]),
}
FIRST = {
    "userId": "u1", "productId": "p1", "eventType": "purchase-complete", "eventTime": "2025-10-09T08:53:20.123Z",
    "quantity": 2, "eventNumber": 7, "device": "mobile", "rating": None, "a_count": 3, "a_mean": 1.5, "a_name": None,
    "a_flag": False,
    "a_time": "1970-01-01T00:00:01.005Z", "a_vector": [0.5, 2.0], "a_list": ["x"],
    "a_table": {"p1": {"orders": 2.0, "decayed": 1.5}, "p2": {"orders": 1.0, "decayed": 0.25}},
}  # fmt: skip
SECOND = FIRST | {
    "productId": "p2", "quantity": 1, "device": None, "a_count": 0, "a_mean": None, "a_name": "Toys", "a_flag": None,
    "a_time": None,
    "a_vector": None, "a_list": [], "a_table": None,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _rows(state: State) -> None:
    message = f.ReadTrainingRowsResponse(
        user_ids=["u1", "u1"],
        product_ids=["p1", "p2"],
        event_types=["purchase-complete"] * 2,
        event_times_ms=[1_760_000_000_123] * 2,
        quantities=[2, 1],
        event_numbers=[7, 7],
        devices=["mobile", ""],
    )
    for name, column in COLUMNS.items():
        column.feature = name
        message.columns.append(column)
    state.training_rows = [message, message]


async def test_one_object_a_line(state: State, windowshop: Command, tmp_path: Path) -> None:
    file = tmp_path / "rows.ndjson"
    window = ("--start", "2025-10-01", "--end", "2025-10-09T10:00:00+02:00")
    result = await windowshop("training-rows", *window, "--features", "a_count, a_mean", "--to", str(file))
    assert (result.exit_code, result.stdout) == (0, f"4 rows in {file}\n")
    assert [json.loads(line) for line in file.read_text().splitlines()] == [FIRST, SECOND] * 2
    (asked,) = state.training_reads
    assert list(asked.features) == ["a_count", "a_mean"]
    assert list(asked.event_types) == ["impression", "purchase-complete"]
    assert asked.start_time.ToJsonString() == "2025-10-01T00:00:00Z"
    assert asked.end_time.ToJsonString() == "2025-10-09T08:00:00Z"


async def test_parquet(windowshop: Command, tmp_path: Path) -> None:
    file = tmp_path / "rows.parquet"
    result = await windowshop("training-rows", "--types", "rate,click", "--to", str(file))
    assert result.exit_code == 0, result.output
    table = parquet.read_table(file)
    assert table.num_rows == 4
    first, second = table.slice(0, 2).to_pylist(maps_as_pydicts="strict")
    for row, expected in ((first, FIRST), (second, SECOND)):
        times = {
            name: value and value.isoformat(timespec="milliseconds") for name, value in row.items() if "ime" in name
        }
        assert row | {name: value and value.replace("+00:00", "Z") for name, value in times.items()} == expected
    assert str(table.schema.field("a_count").type) == "int64"
    assert str(table.schema.field("a_list").type) == "list<element: string>"


@pytest.mark.parametrize("name", ["rows.ndjson", "rows.parquet"])
async def test_no_rows_are_a_file_too(state: State, windowshop: Command, tmp_path: Path, name: str) -> None:
    state.training_rows = []
    result = await windowshop("training-rows", "--to", str(tmp_path / name))
    assert (result.exit_code, names(tmp_path)) == (0, [name])


@pytest.mark.parametrize("name", ["rows.ndjson", "rows.parquet"])
async def test_a_stream_that_breaks_leaves_what_was_there(windowshop: Command, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("of yesterday")
    result = await windowshop("training-rows", "--features", "broken", "--to", str(tmp_path / name))
    assert result.exit_code == 1
    assert "the event log is down [EVENT_LOG_UNAVAILABLE]" in result.stderr
    assert (names(tmp_path), (tmp_path / name).read_text()) == ([name], "of yesterday")


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]
