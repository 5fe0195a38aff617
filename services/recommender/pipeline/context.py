"""A request in the pipeline's words, and what its parts tell each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.recommender.domain.candidates import Trace
from services.recommender.domain.explaining import Explanation
from services.recommender.domain.personal import Personal
from services.recommender.domain.product import Product
from services.recommender.domain.signals import Anchor, Card, UserSignals
from services.recommender.domain.version import Version


@dataclass(frozen=True, slots=True)
class Ask:
    """A checked request for a page."""

    serving_config: str
    # Empty: a guest, whom ``visitor_id`` names.
    user_id: str = ""
    visitor_id: str = ""
    product_ids: tuple[str, ...] = ()
    page_size: int = 10
    excluded: tuple[str, ...] = ()
    explain: bool = False
    # Fingerprints of what the pages before this one showed, in that order.
    shown: tuple[bytes, ...] = ()
    # As events name it; empty: unknown.
    device: str = ""


@dataclass(frozen=True, slots=True)
class Context:
    """What is known before candidates are looked for. One model version serves the whole request."""

    user_id: str
    signals: UserSignals
    anchors: tuple[Anchor, ...]
    tastes: Mapping[str, float]
    # The categories to show the best of, strongest first.
    categories: tuple[str, ...]
    # Cards of the history and of the page's products, by id.
    cards: Mapping[str, Card]
    version: Version
    # The shopper through that version's eyes, and which of its products may be candidates (None: all); None where
    # nothing of the serving config asks for it.
    person: Personal | None = None
    allowed: npt.NDArray[np.bool_] | None = None


class Result(NamedTuple):
    """One product of the page. A tuple: a page has some."""

    product: Product
    score: float
    reasons: tuple[str, ...]
    # How it was found; both empty unless the ask says explain.
    traces: tuple[Trace, ...] = ()
    explanation: Explanation | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A page, and how it came about."""

    results: tuple[Result, ...]
    attribution_token: str
    serving_config: str
    model_version: str
    degraded: tuple[str, ...]
    empty_reason: str
    # Whether there is a page after this one.
    more: bool


@dataclass(slots=True)
class Degraded:
    """Collects what was missing while one request was answered."""

    parts: set[str] = field(default_factory=set)

    def add(self, part: str) -> None:
        """``part`` as in the contract: features, catalogue or candidates:NAME."""
        self.parts.add(part)

    def names(self) -> tuple[str, ...]:
        return tuple(sorted(self.parts))
