"""Fabra with given features, run by an interpreter that has it: `fabra_server.py load VALUES` or `serve PORT WORKERS`.

FABRA_REDIS_URL says where the online store is.
"""

import asyncio
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import uvicorn  # type: ignore[import-not-found] # in another environment
from fabra.config import DuckDBOfflineStore, RedisOnlineStore  # type: ignore[import-not-found] # in another environment
from fabra.core import FeatureStore, entity, feature  # type: ignore[import-not-found] # in another environment
from fabra.server import create_app  # type: ignore[import-not-found] # in another environment

store = FeatureStore(
    offline_store=DuckDBOfflineStore(database=":memory:"),
    online_store=RedisOnlineStore(redis_url=os.environ["FABRA_REDIS_URL"]),
)


@entity(store)
class User:
    user_id: str


@entity(store)
class Product:
    product_id: str


@feature(entity=User)  # type: ignore[untyped-decorator] # untyped there
def user_browsing_category(user_id: str) -> str:
    raise LookupError(user_id)  # every value is in the online store


@feature(entity=User)  # type: ignore[untyped-decorator] # untyped there
def user_purchase_count_30d(user_id: str) -> int:
    raise LookupError(user_id)


@feature(entity=Product)  # type: ignore[untyped-decorator] # untyped there
def product_popularity_score(product_id: str) -> float:
    raise LookupError(product_id)


@feature(entity=Product)  # type: ignore[untyped-decorator] # untyped there
def product_inventory_level(product_id: str) -> str:
    raise LookupError(product_id)


@feature(entity=Product)  # type: ignore[untyped-decorator] # untyped there
def product_rating(product_id: str) -> float:
    raise LookupError(product_id)


app = create_app(store)


async def load(values: dict[str, dict[str, dict[str, Any]]]) -> None:
    """`values`: entity type -> id -> feature -> value."""
    for entity_type, rows in values.items():
        frame = pd.DataFrame([{"id": entity_id, **features} for entity_id, features in rows.items()])
        for name in frame.columns.drop("id"):
            one = frame[["id", name]].astype({name: object})  # Python's own numbers: it writes JSON
            await store.online_store.set_online_features_bulk(entity_type, one, name, "id")


def serve(port: int, workers: int) -> None:
    """As uvicorn.run does, but for TCP_NODELAY: the socket that its workers share lacks it, and an answer in two
    packets then waits 40 ms for the first one's acknowledgement. `fabra serve`, one process, does not suffer from that.
    """
    bind = uvicorn.Config.bind_socket

    def bind_without_delay(config: uvicorn.Config) -> socket.socket:
        listening: socket.socket = bind(config)
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening

    uvicorn.Config.bind_socket = bind_without_delay
    # On a busy machine its imports take longer than the 5 s after which a worker that says nothing is replaced.
    uvicorn.run(
        "fabra_server:app",
        port=port,
        workers=workers,
        access_log=False,
        log_level="warning",
        timeout_worker_healthcheck=60,
    )


if __name__ == "__main__":
    if sys.argv[1] == "load":
        asyncio.run(load(json.loads(Path(sys.argv[2]).read_text())))
    else:
        serve(int(sys.argv[2]), int(sys.argv[3]))
