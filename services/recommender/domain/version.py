"""A model version in memory: everything of it that a request reads, so that no request mixes two versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.recommender.domain.learned import Learned
from services.recommender.domain.ranker import Ranker


@dataclass(frozen=True, slots=True)
class Version:
    """The default: there is none."""

    id: str = ""
    # None: it has nothing of the kind, or it is broken.
    learned: Learned | None = None
    # By objective of the serving configs, those that the version has a ranker for.
    rankers: Mapping[str, Ranker] = field(default_factory=dict)
    # Whether ``learned`` knows every product that the version has a vector of.
    whole: bool = True
    broken: bool = False
