"""The definitions file: what it declares, and how its mistakes are told."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.features.definitions import DefinitionError, load
from services.features.domain.features import FeatureType
from services.features.domain.relative import Relative

GOOD = """
[entities.User]
known = "any.sql"
active = "any.sql"

[features.f]
entity = "User"
type = "int"
description = "A feature."
refresh = "5m"
ttl = "1h"
on_event = "none"
sql = "any.sql"
"""


def file(folder: Path, text: str) -> Path:
    (folder / "any.sql").write_text("SELECT 1")
    path = folder / "definitions.toml"
    path.write_text(text)
    return path


def test_the_bundled_file_declares_the_seven() -> None:
    features = {f.name: f for f in load().features}
    seven = {
        "user_browsing_category": 300, "user_purchase_count_30d": 3600, "user_avg_order_value": 86_400,
        "user_price_sensitivity": 1800, "product_popularity_score": 3600, "product_inventory_level": 21_600,
        "product_rating": 86_400,
    }  # fmt: skip
    assert {name: features[name].refresh_ms // 1000 for name in seven} == seven
    assert [f.name for f in features.values() if not f.on_request] == list(seven)
    assert features["user_price_sensitivity"].default == "medium"
    assert (features["user_purchase_count_30d"].default, features["product_popularity_score"].default) == (0, 0.0)


def test_a_file_of_the_shops_own_is_laid_over_the_bundled_one(tmp_path: Path) -> None:
    own = GOOD.replace("[features.f]", "[features.product_rating]").replace('"User"\ntype', '"Product"\ntype')
    definitions, bundled = load(file(tmp_path, own)), load()
    assert [f.name for f in definitions.features] == [f.name for f in bundled.features]
    changed = {f.name for f, was in zip(definitions.features, bundled.features, strict=True) if f != was}
    assert changed == {"product_rating"}
    assert definitions.entities["Product"].features["product_rating"].sql == "SELECT 1"
    # its table of the entity replaces the whole table
    assert (definitions.entities["User"].known, definitions.entities["User"].of_products) == ("SELECT 1", None)
    assert definitions.entities["Product"].known == bundled.entities["Product"].known


def test_a_file_elsewhere_is_read(tmp_path: Path) -> None:
    feature = load(file(tmp_path, GOOD)).features[-1]
    assert (feature.name, feature.type, feature.refresh_ms, feature.sql) == ("f", FeatureType.INT, 300_000, "SELECT 1")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[features.f]", "[features.f", "definitions.toml"),
        ('entity = "User"', 'entity = "Shop"', "no entities.Shop"),
        ("[entities.User]", "[entities.Shop]", "User and Product only"),
        ('"int"', '"integer"', "type must be one of int, double"),
        ('"5m"', '"5 minutes"', "refresh must be"),
        ('"5m"', '"2h"', "ttl is shorter"),
        ('"none"', '"never"', "on_event must be one of"),
        ('sql = "any.sql"', 'sql = "missing.sql"', "missing.sql"),
        ('sql = "any.sql"', 'sql = "any.sql"\ndefault = "x"', "default does not fit type int"),
        ('sql = "any.sql"', 'sql = "any.sql"\ndefault = true', "default does not fit type int"),
        ('sql = "any.sql"', 'sql = "any.sql"\nevents = ["view"]', "events must be"),
        ('sql = "any.sql"', 'sql = "any.sql"\nmaterialise = true', "unknown materialise"),
        ('sql = "any.sql"', 'sql = "any.sql"\nmaterialize = 1', "materialize must be true or false"),
        ('description = "A feature."', "", "description must be a text"),
        ('"none"', '"always"\nmaterialize = true', "has no materialize or events"),
        ('"none"', '"always"\nevents = ["search"]', "has no materialize or events"),
        ('"int"', '"table"\ndefault = []', "default does not fit type table"),
        ("[features.f]", '[features."a-b"]', "a name is"),
        ("[entities.User]", "[entities.User]\nbatch = 0", "batch must be"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        load(file(tmp_path, GOOD.replace(old, new, 1)))


def test_nobody_is_left_alone_of_whom_the_worker_alone_computes_a_feature(tmp_path: Path) -> None:
    idle = GOOD.replace("[entities.User]", '[entities.User]\nidle = "any.sql"')
    assert load(file(tmp_path, idle)).entities["User"].idle == "SELECT 1"
    queued = idle.replace('on_event = "none"', 'on_event = "queue"\nmaterialize = true')
    assert load(file(tmp_path, queued)).entities["User"].idle is None


RELATIVE = """on_event = "queue"
materialize = true
relative_to_maximum = { scale = 10, half_life = "2h", digits = 1, maximum = "any.sql" }
"""


def relative(text: str) -> str:
    return GOOD.replace('type = "int"', 'type = "double"').replace('on_event = "none"\n', text)


def test_a_feature_relative_to_the_greatest(tmp_path: Path) -> None:
    feature = load(file(tmp_path, relative(RELATIVE))).features[-1]
    assert feature.relative == Relative(10.0, 7_200_000, 1, "SELECT 1")
    other = load(file(tmp_path, relative(RELATIVE.replace("2h", "3h")))).features[-1]
    assert other.number != feature.number  # what is stored is of the other half-life


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{ scale", "{ skale = 1, scale", "relative_to_maximum: unknown skale"),
        ("{ scale = 10, ", "{ ", "relative_to_maximum: scale must be"),
        ("scale = 10", "scale = 0", "relative_to_maximum: scale must be"),
        ("scale = 10", "scale = true", "relative_to_maximum: scale must be"),
        ("digits = 1", "digits = 1.5", "relative_to_maximum: digits must be 0 to 6"),
        ("digits = 1", "digits = 7", "relative_to_maximum: digits must be 0 to 6"),
        ('half_life = "2h"', 'half_life = "2 hours"', "relative_to_maximum: half_life must be"),
        ('"any.sql" }', '"missing.sql" }', "relative_to_maximum: maximum: .*missing.sql"),
        ("materialize = true", "materialize = false", "relative_to_maximum: needs type"),
        ('"queue"', '"none"', "relative_to_maximum: needs type"),
    ],
)
def test_mistakes_about_the_greatest_are_told(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        load(file(tmp_path, relative(RELATIVE.replace(old, new, 1))))


def test_an_entity_without_features_is_refused(tmp_path: Path) -> None:
    moved = "".join(
        GOOD.split("[features.f]")[1].join((f"\n[features.{f.name}]", ""))
        for f in load().entities["Product"].features.values()
    )
    with pytest.raises(DefinitionError, match=r"entities\.Product: has no feature"):
        load(file(tmp_path, moved))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"nowhere\.toml"):
        load(tmp_path / "nowhere.toml")
