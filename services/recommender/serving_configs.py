"""Reads ``serving_configs.toml``; every mistake in it is found at start, not on a request."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from services.recommender.domain.scoring import COLUMNS
from services.recommender.domain.serving import Diversity, ServingConfig, SourceSpec

BUNDLED = Path(__file__).with_suffix(".toml")


class _Source(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    name: str
    limit: int
    deadline_ms: int
    weight: float


class _Diversity(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    category_cap: float = 1.0
    brand_cap: float = 1.0
    session_share: float = 0.0


class _Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    sources: tuple[_Source, ...]
    empty_reason: str
    anchors: str = "session"
    needs_products: bool = False
    fill: bool = True
    never_bought: bool = False
    diversity: _Diversity = _Diversity()
    weights: dict[str, float] = {}


def load(known_sources: Collection[str], path: Path = BUNDLED) -> Mapping[str, ServingConfig]:
    """The serving configs by id; raises ValueError that names the file, the config and the mistake."""
    try:
        declared = msgspec.toml.decode(path.read_bytes(), type=dict[str, _Config])
    except msgspec.ValidationError as error:
        raise ValueError(f"{path.name}: {error}") from error
    for config_id, config in declared.items():
        for mistake in _mistakes(config, known_sources):
            raise ValueError(f"{path.name}: [{config_id}] {mistake}")
    return {config_id: _domain(config_id, config) for config_id, config in declared.items()}


def _mistakes(config: _Config, known_sources: Collection[str]) -> list[str]:
    names = [source.name for source in config.sources]
    found = [f"unknown source {name}" for name in names if name not in known_sources]
    found += [f"unknown weight {name}" for name in config.weights if name not in COLUMNS]
    if len(set(names)) != len(names):
        found.append("a source stands twice")
    if not names:
        found.append("no source")
    if config.anchors not in ("session", "page"):
        found.append("anchors must be session or page")
    if any(source.limit < 1 or source.deadline_ms < 1 or source.weight < 0 for source in config.sources):
        found.append("limit and deadline_ms must be at least 1, weight at least 0")
    shares = config.diversity
    if any(not 0 <= share <= 1 for share in (shares.category_cap, shares.brand_cap, shares.session_share)):
        found.append("shares of diversity must be from 0 to 1")
    return found


def _domain(config_id: str, config: _Config) -> ServingConfig:
    return ServingConfig(
        id=config_id,
        sources=tuple(
            SourceSpec(source.name, source.limit, source.deadline_ms / 1000, source.weight) for source in config.sources
        ),
        anchors=config.anchors,
        needs_products=config.needs_products,
        fill=config.fill,
        never_bought=config.never_bought,
        empty_reason=config.empty_reason,
        diversity=Diversity(config.diversity.category_cap, config.diversity.brand_cap, config.diversity.session_share),
        weights=config.weights,
    )
