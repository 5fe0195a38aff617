"""Serving configs: the bundled ones, and how mistakes in one are told."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recommender import serving_configs
from services.recommender.domain.personal import SOURCES
from services.recommender.domain.retrieving import ANYTHING, LIMITS, NEW, WEIGHTS
from services.recommender.domain.scoring import COLUMNS
from services.recommender.domain.serving import Diversity, ServingConfig, SourceSpec, problems
from services.recommender.pipeline.sources import all_sources


def test_the_bundled_serving_configs_are_sound() -> None:
    nobody = cast(Any, None)
    configs = serving_configs.load(all_sources(nobody, nobody, nobody, nobody))
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


@pytest.mark.parametrize(("config_id", "objective"), [("recommended-for-you", ANYTHING), ("discover", NEW)])
def test_rankers_are_judged_against_the_order_that_would_serve_instead(config_id: str, objective: str) -> None:
    nobody = cast(Any, None)
    config = serving_configs.load(all_sources(nobody, nobody, nobody, nobody))[config_id]
    declared = {spec.name: (spec.limit, spec.weight) for spec in config.sources if spec.name in SOURCES}
    assert declared == {name: (LIMITS[name], weight) for name, weight in WEIGHTS[objective].items()}


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("[x]\nsources = []\nempty_reason = ''", "at least one source"),
        ("[x]\nempty_reason = ''", "sources"),
        (
            "[x]\nsources = [{name='nope', limit=1, deadline_ms=1, weight=1.0}]\nempty_reason = ''",
            r"sources\[0\].name: must be one of a",
        ),
        (
            "[x]\nsources = [{name='a', limit=0, deadline_ms=1, weight=1.0}]\nempty_reason = ''",
            r"sources\[0\].limit: must be from 1",
        ),
        ("[x]\nsources = [{name='a', limit=1, deadline_ms=1, weight=1.0, x=1}]\nempty_reason = ''", "x"),
        (
            "[x]\nsources = [{name='a', limit=1, deadline_ms=1, weight=1.0}]\nempty_reason = ''\nweights = {x = 1.0}",
            r"weights.x: the scorer has no such column",
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


SOURCE = SourceSpec("a", 10, 0.3, 1.0)
SOUND = ServingConfig("mine", (SOURCE,))


@pytest.mark.parametrize(
    ("config", "field"),
    [
        (replace(SOUND, id="with:colon"), "id"),
        (replace(SOUND, id=""), "id"),
        (replace(SOUND, id="x" * 64), "id"),
        (replace(SOUND, sources=()), "sources"),
        (replace(SOUND, sources=(SOURCE,) * 21), "sources"),
        (replace(SOUND, sources=(SOURCE, SOURCE)), "sources[1].name"),
        (replace(SOUND, sources=(replace(SOURCE, name="nope"),)), "sources[0].name"),
        (replace(SOUND, sources=(replace(SOURCE, limit=501),)), "sources[0].limit"),
        (replace(SOUND, sources=(replace(SOURCE, deadline=1.001),)), "sources[0].deadlineMs"),
        (replace(SOUND, sources=(replace(SOURCE, weight=math.nan),)), "sources[0].weight"),
        (replace(SOUND, anchors="moon"), "anchors"),
        (replace(SOUND, objective="profit"), "objective"),
        (replace(SOUND, empty_reason="x" * 201), "emptyReason"),
        (replace(SOUND, empty_reason="line\nbreak"), "emptyReason"),
        (replace(SOUND, weights={"fusion": math.inf}), "weights.fusion"),
        (replace(SOUND, weights={"colour": 1.0}), "weights.colour"),
        (replace(SOUND, diversity=Diversity(category_cap=1.5)), "diversity.categoryCap"),
        (replace(SOUND, diversity=Diversity(brand_cap=-0.1)), "diversity.brandCap"),
        (replace(SOUND, diversity=Diversity(session_share=2.0)), "diversity.sessionShare"),
        (replace(SOUND, diversity=Diversity(newcomer_share=-0.1)), "diversity.newcomerShare"),
        (replace(SOUND, diversity=Diversity(mmr_lambda=math.nan)), "diversity.mmrLambda"),
        (replace(SOUND, diversity=Diversity(mmr_vectors="sound")), "diversity.mmrVectors"),
    ],
)
def test_what_is_wrong_with_a_config_is_told_by_its_path(config: ServingConfig, field: str) -> None:
    assert field in [problem.field for problem in problems(config, {"a"}, COLUMNS)]


def test_a_sound_config_has_no_problem() -> None:
    assert problems(SOUND, {"a"}, COLUMNS) == []


shares = st.floats(0, 1)
sound_configs = st.builds(
    ServingConfig,
    st.just("mine"),
    st.lists(
        st.builds(
            SourceSpec,
            st.sampled_from("abc"),
            st.integers(1, 500),
            st.integers(1, 1000).map(lambda ms: ms / 1000),
            st.floats(0, 100),
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda source: source.name,
    ).map(tuple),
    st.sampled_from(["session", "page"]),
    st.booleans(),
    st.sampled_from(["weights", "anything", "never_bought"]),
    st.booleans(),
    st.booleans(),
    st.text("abc é", max_size=20),
    st.builds(Diversity, shares, shares, shares, shares, st.sampled_from(["text", "model"]), shares),
    st.dictionaries(st.sampled_from(COLUMNS), st.floats(-100, 100)),
)


@given(sound_configs)
def test_a_kept_declaration_is_read_as_it_was_written(config: ServingConfig) -> None:
    assert serving_configs.decode("mine", serving_configs.encode(config), {"a", "b", "c"}) == config


def test_a_share_that_nobody_asks_for_is_not_declared() -> None:
    """Servers from before it was there refuse declarations with a name that they do not know."""
    assert "newcomer_share" not in serving_configs.encode(SOUND)
    sharing = replace(SOUND, diversity=Diversity(newcomer_share=0.1))
    assert '"newcomer_share":0.1' in serving_configs.encode(sharing)
    assert serving_configs.etag(sharing) != serving_configs.etag(SOUND)


def test_an_etag_names_the_content() -> None:
    one, other = (
        replace(SOUND, weights={"fusion": 1.0, "rating": 2.0}),
        replace(SOUND, weights={"rating": 2.0, "fusion": 1.0}),
    )
    assert serving_configs.etag(one) == serving_configs.etag(other)
    assert serving_configs.etag(one) != serving_configs.etag(SOUND)
