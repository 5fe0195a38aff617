"""Serving configs: what a kind of recommendation is made of, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
    ``session_share`` of neighbours of the product viewed last while a session is under way.
    """

    category_cap: float = 1.0
    brand_cap: float = 1.0
    session_share: float = 0.0


@dataclass(frozen=True, slots=True)
class ServingConfig:
    """One kind of recommendation."""

    id: str
    sources: tuple[SourceSpec, ...]
    # "session": around what the shopper did lately; "page": around the products of the request only.
    anchors: str = "session"
    needs_products: bool = False
    # Whether anything in stock is better than a short page.
    fill: bool = True
    # Whether what the shopper bought, as far as it is remembered, has no place here.
    never_bought: bool = False
    empty_reason: str = "no product is in stock"
    diversity: Diversity = field(default_factory=Diversity)
    # By column of the scorer; where missing, the scorer's default.
    weights: Mapping[str, float] = field(default_factory=dict)
