"""Days as Parquet files in folders that data frames and Spark know: ``day=2026-01-31/events.parquet``."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from itertools import accumulate
from pathlib import Path
from tempfile import NamedTemporaryFile

import pyarrow as pa
from pyarrow import parquet

from services.features.export_ports import COLUMNS, Row

_MOMENT = pa.timestamp("us", tz="UTC")
_PRODUCT = pa.struct([("product_id", pa.string()), ("quantity", pa.int32()), ("price", pa.float64())])
SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("event_type", pa.string(), nullable=False),
        pa.field("event_time", _MOMENT, nullable=False),
        pa.field("ingest_time", _MOMENT, nullable=False),
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("subject_id", pa.string(), nullable=False),
        pa.field("user_id", pa.string()),
        pa.field("visitor_id", pa.string()),
        pa.field("session_id", pa.string()),
        pa.field("revenue", pa.float64()),
        pa.field("rating", pa.float64()),
        pa.field("position", pa.int32()),
        pa.field("attribution_token", pa.string()),
        pa.field("device", pa.string()),
        pa.field("attributes", pa.map_(pa.string(), pa.string())),
        pa.field("products", pa.list_(_PRODUCT), nullable=False),
    ]
)
_PRODUCTS = len(SCHEMA) - 1


class ParquetDays:
    """Implements DayFiles. What is not complete yet has a name that readers of folders pass over."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, day: date) -> bool:
        """See DayFiles."""
        return self._file(day).exists()

    @contextmanager
    def write(self, day: date) -> Iterator[Callable[[Sequence[Row]], Awaitable[None]]]:
        """See DayFiles."""
        file = self._file(day)
        file.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile(dir=file.parent, prefix=".events-", delete=False) as unfinished:
            try:
                with parquet.ParquetWriter(unfinished, SCHEMA, compression="zstd") as writer:

                    async def add(page: Sequence[Row]) -> None:
                        await asyncio.to_thread(lambda: writer.write_table(table(page)))

                    yield add
                unfinished.flush()
                os.fsync(unfinished.fileno())
                Path(unfinished.name).chmod(0o644)
                Path(unfinished.name).replace(file)
            except BaseException:
                Path(unfinished.name).unlink(missing_ok=True)
                raise

    def _file(self, day: date) -> Path:
        return self._folder / f"day={day.isoformat()}" / "events.parquet"


def table(page: Sequence[Row]) -> pa.Table:
    """A page of events, the products of each in one list."""
    columns = dict(zip(COLUMNS, zip(*page, strict=True), strict=True))
    # All products of the page in columns, and where each event's begin: an object for each of 500 an event is too much.
    starts = [0, *accumulate(len(ids or ()) for ids in columns["product_ids"])]
    flat = [
        pa.array([value for values in columns[name] for value in values or ()], field.type)
        for name, field in zip(("product_ids", "quantities", "prices"), _PRODUCT, strict=True)
    ]
    products = pa.ListArray.from_arrays(
        pa.array(starts, pa.int32()), pa.StructArray.from_arrays(flat, fields=list(_PRODUCT))
    )
    attributes = [None if text is None else list(json.loads(text).items()) for text in columns["attributes"]]
    values = {**columns, "attributes": attributes}
    arrays = [pa.array(values[field.name], field.type) for field in list(SCHEMA)[:-1]]
    return pa.table([*arrays, products], schema=SCHEMA)
