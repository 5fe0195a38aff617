"""Declarations of serving configs as text: the bundled ``serving_configs.toml``, and the JSON in which edits are kept.

Both have the same fields. Every mistake in the bundled file is found at start, not on a request.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from services.recommender.domain.scoring import COLUMNS
from services.recommender.domain.serving import (
    DEFAULT_DEADLINE,
    DEFAULT_EMPTY_REASON,
    Diversity,
    ServingConfig,
    SourceSpec,
    problems,
)

BUNDLED = Path(__file__).with_suffix(".toml")


class _Source(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    name: str
    limit: int
    weight: float
    deadline_ms: int = round(DEFAULT_DEADLINE * 1000)


class _Diversity(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    category_cap: float = 1.0
    brand_cap: float = 1.0
    session_share: float = 0.0
    mmr_lambda: float = 1.0
    mmr_vectors: str = "text"
    # Left out where it is 0: servers and tags from before it was there know the declaration as it was.
    newcomer_share: float | msgspec.UnsetType = msgspec.UNSET


class _Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    sources: tuple[_Source, ...]
    anchors: str = "session"
    needs_products: bool = False
    objective: str = "weights"
    never_bought: bool = False
    fill: bool = True
    empty_reason: str = DEFAULT_EMPTY_REASON
    diversity: _Diversity = _Diversity()
    weights: dict[str, float] = {}


def load(known_sources: Collection[str], path: Path = BUNDLED) -> Mapping[str, ServingConfig]:
    """The serving configs by id; raises ValueError that names the file, the config and the mistake."""
    try:
        declared = msgspec.toml.decode(path.read_bytes(), type=dict[str, _Config])
    except msgspec.ValidationError as error:
        raise ValueError(f"{path.name}: {error}") from error
    configs = {config_id: _domain(config_id, config) for config_id, config in declared.items()}
    for config in configs.values():
        try:
            _check(config, known_sources)
        except ValueError as error:
            raise ValueError(f"{path.name}: [{config.id}] {error}") from error
    return configs


def decode(config_id: str, declaration: str, known_sources: Collection[str]) -> ServingConfig:
    """The config of a kept declaration; raises ValueError for one that cannot serve (here, in this version)."""
    try:
        # msgspec's errors are ValueErrors.
        config = _domain(config_id, msgspec.json.decode(declaration, type=_Config))
        _check(config, known_sources)
    except OverflowError as error:
        # JSON knows whole numbers that no float holds.
        raise ValueError(str(error)) from error
    return config


def encode(config: ServingConfig) -> str:
    """The declaration to keep, without the id; equal configs give equal texts."""
    shares = config.diversity
    declared = _Config(
        sources=tuple(
            _Source(source.name, source.limit, source.weight, round(source.deadline * 1000))
            for source in config.sources
        ),
        anchors=config.anchors,
        needs_products=config.needs_products,
        objective=config.objective,
        never_bought=config.never_bought,
        fill=config.fill,
        empty_reason=config.empty_reason,
        diversity=_Diversity(
            category_cap=shares.category_cap,
            brand_cap=shares.brand_cap,
            session_share=shares.session_share,
            mmr_lambda=shares.mmr_lambda,
            mmr_vectors=shares.mmr_vectors,
            newcomer_share=shares.newcomer_share or msgspec.UNSET,
        ),
        weights=dict(config.weights),
    )
    return msgspec.json.encode(declared, order="sorted").decode()


def etag(config: ServingConfig) -> str:
    """Names the state of a config: equal for equal ones, whoever made them."""
    return hashlib.blake2b(encode(config).encode(), digest_size=8).hexdigest()


def _check(config: ServingConfig, known_sources: Collection[str]) -> None:
    for problem in problems(config, known_sources, COLUMNS):
        raise ValueError(f"{problem.field}: {problem.message}")


def _domain(config_id: str, config: _Config) -> ServingConfig:
    shares = config.diversity
    return ServingConfig(
        id=config_id,
        sources=tuple(
            SourceSpec(source.name, source.limit, source.deadline_ms / 1000, source.weight) for source in config.sources
        ),
        anchors=config.anchors,
        needs_products=config.needs_products,
        objective=config.objective,
        never_bought=config.never_bought,
        fill=config.fill,
        empty_reason=config.empty_reason,
        diversity=Diversity(
            category_cap=shares.category_cap,
            brand_cap=shares.brand_cap,
            session_share=shares.session_share,
            mmr_lambda=shares.mmr_lambda,
            mmr_vectors=shares.mmr_vectors,
            newcomer_share=shares.newcomer_share or 0.0,
        ),
        weights=config.weights,
    )
