"""Serving configs: the bundled ones, and how mistakes in one are told."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from services.recommender import serving_configs
from services.recommender.pipeline.sources import all_sources
from services.recommender.stores.retrieval import PostgresRetrieval


def test_the_bundled_serving_configs_are_sound() -> None:
    nobody = cast(PostgresRetrieval, None)
    configs = serving_configs.load(all_sources(nobody, nobody))
    assert set(configs) == {
        "recommended-for-you",
        "discover",
        "similar-items",
        "frequently-bought-together",
        "buy-it-again",
        "recently-viewed",
        "trending",
        "new-arrivals",
    }


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("[x]\nsources = []\nempty_reason = ''", "no source"),
        ("[x]\nempty_reason = ''", "sources"),
        (
            "[x]\nsources = [{name='nope', limit=1, deadline_ms=1, weight=1.0}]\nempty_reason = ''",
            "unknown source nope",
        ),
        ("[x]\nsources = [{name='a', limit=0, deadline_ms=1, weight=1.0}]\nempty_reason = ''", "at least 1"),
        ("[x]\nsources = [{name='a', limit=1, deadline_ms=1, weight=1.0, x=1}]\nempty_reason = ''", "x"),
        (
            "[x]\nsources = [{name='a', limit=1, deadline_ms=1, weight=1.0}]\nempty_reason = ''\nweights = {x = 1.0}",
            "unknown weight x",
        ),
        (
            "[x]\nsources = [{name='a', limit=1, deadline_ms=1, weight=1.0}]\nempty_reason = ''\nanchors = 'moon'",
            "anchors",
        ),
    ],
)
def test_a_mistake_in_a_serving_config_is_named(text: str, mistake: str, tmp_path: Path) -> None:
    file = tmp_path / "configs.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=mistake):
        serving_configs.load({"a"}, file)
