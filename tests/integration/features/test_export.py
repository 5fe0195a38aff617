"""The log in Parquet files: everything that is in it, whole days or none, and nobody who was erased."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
from pyarrow import parquet

from services.features.domain.events import Line
from services.features.export_ports import COLUMNS
from services.features.exporting import export
from services.features.ports import StoreDownError
from services.features.stores import days as stores_days
from services.features.stores.days import PostgresDays
from services.features.stores.erasure import PostgresErasure
from services.features.stores.parquet import ParquetDays, table
from tests.support.event_log import DAY_US, Process, process, stored
from tests.support.stack import PostgresServer

FIRST = date(2026, 1, 30)
FIRST_US = int(datetime(2026, 1, 30, tzinfo=UTC).timestamp()) * 1_000_000
AFTER = FIRST + timedelta(days=4)


@pytest.fixture
async def dsn(postgres: PostgresServer) -> str:
    return await postgres.create_database("features")


@pytest.fixture
async def one(dsn: str) -> AsyncIterator[Process]:
    """With events from a day before to a day after the four days that are exported; the third has none."""
    async with process(dsn) as opened:
        full = stored(
            FIRST_US, "u", event_id="full", visitor_id="v", kind="purchase-complete", session_id="s", revenue=12.34,
            rating=4.5, position=3, attribution_token="t", device="mobile", attributes={"k": 'ü"', "l": ""},
            lines=(Line("p", 2, 6.17), Line("q", 1, None)),
        )  # fmt: skip
        guest = stored(FIRST_US + 1, "", visitor_id="v", event_id="guest", kind="search", lines=())
        offsets = (-1, DAY_US - 1, DAY_US, DAY_US + 5, 3 * DAY_US, 4 * DAY_US - 1, 4 * DAY_US)
        await opened.log.append([full, guest, *(stored(FIRST_US + n, "w", "p", event_id=f"at{n}") for n in offsets)])
        await opened.log.append([stored(FIRST_US + 2 * DAY_US, "gone")])
        yield opened


async def run(one: Process, folder: Path, overwrite: bool = False, first: date = FIRST) -> dict[str, int]:
    return await export(
        PostgresDays(one.database), ParquetDays(folder), first, AFTER, overwrite, lambda day, events: None
    )


def names(folder: Path) -> list[str]:
    """Of all files, those that readers pass over too."""
    return [path.name for path in folder.rglob("*") if path.is_file()]


async def erase(one: Process, subject: str) -> None:
    erasure = PostgresErasure(one.database)
    await erasure.bury(subject, FIRST_US)
    while await erasure.remove(subject):
        pass


def read(folder: Path) -> list[dict[str, Any]]:
    """As those read it who know folders of this form."""
    rows: list[dict[str, Any]] = ds.dataset(folder, partitioning="hive").to_table().to_pylist()
    return rows


async def test_everything_comes_back(one: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores_days, "_PAGE", 2)
    assert await run(one, tmp_path) == {"days": 4, "events": 8, "skipped": 0, "missing": 0}
    rows = read(tmp_path)
    log = await one.database.fetch(
        "SELECT * FROM events WHERE event_time >= $1 AND event_time < $2 ORDER BY event_time, seq",
        datetime(2026, 1, 30, tzinfo=UTC), datetime(2026, 2, 3, tzinfo=UTC),
    )  # fmt: skip
    for row, event in zip(rows, log, strict=True):
        for name in set(row) - {"day", "products", "attributes"}:
            assert row[name] == event[name], name
        assert row["day"] == str(event["event_time"].date())
        lines = await one.database.fetch("SELECT * FROM event_lines WHERE seq = $1 ORDER BY line", event["seq"])
        assert row["products"] == [{name: line[name] for name in ("product_id", "quantity", "price")} for line in lines]
        attributes = None if event["attributes"] is None else sorted(json.loads(event["attributes"]).items())
        assert (row["attributes"] and sorted(row["attributes"])) == attributes
    full = rows[0]
    assert full["products"] == [
        {"product_id": "p", "quantity": 2, "price": 6.17}, {"product_id": "q", "quantity": 1, "price": None},
    ]  # fmt: skip
    assert (full["revenue"], dict(full["attributes"]), full["event_time"].tzinfo is not None) == (
        12.34, {"k": 'ü"', "l": ""}, True,
    )  # fmt: skip
    assert parquet.ParquetFile(tmp_path / "day=2026-01-30" / "events.parquet").metadata.num_row_groups == 2


def test_wide_events_take_little_beside_themselves() -> None:
    count = 500
    none = dict.fromkeys(COLUMNS)
    texts = dict.fromkeys(("event_id", "event_type", "subject_id"), "x")
    times = dict.fromkeys(("event_time", "ingest_time"), datetime(2026, 1, 30, tzinfo=UTC))
    products = {"product_ids": ["p"] * count, "quantities": [1] * count, "prices": [None] * count}
    wide = tuple({**none, **texts, **times, "seq": 1, **products}.values())
    empty = tuple({**none, **texts, **times, "seq": 2}.values())
    tracemalloc.start()
    try:
        written = table([wide, empty, *[wide] * 500])
        assert tracemalloc.get_traced_memory()[1] < 64 * 502 * count
    finally:
        tracemalloc.stop()
    assert written["products"][:2].to_pylist() == [[{"product_id": "p", "quantity": 1, "price": None}] * count, []]


async def test_whole_days_that_are_there_are_left_unless_asked(one: Process, tmp_path: Path) -> None:
    await run(one, tmp_path)
    file = tmp_path / "day=2026-01-31" / "events.parquet"
    written = file.stat().st_ino
    (tmp_path / "day=2026-02-02" / "events.parquet").unlink()
    await one.log.append([stored(FIRST_US + DAY_US, "late")])
    assert await run(one, tmp_path) == {"days": 1, "events": 2, "skipped": 3, "missing": 0}
    assert file.stat().st_ino == written
    assert await run(one, tmp_path, overwrite=True) == {"days": 4, "events": 9, "skipped": 0, "missing": 0}
    assert "late" in {row["subject_id"] for row in read(tmp_path)}


async def test_a_day_of_which_everybody_was_erased_is_there_and_empty(one: Process, tmp_path: Path) -> None:
    await erase(one, "gone")
    assert (await run(one, tmp_path))["events"] == 7
    assert parquet.read_table(tmp_path / "day=2026-02-01" / "events.parquet").num_rows == 0
    assert "gone" not in {row["subject_id"] for row in read(tmp_path)}


async def test_what_the_log_does_not_keep_is_not_written_over(one: Process, tmp_path: Path) -> None:
    await run(one, tmp_path)
    await one.database.fetch("DROP TABLE events_20260130")
    counts = await run(one, tmp_path, overwrite=True, first=FIRST - timedelta(days=9))
    assert counts == {"days": 4, "events": 6, "skipped": 1, "missing": 8}  # the day before the first is in the log
    assert "full" in {row["event_id"] for row in read(tmp_path)}


async def test_a_day_that_is_dropped_meanwhile_is_not_written_over(
    one: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run(one, tmp_path)
    reader = PostgresDays(one.database)
    days = await reader.kept(FIRST, AFTER)
    await one.database.fetch("DROP TABLE events_20260130")

    async def before(first: date, after: date) -> Any:
        return days

    monkeypatch.setattr(reader, "kept", before)
    with pytest.raises(StoreDownError, match="2026-01-30 was dropped"):
        await export(reader, ParquetDays(tmp_path), FIRST, AFTER, True, lambda day, events: None)
    assert "full" in {row["event_id"] for row in read(tmp_path)}


async def test_a_day_that_fails_leaves_nothing(one: Process, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores_days, "_PAGE", 1)
    failing = PostgresDays(one.database)
    pages = 0

    async def read_some(day: date) -> AsyncIterator[Any]:
        nonlocal pages
        async for page in PostgresDays(one.database).read(day):
            pages += 1
            if pages == 5:
                raise OSError("no space left")
            yield page

    monkeypatch.setattr(failing, "read", read_some)
    with pytest.raises(OSError, match="no space"):
        await export(failing, ParquetDays(tmp_path), FIRST, AFTER, False, lambda day, events: None)
    assert names(tmp_path) == ["events.parquet"]
    assert (await run(one, tmp_path))["days"] == 3


def command(dsn: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "FEATURES_DATABASE_URL": dsn}
    return subprocess.run(
        [sys.executable, "-m", "services.features", "export", *arguments],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.usefixtures("one")
async def test_as_a_command(dsn: str, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    done = command(dsn, "--start", "2026-01-30", "--end", "2026-02-03", "--to", str(folder))
    assert (done.returncode, json.loads(done.stdout)["days"]) == (0, 4)
    assert len(read(folder)) == 8


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--start", "2026-02-03", "--end", "2026-02-03", "--to", "{folder}"), 2, "--start must be before --end"),
        (("--start", "2026-02-30", "--end", "2026-03-03", "--to", "{folder}"), 2, "invalid fromisoformat value"),
        (("--start", "2026-01-01", "--end", "9999-01-01", "--to", "{folder}"), 2, "only days that are over"),
        (("--start", "2026-01-01", "--end", "2026-01-02", "--to", "{file}"), 1, "cannot write"),
        (("--start", "2026-01-01", "--end", "2026-01-02", "--to", "{folder}"), 1, "event-log"),
    ],
)
def test_mistakes_are_said(tmp_path: Path, arguments: tuple[str, ...], code: int, said: str) -> None:
    file = tmp_path / "file"
    file.touch()
    places = {"folder": str(tmp_path / "folder"), "file": str(file)}
    failed = command("postgresql://nobody@127.0.0.1:1/none", *(one.format(**places) for one in arguments))
    assert failed.returncode == code
    assert said in failed.stderr
    assert "Traceback" not in failed.stderr
