"""Edits laid over the bundled configs, around a store in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from prometheus_client import REGISTRY

from services.recommender import serving_configs
from services.recommender.domain.serving import ServingConfig, SourceSpec
from services.recommender.pipeline.metrics import ANSWERS
from services.recommender.pipeline.serving_configs import MAX_EDITS, Served, ServingConfigs
from services.recommender.serving_ports import StoredConfig
from services.runtime.errors import ServiceError, unavailable

NOW = datetime(2026, 11, 23, tzinfo=UTC)
DEFAULT = ServingConfig("discover", (SourceSpec("popular", 10, 0.3, 1.0),))
OTHER = replace(DEFAULT, never_bought=True)


class Store:
    """Edits in memory."""

    def __init__(self) -> None:
        self.rows: dict[str, StoredConfig] = {}
        self.down = False

    async def all(self) -> Sequence[StoredConfig]:
        if self.down:
            raise unavailable("DATABASE_UNAVAILABLE", "it is down")
        return list(self.rows.values())

    async def change(
        self, config_id: str, decide: Callable[[StoredConfig | None, int], str | None]
    ) -> StoredConfig | None:
        declaration = decide(self.rows.get(config_id), len(self.rows))
        self.rows.pop(config_id, None)
        if declaration is None:
            return None
        return self.rows.setdefault(config_id, StoredConfig(config_id, declaration, NOW))

    def put(self, config_id: str, declaration: str) -> None:
        """As another process did, or a person."""
        self.rows[config_id] = StoredConfig(config_id, declaration, NOW)


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def configs(store: Store) -> ServingConfigs:
    return ServingConfigs({"discover": DEFAULT}, store, {"popular"})


def anything(_: Served) -> None:
    """Refuses nothing."""


async def test_an_edit_is_laid_over_the_bundled_one_and_taken_back(configs: ServingConfigs) -> None:
    edited = await configs.edit("discover", lambda served: OTHER)
    assert (edited.config, edited.origin, edited.update_time) == (OTHER, "EDITED", NOW)
    assert configs.get("discover") == OTHER
    restored = await configs.take_back("discover", anything)
    assert restored == Served(DEFAULT, "BUNDLED")
    assert configs.get("discover") == DEFAULT


async def test_a_created_one_disappears_with_its_metrics(configs: ServingConfigs) -> None:
    await configs.edit("mine", lambda served: replace(OTHER, id="mine"))
    assert [(served.config.id, served.origin) for served in configs.page("", 9)] == [
        ("discover", "BUNDLED"),
        ("mine", "CREATED"),
    ]
    ANSWERS.labels("mine", "full").inc()
    assert await configs.take_back("mine", anything) is None
    assert configs.get("mine") is None
    labels = {"serving_config": "mine", "outcome": "full"}
    assert REGISTRY.get_sample_value("windowshop_recommendations_total", labels) is None


async def test_without_an_edit_there_is_nothing_to_take_back(configs: ServingConfigs) -> None:
    with pytest.raises(ServiceError, match="SERVING_CONFIG_BUNDLED"):
        await configs.take_back("discover", anything)
    with pytest.raises(ServiceError, match="SERVING_CONFIG_NOT_FOUND"):
        await configs.take_back("mine", anything)


async def test_what_is_only_checked_is_not_stored(configs: ServingConfigs, store: Store) -> None:
    would_be = await configs.edit("discover", lambda served: OTHER, validate_only=True)
    assert (would_be.config, would_be.origin) == (OTHER, "EDITED")
    assert store.rows == {}
    assert configs.get("discover") == DEFAULT


@pytest.mark.parametrize(
    "declaration",
    [
        "{}",
        '{"sources": 5}',
        '{"sources": []}',
        '{"sources": [{"name": "gone", "limit": 1, "weight": 1}]}',
        '{"sources": [{"name": "popular", "limit": 1%s, "weight": 1}]}' % ("0" * 400),
        '{"sources": [{"name": "popular", "limit": 1, "weight": 1, "deadline_ms": 1%s}]}' % ("0" * 400),
    ],
)
async def test_a_broken_row_is_passed_over_told_and_can_be_replaced_or_removed(
    configs: ServingConfigs, store: Store, declaration: str
) -> None:
    store.put("discover", declaration)
    store.put("mine", declaration)
    store.put("other", serving_configs.encode(OTHER))
    await configs.refresh()
    assert configs.get("discover") == DEFAULT
    assert configs.get("mine") is None
    assert configs.get("other") == replace(OTHER, id="other")
    assert REGISTRY.get_sample_value("windowshop_serving_configs_broken") == 2
    assert await configs.take_back("mine", anything) is None
    assert (await configs.edit("discover", lambda served: OTHER)).config == OTHER
    assert REGISTRY.get_sample_value("windowshop_serving_configs_broken") == 0


async def test_without_the_store_what_was_read_last_serves(configs: ServingConfigs, store: Store) -> None:
    await configs.edit("discover", lambda served: OTHER)
    store.down = True
    with pytest.raises(ServiceError, match="down"):
        await configs.refresh()
    assert configs.get("discover") == OTHER


async def test_configs_are_not_without_number(configs: ServingConfigs, store: Store) -> None:
    for number in range(MAX_EDITS):
        store.put(f"c{number}", serving_configs.encode(OTHER))
    with pytest.raises(ServiceError, match="TOO_MANY_SERVING_CONFIGS"):
        await configs.edit("one-more", lambda served: replace(OTHER, id="one-more"))
    await configs.edit("c5", lambda served: replace(DEFAULT, id="c5"))
