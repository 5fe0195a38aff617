"""What reading training rows needs of the world; the log offers both."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple, Protocol

from services.features.domain.features import Feature, Value
from services.features.domain.training import Moment, TrainingRows


class Question(NamedTuple):
    """A feature of entities, each at an instant of its own."""

    feature: Feature
    moments: Sequence[Moment]


class TrainingLog(Protocol):
    """The log as training reads it. Every method raises StoreDownError."""

    def rows(
        self, start_us: int, end_us: int, event_types: Sequence[str], page: int
    ) -> AsyncGenerator[TrainingRows, None]:
        """Lines of signed-in users' events by event time, start included, end excluded, at most ``page`` at once."""

    async def values(self, questions: Sequence[Question]) -> list[list[Value | None]]:
        """For each question the value at each moment, by the feature's declared statement; None: no evidence."""
