"""A Feast repository in the working directory, made by an interpreter that has it: `feast_repository.py VALUES`.

Declares the features, writes the values to the online store of ./feature_store.yaml.
"""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource  # type: ignore[import-not-found] # elsewhere
from feast.types import Float64, Int64, String  # type: ignore[import-not-found] # in another environment
from feast.value_type import ValueType  # type: ignore[import-not-found] # in another environment

TYPES = {
    "user_browsing_category": String,
    "user_purchase_count_30d": Int64,
    "product_popularity_score": Float64,
    "product_inventory_level": String,
    "product_rating": Float64,
}


def main() -> None:
    values = json.loads(Path(sys.argv[1]).read_text())
    store = FeatureStore(repo_path=".")
    for name, rows in values.items():
        key = f"{name.lower()}_id"
        frame = pd.DataFrame([{key: entity_id, **features} for entity_id, features in rows.items()])
        frame["event_timestamp"] = datetime.now(UTC)
        source = Path(f"{name}.parquet").absolute()
        frame.to_parquet(source)
        entity = Entity(name=name.lower(), join_keys=[key], value_type=ValueType.STRING)
        view = FeatureView(
            name=name,
            entities=[entity],
            ttl=timedelta(days=7),
            schema=[Field(name=key, dtype=String)]
            + [Field(name=feature, dtype=dtype) for feature, dtype in TYPES.items() if feature in frame.columns],
            source=FileSource(path=str(source), timestamp_field="event_timestamp"),
        )
        store.apply([entity, view])
        store.write_to_online_store(name, df=frame)


if __name__ == "__main__":
    main()
