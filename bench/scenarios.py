"""What is asked, and how an answer is known to be right."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

USER_FEATURES = ("user_browsing_category", "user_purchase_count_30d")
PRODUCT_FEATURES = ("product_popularity_score", "product_inventory_level", "product_rating")
STATUSES = {"PRESENT", "STALE", "DEFAULT", "NULL"}
BATCH = 200
PAGE = 10


@dataclass(frozen=True, slots=True)
class Call:
    """One request and what its answer must be; `check` says what is wrong, or nothing. Degraded is not wrong."""

    method: str
    path: str
    body: str | None
    check: Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named kind of request; `draw` makes one for random users and products."""

    name: str
    title: str
    draw: Callable[[random.Random], Call]


@dataclass(frozen=True, slots=True)
class Population:
    """The ids that requests are drawn from."""

    users: tuple[str, ...]
    products: tuple[str, ...]


def scenarios(of: Population) -> tuple[Scenario, ...]:
    return (
        Scenario("features", "2 features of one user", lambda dice: _features(dice.choice(of.users))),
        Scenario(
            "batch_features",
            f"{len(PRODUCT_FEATURES)} features of {BATCH} products",
            lambda dice: _batch(dice.choices(of.products, k=BATCH)),
        ),
        Scenario("recommend", f"{PAGE} recommended for a user", lambda dice: _recommend(dice.choice(of.users))),
    )


def _features(user: str) -> Call:
    def check(answer: Any) -> str:
        if answer["id"] != user or tuple(answer["features"]) != USER_FEATURES:
            return f"not the features of {user}"
        odd = {meta["status"] for meta in answer["metadata"].values()} - STATUSES
        return f"status {odd}" if odd else ""

    return Call("GET", f"/features/User/{user}?features={','.join(USER_FEATURES)}", None, check)


def _batch(products: list[str]) -> Call:
    def check(answer: Any) -> str:
        if answer["ids"] != products or tuple(answer["columns"]) != PRODUCT_FEATURES:
            return "other products or features than were asked for"
        for column in answer["columns"].values():
            if len(column["values"]) != len(products) or set(column["statuses"]) - STATUSES:
                return f"a column of {len(column['values'])} with {set(column['statuses'])}"
        return ""

    body = json.dumps({"ids": products, "features": PRODUCT_FEATURES})
    return Call("POST", "/v1/features/Product:batchGet", body, check)


def _recommend(user: str) -> Call:
    def check(answer: Any) -> str:
        ids = {result["id"] for result in answer["results"] if result["reasons"]}
        return "" if len(ids) == PAGE else f"{len(ids)} products with reasons for {user}"

    return Call("GET", f"/v1/users/{user}/recommendations?pageSize={PAGE}", None, check)
