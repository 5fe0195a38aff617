"""Training rows: what happened, with the features as they were just before."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from services.features.domain.features import Feature, Reading, Value
from services.features.domain.training import (
    FIRST_STEP,
    Moment,
    TrainingChunk,
    TrainingRows,
    next_step,
    past_reading,
)
from services.features.metrics import COMPUTATIONS
from services.features.training_ports import Question, TrainingLog

# Rows; about 0.2 MB as a message, where there are no features. A page is some 5 ms of both event loops: others wait.
PAGE = 4_000


class TrainingReader:
    """Reads rows page by page, and computes features as fast as its caller takes them, never ahead."""

    def __init__(self, log: TrainingLog) -> None:
        self._log = log

    async def read(
        self, start_us: int, end_us: int, event_types: Sequence[str], features: Sequence[Feature]
    ) -> AsyncGenerator[TrainingChunk, None]:
        """Rows by event time, start included, end excluded. Raises StoreDownError."""
        step = FIRST_STEP
        async with aclosing(self._log.rows(start_us, end_us, event_types, PAGE)) as pages:
            async for rows in pages:
                if not features:
                    yield TrainingChunk(rows, ())
                    continue
                start, length = 0, len(rows.user_ids)
                while start < length:
                    part = rows.part(start, start + step)
                    start += step
                    readings = await self._readings(part, features)
                    step = next_step(step, readings)
                    yield TrainingChunk(part, readings)

    async def _readings(self, rows: TrainingRows, features: Sequence[Feature]) -> list[list[Reading]]:
        """For each feature the reading of each row; what several rows ask for is computed once."""
        moments = {entity: rows.moments(entity) for entity in {feature.entity for feature in features}}
        unique = {entity: list(dict.fromkeys(asked)) for entity, asked in moments.items()}
        values = await self._log.values([Question(feature, unique[feature.entity]) for feature in features])
        columns = []
        for feature, column in zip(features, values, strict=True):
            COMPUTATIONS.labels(feature.name, "training").inc(len(column))
            known: dict[Moment, Value | None] = dict(zip(unique[feature.entity], column, strict=True))
            columns.append(
                [
                    past_reading(feature, known[moment], at_ms)
                    for moment, at_ms in zip(moments[feature.entity], rows.event_times_ms, strict=True)
                ]
            )
        return columns
