"""Serving configs: what a kind of recommendation is made of, as data, and what makes such a declaration sound."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from services.recommender.domain.product import Problem

ANCHORS = ("session", "page")
# "weights": the hand-set scorer; the others name what a trained ranker predicts: that the shopper takes a product at
# all, or takes it for the first time.
OBJECTIVES = ("weights", "anything", "never_bought")
MMR_VECTORS = ("text", "model")

DEFAULT_DEADLINE = 0.3
DEFAULT_EMPTY_REASON = "no product is in stock"

MAX_SOURCES = 20
# The largest page over all pages together: more is never shown.
MAX_LIMIT = 500
# Callers wait a second for a page.
MAX_DEADLINE = 1.0
MAX_WEIGHT = 100.0
MAX_REASON = 200
# An error travels in headers, which have some 8 kB.
MAX_PROBLEMS = 10

# No colon: ``servingConfigs/{id}:recommend`` must have one reading. 63 characters, as in a host name.
_ID = re.compile(r"[a-z][a-z0-9-]{0,62}")
ID_RULE = "must be 1 to 63 characters of a-z 0-9 and -, a letter first"


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """One candidate source of a serving config.

    ``limit`` candidates at most within ``deadline`` seconds; ``weight`` is its share in the fusion of ranks.
    """

    name: str
    limit: int
    deadline: float
    weight: float


@dataclass(frozen=True, slots=True)
class Diversity:
    """Shares of a page, 0 to 1.

    At most ``category_cap`` of one top-level category and ``brand_cap`` of one brand; at least
    ``session_share`` of neighbours of the product viewed last while a session is under way, and ``newcomer_share`` of
    fitting products that the model version does not know.
    ``mmr_lambda`` below 1 trades relevance for unlikeness to what is above, by ``mmr_vectors``.
    """

    category_cap: float = 1.0
    brand_cap: float = 1.0
    session_share: float = 0.0
    mmr_lambda: float = 1.0
    mmr_vectors: str = "text"
    newcomer_share: float = 0.0

    @property
    def needs_vectors(self) -> bool:
        return self.mmr_lambda < 1.0


@dataclass(frozen=True, slots=True)
class ServingConfig:
    """One kind of recommendation."""

    id: str
    sources: tuple[SourceSpec, ...]
    # "session": around what the shopper did lately; "page": around the products of the request only.
    anchors: str = "session"
    needs_products: bool = False
    # One of OBJECTIVES. Without a model that has a ranker for it, the weights order.
    objective: str = "weights"
    # Whether what the shopper bought, as far as it is remembered, has no place here.
    never_bought: bool = False
    # Whether anything in stock is better than a short page.
    fill: bool = True
    empty_reason: str = DEFAULT_EMPTY_REASON
    diversity: Diversity = field(default_factory=Diversity)
    # By column of the scorer; where missing, the scorer's default.
    weights: Mapping[str, float] = field(default_factory=dict)


def is_config_id(value: str) -> bool:
    return _ID.fullmatch(value) is not None


def problems(config: ServingConfig, known_sources: Collection[str], columns: Collection[str]) -> list[Problem]:
    """What is wrong with a config, the first MAX_PROBLEMS; empty: it may serve. ``columns`` are the scorer's."""
    return list(islice(_problems(config, known_sources, columns), MAX_PROBLEMS))


def _problems(config: ServingConfig, known_sources: Collection[str], columns: Collection[str]) -> Iterator[Problem]:
    if not is_config_id(config.id):
        yield Problem("id", "INVALID_ID", ID_RULE)
    yield from _source_problems(config.sources, known_sources)
    yield from _choice("anchors", config.anchors, ANCHORS)
    yield from _choice("objective", config.objective, OBJECTIVES)
    yield from _diversity_problems(config.diversity)
    for column, weight in config.weights.items():
        # The column is the sender's text: cut, so that an error stays an error message.
        name = f"weights.{column[:64]}"
        if column not in columns:
            yield Problem(name, "UNKNOWN_COLUMN", "the scorer has no such column")
        else:
            yield from _within(name, weight, -MAX_WEIGHT, MAX_WEIGHT)
    if len(config.empty_reason) > MAX_REASON or not config.empty_reason.isprintable():
        yield Problem("emptyReason", "TOO_LONG", f"must have at most {MAX_REASON} printable characters")


def _source_problems(sources: tuple[SourceSpec, ...], known: Collection[str]) -> Iterator[Problem]:
    if not sources:
        yield Problem("sources", "REQUIRED", "must name at least one source")
    if len(sources) > MAX_SOURCES:
        yield Problem("sources", "TOO_MANY", f"must have at most {MAX_SOURCES} entries")
    seen: set[str] = set()
    for number, source in enumerate(sources[:MAX_SOURCES]):
        where = f"sources[{number}]"
        if source.name not in known:
            yield Problem(f"{where}.name", "UNKNOWN_SOURCE", f"must be one of {', '.join(sorted(known))}")
        elif source.name in seen:
            yield Problem(f"{where}.name", "REPEATED_SOURCE", "a source stands twice")
        seen.add(source.name)
        yield from _within(f"{where}.limit", source.limit, 1, MAX_LIMIT)
        if not 0.001 <= source.deadline <= MAX_DEADLINE:
            yield Problem(f"{where}.deadlineMs", "OUT_OF_RANGE", f"must be from 1 to {MAX_DEADLINE * 1000:g}")
        yield from _within(f"{where}.weight", source.weight, 0, MAX_WEIGHT)


def _diversity_problems(diversity: Diversity) -> Iterator[Problem]:
    yield from _within("diversity.categoryCap", diversity.category_cap, 0, 1)
    yield from _within("diversity.brandCap", diversity.brand_cap, 0, 1)
    yield from _within("diversity.sessionShare", diversity.session_share, 0, 1)
    yield from _within("diversity.newcomerShare", diversity.newcomer_share, 0, 1)
    yield from _within("diversity.mmrLambda", diversity.mmr_lambda, 0, 1)
    yield from _choice("diversity.mmrVectors", diversity.mmr_vectors, MMR_VECTORS)


def _within(name: str, value: float, lowest: float, highest: float) -> Iterator[Problem]:
    if not (math.isfinite(value) and lowest <= value <= highest):
        yield Problem(name, "OUT_OF_RANGE", f"must be from {lowest:g} to {highest:g}")


def _choice(name: str, value: str, choices: tuple[str, ...]) -> Iterator[Problem]:
    if value not in choices:
        yield Problem(name, "INVALID_VALUE", f"must be one of {', '.join(choices)}")
